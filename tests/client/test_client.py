"""The Python client against the application on a real port, and against peers that misbehave."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from PIL import Image

import captioner_client
from captioner_client import (
    AsyncCaptioner,
    Caption,
    Captioner,
    CaptionerError,
    ConnectionFailed,
    InvalidAnswer,
    Picture,
    ServiceError,
    TimedOut,
    UnreadableFile,
    UnsupportedPicture,
)
from service.app import create_app
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port
from tests.test_layout import ROOMS, imported


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with on_a_port(create_app(Settings(), FakeRunner())) as url:
        yield url


Ask = Callable[..., Caption]


def ask_blocking(url: str, *args: Picture, timeout: float = 30, **options: object) -> Caption:
    with Captioner(url, timeout=timeout) as captioner:
        return captioner.caption(*args, **options)  # type: ignore[arg-type]


def ask_async(url: str, *args: Picture, timeout: float = 30, **options: object) -> Caption:
    async def ask() -> Caption:
        async with AsyncCaptioner(url, timeout=timeout) as captioner:
            return await captioner.caption(*args, **options)  # type: ignore[arg-type]

    return asyncio.run(ask())


both = pytest.mark.parametrize("ask", [ask_blocking, ask_async])


@both
def test_the_answer_is_typed(ask: Ask, url: str) -> None:
    caption = ask(url, picture(), beam=4, n=3, tokens=True)
    assert caption.text == str(caption) == "a red ball"
    assert caption.log_probability == -1.5
    assert [other.text for other in caption.alternatives] == ["a red ball !", "a red ball ! !"]
    assert [token.text for token in caption.tokens] == ["a", "red", "ball"]
    assert caption.model.name == "fake"
    assert caption.timing.batch_size == 1
    plain = ask(url, picture())
    assert (plain.alternatives, plain.tokens) == ((), ())


@both
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "I;16", "CMYK", "PA", "RGBa", "I"])
def test_paths_bytes_and_pil_images(ask: Ask, url: str, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(picture())
    for form in (path, str(path), path.read_bytes(), Image.new(mode, (40, 30))):
        assert ask(url, form).text == "a red ball"


def test_a_pil_image_is_sent_as_it_is_seen() -> None:
    stored = Image.new("RGB", (60, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn to the right
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", exif=exif)
    from captioner_client.pictures import to_bytes

    sent = Image.open(io.BytesIO(to_bytes(Image.open(buffer))))
    assert sent.size == (20, 60)
    assert sent.getexif().get(0x0112, 1) == 1


@both
def test_errors_carry_what_the_service_said(ask: Ask, url: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPicture) as caught:
        ask(url, b"no picture")
    assert caught.value.status == 415
    assert str(caught.value) == "not a supported picture: send JPEG, PNG, WebP, GIF or BMP"
    assert len(caught.value.request_id) == 32
    assert caught.value.retry_after is None
    assert caught.value.code == "unsupported-picture"
    with pytest.raises(UnreadableFile, match="No such file"):
        ask(url, tmp_path / "missing.jpg")
    with pytest.raises(UnreadableFile, match="cannot be encoded"):
        ask(url, Image.open(io.BytesIO(picture()[:4000])))  # Pillow notices only when it is loaded


def test_every_error_is_of_one_tree_and_public() -> None:
    for name in captioner_client.__all__:
        assert hasattr(captioner_client, name)
    for status, kind in captioner_client.errors.BY_STATUS.items():
        assert issubclass(kind, ServiceError)
        assert issubclass(kind, CaptionerError)
        assert kind.__name__ in captioner_client.__all__
        assert f"{kind.__name__} " in (captioner_client.errors.__doc__ or "")
        assert str(status) in (captioner_client.errors.__doc__ or "")


def test_it_stands_alone() -> None:
    """It is installed where nothing else of this project is."""
    files = list(Path(captioner_client.__file__).parent.glob("*.py"))
    assert files
    for file in files:
        assert not imported(file) & ROOMS


def test_many_keep_their_order_and_fail_alone(url: str, tmp_path: Path) -> None:
    sources: list[Picture] = [picture(n) for n in range(12)]
    sources[3], sources[7] = b"no picture", tmp_path / "missing.jpg"
    with Captioner(url) as captioner:
        results = list(captioner.caption_many(sources, concurrency=4))
    assert_alone(results)

    async def ask(given: list[Picture] | AsyncIterator[Picture]) -> list[Caption | CaptionerError]:
        async with AsyncCaptioner(url) as captioner:
            return [result async for result in captioner.caption_many(given, concurrency=4)]

    async def one_by_one() -> AsyncIterator[Picture]:
        for source in sources:
            yield source

    assert_alone(asyncio.run(ask(sources)))
    assert_alone(asyncio.run(ask(one_by_one())))


def assert_alone(results: list[Caption | CaptionerError]) -> None:
    assert len(results) == 12
    for position, result in enumerate(results):
        expected = {3: UnsupportedPicture, 7: UnreadableFile}.get(position, Caption)
        assert isinstance(result, expected)


def test_many_read_ahead_no_more_than_their_concurrency() -> None:
    runner = FakeRunner(0.02)
    drawn = 0

    def endless() -> Iterator[bytes]:
        nonlocal drawn
        while True:
            drawn += 1
            yield PICTURE

    with on_a_port(create_app(Settings(), runner)) as url, Captioner(url) as captioner:
        results = captioner.caption_many(endless(), concurrency=4)
        for given in range(1, 20):
            assert isinstance(next(results), Caption)
            assert drawn <= given + 4
        results.close()  # type: ignore[attr-defined]
    assert 1 < runner.most_at_once <= 4


PICTURE = picture()


@both
def test_nobody_at_the_address(ask: Ask) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, and nobody listens
        with pytest.raises(ConnectionFailed, match=r"nothing answers at http://127\.0\.0\.1:"):
            ask(f"http://127.0.0.1:{unused.getsockname()[1]}", PICTURE)
    for address in ("nowhere", "http://[", "ftp://127.0.0.1"):
        with pytest.raises(ConnectionFailed):
            ask(address, PICTURE)


@both
def test_a_service_that_never_answers(ask: Ask) -> None:
    with on_a_port(create_app(Settings(), FakeRunner(seconds=60))) as url:
        started = time.monotonic()
        with pytest.raises(TimedOut):
            ask(url, PICTURE, timeout=0.5)
        assert time.monotonic() - started < 30


OK = b"""HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n
{"caption": "a dog", "log_probability": -1.0, "model": {"name": "m", "revision": "r", "new": 1},
"timing": {"decode_ms": 1, "queue_ms": 1, "inference_ms": 1, "total_ms": 1, "batch_size": 1, "new": 1}}"""


@contextmanager
def peer(*answers: bytes) -> Iterator[str]:
    """A server that answers each connection with the next of ``answers``, whatever is asked, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while not request.endswith(b"--\r\n"):  # the form's end
                        request += connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(30)
        assert not thread.is_alive(), "the client asked less often than it should have"


