"""A ZeroMQ socket on the event loop, without ``zmq.asyncio``'s task and future for each message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import zmq


class Channel:
    """Owns a socket; hands each message that arrives to ``take``."""

    def __init__(self, socket: zmq.Socket[bytes], take: Callable[[list[bytes]], None]) -> None:
        self._socket = socket
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._descriptor: int = socket.FD
        self._loop.add_reader(self._descriptor, self._receive)
        self._loop.call_soon(self._receive)

    def send(self, frames: Sequence[bytes | memoryview]) -> None:
        """Send without waiting: the socket has no limit to what it holds.

        :raises zmq.ZMQError: the channel is closed
        """
        self._socket.send_multipart(frames, zmq.DONTWAIT, copy=False)
        self._receive()  # sending may use up the sign that something has arrived

    def close(self) -> None:
        if not self._socket.closed:
            self._loop.remove_reader(self._descriptor)
            self._socket.close()

    def _receive(self) -> None:
        """The descriptor says only once that something is there: take all of it."""
        while not self._socket.closed and _readable(self._socket):
            self._take(self._socket.recv_multipart())


def _readable(socket: zmq.Socket[bytes]) -> bool:
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)
