"""Clients that are slow, stuck or not quite HTTP, over raw sockets."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from service import edge
from service.app import create_app
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port
from tests.service.wire import assert_problem, connect, everything, exchange, post


@pytest.fixture(scope="module", autouse=True)
def hasty() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge, "HEAD_S", 1.5)
        patch.setattr(edge, "READ_S", 0.6)
        patch.setattr(edge, "LINGER_S", 0.6)
        yield


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with on_a_port(create_app(Settings(request_timeout=5), FakeRunner())) as url:
        yield url


def is_closed_while_sending(client: socket.socket) -> bool:
    """Send a byte now and then until the service has had enough, for at most 10 s."""
    for _ in range(200):
        try:
            client.sendall(b"x")
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_an_idle_connection_is_closed(url: str) -> None:
    assert exchange(url, b"") == b""


def test_a_trickling_head_is_closed(url: str) -> None:
    with connect(url) as client:
        assert is_closed_while_sending(client)


def test_a_trickling_body_is_answered_408() -> None:
    app = create_app(Settings(request_timeout=1.5), FakeRunner())
    with on_a_port(app) as url, connect(url) as client:
        client.sendall(post(b"Content-Type: image/jpeg\r\nContent-Length: 1000\r\n"))
        client.settimeout(0.05)
        answer = b""
        for _ in range(200):
            try:
                client.sendall(b"x")
                answer += client.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert_problem(answer, 408)


def test_an_upload_that_trickles_on_after_its_answer_is_closed(url: str) -> None:
    with connect(url) as client:
        client.sendall(post(b"Content-Type: text/plain\r\nContent-Length: 1000\r\n"))
        assert b" 415 " in client.recv(65536)
        assert is_closed_while_sending(client)


def test_a_client_that_does_not_read_is_closed(url: str) -> None:
    with connect(url) as client:
        request = b"GET /static/swagger/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall(request * 30)  # 45 MB of answers: more than the kernel holds for us
        time.sleep(2.0)
        answer = everything(client)
        assert len(answer) < 30 * 1_500_000  # it was cut off


def test_a_keep_alive_connection_serves_again_and_again(url: str) -> None:
    with httpx.Client() as http:
        for _ in range(3):
            assert http.post(f"{url}/caption", files={"image": picture()}).status_code == 200
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (b"nonsense\r\n\r\n", (400,)),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),  # TLS
        (b"GET / HTTP/1.1\r\n\r\n", (400,)),
        (b"GET / HTTP/1.1\r\nHost: a b/c\r\n\r\n", (400,)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", (400,)),
        (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (400, 414)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 1_000_000 + b"\r\n\r\n", (400, 431)),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * 200 + b"\r\n", (400, 431)),
        (post(b"Content-Type: image/png\r\nContent-Length: -1\r\n"), (400,)),
        (post(b"Content-Type: image/png\r\nContent-Length: 3\r\nContent-Length: 4\r\n", b"abcd"), (400,)),
        (
            post(b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
            (400,),
        ),
        (post(b"Content-Type: image/png\r\nTransfer-Encoding: gzip\r\n"), (400,)),
        (
            post(
                b"Content-Type: image/png\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                b"0\r\n\r\n",
            ),
            (400,),
        ),
    ],
)
def test_what_is_not_http_is_refused_with_a_problem(url: str, request_bytes: bytes, statuses: tuple) -> None:
    assert_problem(exchange(url, request_bytes), *statuses)


LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def test_requests_sent_ahead_are_answered_in_order(url: str) -> None:
    upload = post(b"Content-Type: image/png\r\nContent-Length: %d\r\n" % len(picture()), picture())
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = exchange(url, upload + LIVE + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"404"]


def test_a_flood_of_requests_sent_ahead_is_cut_off(url: str) -> None:
    answer = exchange(url, LIVE * 5000)  # which waits for the close
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * edge.MAX_AHEAD


@pytest.mark.parametrize(
    "after",
    [
        b"nonsense\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nA\0: a\r\n\r\n",
    ],
)
def test_what_came_before_nonsense_is_answered(url: str, after: bytes) -> None:
    upload = post(b"Content-Type: image/png\r\nContent-Length: %d\r\n" % len(picture()), picture())
    answer = exchange(url, upload + after)  # which waits for the close
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"]
    assert b'"caption"' in answer


def test_a_body_that_turns_to_nonsense_gets_one_answer(url: str) -> None:
    chunked = post(b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n", b"3\r\nabc\r\n")
    with connect(url) as client:
        client.sendall(chunked)
        time.sleep(0.2)  # by now the application waits for more of it
        client.sendall(b"nonsense\r\n")
        assert_problem(everything(client), 400)


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


def test_a_wish_for_another_protocol_costs_no_upload(url: str) -> None:
    """curl --http2 and Java's client have it with every request; it may be passed over (RFC 9110, 7.8)."""
    headers = b"Content-Type: image/png\r\nContent-Length: %d\r\n" % len(picture())
    last = LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = exchange(url, post(headers + UPGRADE, picture()) + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200"]
    assert b'"caption"' in answer


def test_no_request_begins_in_the_body_of_one_that_wants_another_protocol(url: str) -> None:
    start, end = post(UPGRADE + b"Content-Length: %d\r\n" % len(LIVE)).split(b"grade: h2c")
    with connect(url) as client:
        client.sendall(start)
        time.sleep(0.2)
        client.sendall(b"grade: h2c" + end)
        time.sleep(0.2)
        with suppress(OSError):
            client.sendall(LIVE)
        assert_problem(everything(client), 400)


CHUNKED = post(b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n")


def test_a_trailer_is_none_of_the_headers(url: str) -> None:
    body = b"%x\r\n%b\r\n0\r\nX-Request-ID: trailer\r\n\r\n" % (len(picture()), picture())
    answer = exchange(url, CHUNKED + body)
    assert b" 200 " in answer
    assert b"trailer" not in answer


@pytest.mark.parametrize("start", [b"0\r\nA: ", b"0\r\n", b"3;a="])
def test_a_flood_between_chunks_or_after_them_is_refused(url: str, start: bytes) -> None:
    with connect(url) as client:
        client.sendall(CHUNKED + b"3\r\nabc\r\n" + start)
        with suppress(OSError):
            for _ in range(100):
                client.sendall((b"A: " + b"a" * 1000 + b"\r\n" if start == b"0\r\n" else b"a" * 1000) * 8)
                time.sleep(0.01)
        assert_problem(everything(client), 431)


def test_a_head_that_grows_too_large_in_parts_gets_one_answer(url: str) -> None:
    with connect(url) as client:
        client.sendall(LIVE[:-2] + b"A: " + b"a" * 1000)
        time.sleep(0.2)
        client.sendall(b"\r\n" + b"A: a\r\n" * 8000)
        answer = everything(client)
    assert_problem(answer, 431)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_head_in_single_bytes_is_taken(url: str) -> None:
    with connect(url) as client:
        for byte in LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"):
            client.sendall(bytes([byte]))
        assert b" 200 " in everything(client)


def test_a_huge_upload_is_refused_before_it_is_read(url: str) -> None:
    with connect(url) as client:
        client.sendall(
            post(b"Content-Type: image/png\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n")
        )
        assert_problem(everything(client), 413)  # without "100 Continue"


def test_a_client_in_the_middle_of_a_refused_upload_reads_its_answer(url: str) -> None:
    with connect(url) as client:
        client.sendall(post(b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n"))
        chunk = b"%x\r\n" % 65536 + b"\xff" * 65536 + b"\r\n"
        sent = 0

        def send() -> None:
            nonlocal sent
            try:
                for _ in range(2000):
                    client.sendall(chunk)
                    sent += 65536
            except OSError:
                pass

        sender = threading.Thread(target=send)
        sender.start()
        answer = everything(client)
        sender.join()
        assert_problem(answer, 413)


def test_hundreds_of_idle_connections_do_not_shut_others_out(url: str) -> None:
    idle = [connect(url) for _ in range(400)]
    try:
        assert httpx.get(f"{url}/health/live").status_code == 200
        assert httpx.post(f"{url}/caption", files={"image": picture()}).status_code == 200
    finally:
        for client in idle:
            client.close()
