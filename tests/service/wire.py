"""HTTP by hand: raw sockets, for clients that no HTTP library would be."""

from __future__ import annotations

import json
import socket
from typing import Any

NEVER_SAID = (b"Traceback", b'File "', b"site-packages", b".py", b"Errno", b"/tmp", b"PIL.", b"starlette")


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=10)


def everything(client: socket.socket) -> bytes:
    """What the service sends until it closes the connection."""
    answer = b""
    try:
        while data := client.recv(65536):
            answer += data
    except ConnectionResetError:
        pass
    return answer


def exchange(url: str, request: bytes) -> bytes:
    with connect(url) as client:
        client.sendall(request)
        return everything(client)


def post(headers: bytes, body: bytes = b"", path: bytes = b"/caption") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body


def status_of(answer: bytes) -> int:
    return int(answer.split(None, 2)[1]) if answer else 0


def assert_problem(answer: bytes, *statuses: int) -> dict[str, Any]:
    """The answer is a problem document of one of these statuses that tells nothing of the inside."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(answer) in statuses, answer
    assert b"application/problem+json" in head.lower()
    problem: dict[str, Any] = json.loads(body)
    assert problem.keys() == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] in statuses
    assert problem["request_id"].encode() in head
    assert not [word for word in NEVER_SAID if word in answer]
    return problem
