"""Rows 5 to 17, 27 and 28: bodies and forms that are not what the routes take."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from service.upload import MAX_PARTS
from tests.pictures import picture
from tests.service.wire import assert_problem, connect, everything, exchange, post, status_of

Measured = Callable[[str], None]
GOOD = picture(3)
FILE = b'Content-Disposition: form-data; name="image"; filename="x.jpg"'


def part(head: bytes = FILE, data: bytes = GOOD) -> bytes:
    return b"--limit\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


def form(
    *parts: bytes, declared: bytes = b"limit", end: bytes = b"--limit--\r\n", path: bytes = b"/caption"
) -> bytes:
    """A request with these parts."""
    body = b"".join(parts) + end
    head = b"Connection: close\r\nContent-Type: multipart/form-data; boundary=" + declared
    return post(head + b"\r\nContent-Length: %d\r\n" % len(body), body, path)


def raw(kind: bytes | None, body: bytes = GOOD) -> bytes:
    declared = b"Content-Type: " + kind + b"\r\n" if kind else b""
    return post(b"Connection: close\r\n" + declared + b"Content-Length: %d\r\n" % len(body), body)


def named(field: bytes) -> bytes:
    return FILE.replace(b'"image"', b'"' + field + b'"')


def refused(url: str, measured: Measured, status: int, *requests: bytes) -> None:
    for request in requests:
        assert_problem(exchange(url, request), status)
    measured(str(status))


@pytest.mark.row(5)
def test_a_body_without_a_type(url: str, measured: Measured) -> None:
    refused(url, measured, 415, raw(None))


@pytest.mark.row(6)
def test_a_body_of_another_type(url: str, measured: Measured) -> None:
    refused(
        url,
        measured,
        415,
        raw(b"application/x-www-form-urlencoded", b"image=x"),
        raw(b"text/plain", b"a picture"),
        raw(b"application/json", b"{}"),
        raw(b"multipart/mixed; boundary=limit", part()),
    )


@pytest.mark.row(8)
def test_a_form_without_the_field(url: str, measured: Measured) -> None:
    refused(url, measured, 422, form(), form(part(named(b"picture"))))


@pytest.mark.row(9)
def test_a_field_sent_as_text(url: str, measured: Measured) -> None:
    refused(url, measured, 422, form(part(b'Content-Disposition: form-data; name="image"')))


@pytest.mark.row(10)
def test_an_empty_file(url: str, measured: Measured) -> None:
    refused(url, measured, 422, form(part(data=b"")), raw(b"image/jpeg", b""))


@pytest.mark.row(11)
def test_a_field_sent_twice(url: str, measured: Measured) -> None:
    refused(url, measured, 422, form(part(), part()))


@pytest.mark.row(12)
def test_an_unknown_field(url: str, measured: Measured) -> None:
    refused(
        url,
        measured,
        422,
        form(part(), part(named(b"more"))),
        form(part(named(b"more")), part()),
        form(part(), part(named(b"more")), path=b"/captions"),
    )


@pytest.mark.row(13)
def test_a_boundary_that_is_missing_or_wrong(url: str, measured: Measured) -> None:
    refused(
        url,
        measured,
        400,
        form(part(), declared=b""),
        form(part(), declared=b"another"),
        post(b"Connection: close\r\nContent-Type: multipart/form-data\r\nContent-Length: 3\r\n", b"abc"),
    )


@pytest.mark.row(14)
def test_a_form_without_an_end(url: str, measured: Measured) -> None:
    refused(
        url,
        measured,
        400,
        form(part(), end=b""),
        form(part(), end=b"--limit"),
        form(end=b""),
        form(part(), b"--limit\r\nContent-Disp", end=b""),
    )


@pytest.mark.row(16)
def test_part_headers_that_are_too_many_or_too_long(url: str, measured: Measured) -> None:
    refused(
        url, measured, 400, form(part(FILE + b"\r\nA: a" * 8)), form(part(FILE + b"\r\nA: " + b"a" * 8192))
    )


@pytest.mark.row(17)
def test_a_boundary_that_is_too_long(url: str, measured: Measured) -> None:
    refused(url, measured, 400, form(part(), declared=b"b" * 300))


@pytest.mark.row(7)
def test_the_picture_itself_as_the_body(url: str, measured: Measured) -> None:
    for kind in (b"image/jpeg", b"image/x-anything", b"IMAGE/PNG; q=1"):
        assert status_of(exchange(url, raw(kind))) == 200
    measured("200")


@pytest.mark.row(15)
@pytest.mark.parametrize("head", [FILE, named(b"more"), b'Content-Disposition: form-data; name="image"'])
def test_a_thousand_parts(url: str, head: bytes, measured: Measured) -> None:
    size = 1000  # bytes of each part's data
    parts = [part(head, b"x" * size) for _ in range(1001)]
    assert_problem(exchange(url, form(*parts)), 400)
    # What is refused half-way is not read to its end: the answer comes though the rest never does.
    body = b"".join(parts[: MAX_PARTS + 1])
    unfinished = b"Content-Type: multipart/form-data; boundary=limit\r\nContent-Length: 1000000\r\n"
    with connect(url) as client:
        client.sendall(post(unfinished, body))
        assert_problem(everything(client), 400)
    measured(f"400 at part {MAX_PARTS + 1}")


@pytest.mark.row(27)
def test_a_wrong_method(http: httpx.Client, measured: Measured) -> None:
    for method, path, allowed in (
        ("GET", "/caption", {"POST"}),
        ("PUT", "/captions", {"POST"}),
        ("DELETE", "/health", {"GET", "HEAD"}),
        ("POST", "/health/live", {"GET", "HEAD"}),
        ("POST", "/metrics", {"GET"}),
        ("OPTIONS", "/caption", {"POST"}),
        ("POST", "/static/page.js", {"GET", "HEAD"}),
        ("PUT", "/openapi.json", {"GET", "HEAD"}),
        ("POST", "/", {"GET"}),
    ):
        answer = http.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.headers["allow"].split(", ")) == allowed
    for path in ("/health", "/health/ready", "/health/live"):
        answer = http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    measured("405 with Allow; HEAD 200")


@pytest.mark.row(28)
def test_a_file_name_is_of_no_account(url: str, measured: Measured) -> None:
    names = (
        b"../../etc/passwd",
        b"x\0.jpg",
        "\u202egpj.exe".encode(),
        b"\xff\xfe\xc3.jpg",
        b"",
        b"a" * 4000,
    )
    for name in names:
        head = b'Content-Disposition: form-data; name="image"; filename="' + name + b'"'
        answer = exchange(url, form(part(head)))
        assert status_of(answer) == 200, name
        assert not name or name not in answer
    long = b'Content-Disposition: form-data; name="image"; filename="' + b"a" * 65_536 + b'"'
    assert_problem(exchange(url, form(part(long))), 400)
    measured("200 whatever the name; 64 KB of it 400")
