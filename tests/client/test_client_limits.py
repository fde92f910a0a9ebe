"""The Python client's limits: time in all, pictures at a time, what is left behind or given away."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from captioner_client import (
    AsyncCaptioner,
    Caption,
    Captioner,
    CaptionerError,
    ConnectionFailed,
    InvalidKey,
    TimedOut,
)
from service.app import create_app
from service.settings import Settings
from tests.client.test_client import OK, PICTURE, Ask, both
from tests.service.fakes import FakeRunner, on_a_port


@contextmanager
def peer(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does ``serve`` with its first connection, and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

        def run() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                serve(connection)

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@both
def test_an_answer_that_trickles_is_not_waited_for(ask: Ask) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")
        for _ in range(600):
            connection.sendall(b" ")
            time.sleep(0.05)

    with peer(trickle) as url, pytest.raises(TimedOut):
        ask(url, b"x", timeout=0.5)


@both
def test_an_upload_that_trickles_is_given_up(ask: Ask) -> None:
    def sip(connection: socket.socket) -> None:
        while connection.recv(65536):
            time.sleep(0.05)

    with peer(sip) as url, pytest.raises(TimedOut):
        ask(url, bytes(20_000_000), timeout=0.5)


def many_blocking(url: str, count: int) -> list[Caption | CaptionerError]:
    with Captioner(url) as captioner:
        return list(captioner.caption_many([b"x"] * count, concurrency=count))


def many_async(url: str, count: int) -> list[Caption | CaptionerError]:
    async def ask() -> list[Caption | CaptionerError]:
        async with AsyncCaptioner(url) as captioner:
            return [result async for result in captioner.caption_many([b"x"] * count, concurrency=count)]

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [many_blocking, many_async])
def test_as_many_at_a_time_as_were_asked_for(ask: Callable[[str, int], list]) -> None:
    count = 101  # one more than httpx would have

    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:

        def serve() -> None:
            connections = [
                listener.accept()[0] for _ in range(count)
            ]  # none is answered before all are there
            for connection in connections:
                with connection:
                    request = b""
                    while not request.endswith(b"--\r\n"):  # the form's end
                        request += connection.recv(65536)
                    connection.sendall(OK)

        threading.Thread(target=serve, daemon=True).start()
        results = ask(f"http://127.0.0.1:{listener.getsockname()[1]}", count)
    assert [str(result) for result in results] == ["a dog"] * count


def test_what_is_abandoned_has_ended() -> None:
    async def abandon(url: str) -> int:
        async with AsyncCaptioner(url) as captioner:
            results = captioner.caption_many(itertools.repeat(PICTURE), concurrency=4)
            async for _ in results:
                break
            await results.aclose()  # type: ignore[attr-defined]
            return len(asyncio.all_tasks())

    with on_a_port(create_app(Settings(), FakeRunner(0.05))) as url:
        assert asyncio.run(abandon(url)) == 1


@both
def test_credentials_in_an_address_are_not_shown(ask: Ask) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, and nobody listens
        port = unused.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"nothing answers at http://127.0.0.1:{port}/$"):
            ask(f"http://user:secret@127.0.0.1:{port}", PICTURE)
    with pytest.raises(ConnectionFailed, match="'http://host:port' is no address"):
        ask("http://user:secret@host:port", PICTURE)


@pytest.mark.parametrize("client", [Captioner, AsyncCaptioner])
@pytest.mark.parametrize("key", ["schlüssel", "sesame\n", " sesame", "\udcff"])
def test_a_key_that_no_request_can_carry(client: Callable[[str, str], object], key: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        client("http://127.0.0.1:1", key)
    assert key.strip() not in str(caught.value)
