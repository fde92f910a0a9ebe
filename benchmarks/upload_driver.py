"""A closed-loop HTTP client that costs little: ready-made bytes over kept-alive sockets, one thread."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass, field

SEND_BUFFER = 1 << 20  # the kernel takes a whole upload at once


@dataclass
class _Connection:
    socket: socket.socket
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    answer: bytearray = field(default_factory=bytearray)


class Driver:
    """``clients`` connections to a port of this machine, each sending the same request again and again."""

    def __init__(self, port: int, clients: int, request: bytes) -> None:
        self._request = memoryview(request)
        self._selector = selectors.DefaultSelector()
        for _ in range(clients):
            client = socket.create_connection(("127.0.0.1", port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ, _Connection(client))

    def run(self, seconds: float) -> int:
        """Send for so long, then wait for what is on its way; gives the number of answers.

        :raises RuntimeError: an answer was not 200
        """
        connections = [key.data for key in self._selector.get_map().values()]
        for connection in connections:
            self._begin(connection)
        end = time.monotonic() + seconds
        answers, open_requests = 0, len(connections)
        while open_requests:
            for key, _ in self._selector.select():
                if key.data.unsent:
                    self._send(key.data)
                elif self._answered(key.data):
                    answers += 1
                    if time.monotonic() < end:
                        self._begin(key.data)
                    else:
                        open_requests -= 1
        return answers

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def _begin(self, connection: _Connection) -> None:
        connection.unsent = self._request
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        waited = len(connection.unsent) < len(self._request)
        with contextlib.suppress(BlockingIOError):
            connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        if connection.unsent or waited:
            event = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
            self._selector.modify(connection.socket, event, connection)

    def _answered(self, connection: _Connection) -> bool:
        """Take in what has come; says whether it is a whole answer."""
        received = connection.socket.recv(65536)
        connection.answer += received
        head, _, body = connection.answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0] or -1)
        if received and len(body) != length:
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"not an answer: {bytes(connection.answer)!r}")
        connection.answer.clear()
        return True