@both
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_it_comes_again_when_it_is_told(ask: Ask, status: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    busy = "HTTP/1.1 {}\r\nRetry-After: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with peer(busy.format(status, 1).encode(), busy.format(status, date).encode(), OK) as url:
        started = time.monotonic()
        assert ask(url, PICTURE).text == "a dog"
        assert time.monotonic() - started > 1


@both
def test_it_does_not_wait_beyond_its_timeout(ask: Ask) -> None:
    busy = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"
    with peer(busy) as url, pytest.raises(captioner_client.Busy) as caught:
        ask(url, PICTURE)
    assert caught.value.retry_after == 60
    with (
        peer(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as url,
        pytest.raises(captioner_client.Unavailable),
    ):
        ask(url, PICTURE)


@both
def test_a_picture_that_the_service_failed_with_is_not_sent_again(ask: Ask) -> None:
    """It killed two workers: sent again, it would kill the next."""
    body = (
        b'{"type": "urn:captioner:problem:worker-lost", "title": "Worker lost", "detail": "it died, twice"}'
    )
    head = f"HTTP/1.1 503 Unavailable\r\nRetry-After: 0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with peer(head + body) as url, pytest.raises(captioner_client.Unavailable, match="twice") as caught:
        ask(url, PICTURE)
    assert caught.value.code == "worker-lost"


@both
def test_a_connection_that_breaks_is_tried_once_more(ask: Ask) -> None:
    with peer(b"", OK) as url:
        assert ask(url, PICTURE).text == "a dog"
    with peer(b"", b"") as url, pytest.raises(ConnectionFailed):
        ask(url, PICTURE)


@both
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_caption(ask: Ask, answer: bytes) -> None:
    with peer(answer) as url, pytest.raises(InvalidAnswer):
        ask(url, PICTURE)


@both
def test_a_proxys_own_error_page(ask: Ask) -> None:
    page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>"
    with peer(page) as url, pytest.raises(ServiceError, match="502 Bad Gateway") as caught:
        ask(url, PICTURE)
    assert caught.value.status == 502
