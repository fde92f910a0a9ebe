"""Rows 1 to 4 and 18 to 26: clients that are slow, huge or not quite HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import pytest

from tests.pictures import picture
from tests.service.processes import running
from tests.service.wire import assert_problem, connect, everything, exchange, post, status_of

Measured = Callable[[str], None]
GOOD = picture(3)
LIMIT = 10 * 2**20  # bytes of an upload, unless set otherwise
PATIENCE_S = 60.0
IMAGE = b"Content-Type: image/jpeg\r\n"


class Slow(NamedTuple):
    """What a slow client got before it was closed, and when that was; None if it never was."""

    answer: bytes
    seconds: float | None


def trickle(url: str, start: bytes, drip: bytes) -> Slow:
    """Send ``start`` and then ``drip`` a byte a second, over and over, until the connection is closed."""
    answer, began = b"", time.monotonic()
    with connect(url) as client:
        client.sendall(start)
        client.settimeout(1)
        for n in range(round(PATIENCE_S)):
            try:
                if drip:
                    client.sendall(drip[n % len(drip) :][:1])
                while data := client.recv(65536):
                    answer += data
                return Slow(answer, time.monotonic() - began)
            except TimeoutError:
                continue
            except OSError:
                return Slow(answer, time.monotonic() - began)
    return Slow(answer, None)


@pytest.fixture(scope="module")
def slow() -> Iterator[dict[str, Future[Slow]]]:
    """Slow clients, all at the same time, of a service where a request may take 5 seconds."""
    body = post(IMAGE + b"Content-Length: 1000\r\n")
    clients = {
        "head": (b"GET /health HTTP/1.1\r\nHost: x\r\nA: ", b"a"),
        "body": (body, b"x"),
        "idle": (b"", b""),
        "idle after an answer": (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        "stopped body": (body + b"x" * 500, b""),
        "stopped form": (
            post(b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 900\r\n", b"--b\r\nCon"),
            b"",
        ),
    }
    with running("--request-timeout", "5") as service, ThreadPoolExecutor(len(clients)) as threads:
        yield {name: threads.submit(trickle, service.url, *sent) for name, sent in clients.items()}


@pytest.mark.row(1)
def test_a_head_that_trickles(slow: dict[str, Future[Slow]], measured: Measured) -> None:
    result = slow["head"].result()
    assert result.seconds
    assert not result.answer
    measured(f"closed after {result.seconds:.1f} s")


@pytest.mark.row(2)
def test_a_body_that_trickles(slow: dict[str, Future[Slow]], measured: Measured) -> None:
    result = slow["body"].result()
    assert result.seconds
    assert_problem(result.answer, 408)
    measured(f"408, closed after {result.seconds:.1f} s (deadline 5 s)")


@pytest.mark.row(3)
def test_a_connection_that_says_nothing(slow: dict[str, Future[Slow]], measured: Measured) -> None:
    silent, after = slow["idle"].result(), slow["idle after an answer"].result()
    assert silent.seconds
    assert not silent.answer
    assert after.seconds
    assert status_of(after.answer) == 200
    measured(f"closed after {silent.seconds:.1f} s; after an answer, {after.seconds:.1f} s")


@pytest.mark.row(4)
def test_a_body_that_stops(slow: dict[str, Future[Slow]], measured: Measured) -> None:
    for name in ("stopped body", "stopped form"):
        result = slow[name].result()
        assert result.seconds
        assert_problem(result.answer, 408)
        measured(f"408, closed after {result.seconds:.1f} s (deadline 5 s)")


@pytest.mark.row(18)
def test_a_gigabyte_declared(url: str, measured: Measured) -> None:
    form = b"Content-Type: multipart/form-data; boundary=b\r\n"
    for kind in (IMAGE, form):
        with connect(url) as client:  # which waits for the answer before it sends anything
            client.sendall(post(kind + b"Content-Length: 1000000000\r\n"))
            assert_problem(everything(client), 413)
    measured("413 before the body")


@pytest.mark.row(19)
def test_a_gigabyte_in_chunks(url: str, measured: Measured) -> None:
    size = 16_384
    chunk = b"%x\r\n" % size + b"\xff" * size + b"\r\n"
    sent = 0
    with connect(url) as client:
        client.sendall(post(IMAGE + b"Transfer-Encoding: chunked\r\n"))
        answered = threading.Event()

        def send() -> None:
            nonlocal sent
            try:
                while sent < 10**9 and not answered.is_set():
                    client.sendall(chunk)
                    sent += size
                    if sent > LIMIT:  # slowly, or what is counted is how late this program sees the answer
                        time.sleep(0.02)
            except OSError:
                pass

        sender = threading.Thread(target=send)
        sender.start()
        answer = client.recv(65536)
        answered.set()
        answer += everything(client)
        sender.join()
    assert_problem(answer, 413)
    assert sent < LIMIT + 2**20
    measured(f"413, {max(0, sent - LIMIT) / 1000:.0f} KB past the limit")


@pytest.mark.row(20)
def test_chunks_of_one_byte(url: str, measured: Measured) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in (GOOD * (300_000 // len(GOOD) + 1))[:300_000])
    request = post(IMAGE + b"Connection: close\r\nTransfer-Encoding: chunked\r\n", body + b"0\r\n\r\n")
    started = time.monotonic()
    with connect(url) as client:
        client.settimeout(PATIENCE_S)
        client.sendall(request)
        answer = everything(client)
    seconds = time.monotonic() - started
    assert status_of(answer) in (200, 413)  # Pillow reads the first picture and leaves the rest
    measured(f"{status_of(answer)} after {seconds:.1f} s")


@pytest.mark.row(21)
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"-1\r\nabc\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Content-Length: -1\r\n", b""),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"),
        (b"Content-Length: 0x10\r\n", b"a" * 16),
        (b"Content-Length : 3\r\n", b"abc"),
    ],
)
def test_a_body_of_no_certain_length(url: str, headers: bytes, body: bytes, measured: Measured) -> None:
    assert_problem(exchange(url, post(IMAGE + headers, body)), 400)  # which waits for the close
    measured("400, closed")


@pytest.mark.row(22)
def test_a_compressed_body(url: str, measured: Measured) -> None:
    for coding in (b"gzip", b"br", b"identity, gzip"):
        headers = IMAGE + b"Connection: close\r\nContent-Encoding: " + coding + b"\r\nContent-Length: 3\r\n"
        assert_problem(exchange(url, post(headers, b"abc")), 415)
    measured("415")


@pytest.mark.row(23)
def test_leave_asked_for_too_much(url: str, measured: Measured) -> None:
    with connect(url) as client:
        client.sendall(post(IMAGE + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n"))
        assert_problem(everything(client), 413)  # the very first answer: no 100 before it
    with connect(url) as client:
        client.sendall(post(IMAGE + b"Content-Length: %d\r\nExpect: 100-continue\r\n" % len(GOOD)))
        assert status_of(client.recv(65536)) == 100
        client.sendall(GOOD)
        assert status_of(client.recv(65536)) == 200
    measured("413 without 100")


@pytest.mark.row(24)
def test_heads_that_are_too_large(url: str, measured: Measured) -> None:
    for headers in (b"A: " + b"a" * 1_000_000 + b"\r\n", b"A: a\r\n" * 200, b"A: a\r\n" * 100_000):
        assert_problem(send_all_and_read(url, b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"), 400, 431)
    measured("431, closed")


@pytest.mark.row(25)
def test_an_address_that_is_too_long(url: str, measured: Measured) -> None:
    request = b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = send_all_and_read(url, request)
    assert_problem(answer, 400, 414)
    measured(str(status_of(answer)))


def send_all_and_read(url: str, request: bytes) -> bytes:
    """The answer, though the service stops reading in the middle of the request."""
    with connect(url) as client:
        with suppress(TimeoutError, ConnectionResetError, BrokenPipeError):
            client.sendall(request)
        return everything(client)


@pytest.mark.row(26)
def test_a_host_that_is_none(url: str, measured: Measured) -> None:
    for host in (
        b"",
        b"Host:\r\n",
        b"Host: a b\r\n",
        b"Host: x/y\r\n",
        b"Host: x\r\nHost: y\r\n",
        b"Host: <x>\r\n",
    ):
        assert_problem(exchange(url, b"GET /health HTTP/1.1\r\n" + host + b"\r\n"), 400)
    measured("400")
