"""The Python client against the real service process, with the faults that only that can have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from captioner_client import (
    AsyncCaptioner,
    Busy,
    Caption,
    Captioner,
    DeadlinePassed,
    ServiceError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedPicture,
    UnusablePicture,
)
from tests.pictures import picture
from tests.service.processes import Service, running, until

KEY = "sesame"
PICTURE = picture()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    flags = ("--api-keys", KEY, "--max-upload-bytes", "100000", "--max-queue", "4", "--request-timeout", "45")
    with running(*flags) as service:
        yield service


@pytest.fixture(scope="module")
def captioner(service: Service) -> Iterator[Captioner]:
    with Captioner(service.url, KEY, timeout=150) as captioner:  # for machines that have much else to do
        yield captioner


def test_a_caption_blocking_and_async(captioner: Captioner, service: Service) -> None:
    async def ask() -> list[Caption]:
        async with AsyncCaptioner(service.url, KEY) as other:
            return [one async for one in other.caption_many([PICTURE] * 3) if isinstance(one, Caption)]

    caption = captioner.caption(PICTURE, beam=3, n=3, tokens=True)
    assert caption.text
    assert len(caption.alternatives) == 2
    assert " ".join(token.text for token in caption.tokens) == caption.text
    assert [one.text for one in asyncio.run(ask())] == [captioner.caption(PICTURE).text] * 3


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"x" * 200_000, TooLarge, 413),
        (b"no picture", UnsupportedPicture, 415),
        (PICTURE[:4000], UnusablePicture, 422),
    ],
)
def test_an_unusable_picture(captioner: Captioner, data: bytes, kind: type, status: int) -> None:
    with pytest.raises(kind) as caught:
        captioner.caption(data)
    assert caught.value.status == status
    assert caught.value.request_id


def test_a_wrong_key(service: Service) -> None:
    with Captioner(service.url, "wrong") as captioner, pytest.raises(Unauthorized):
        captioner.caption(PICTURE)


def test_more_than_the_queue_holds_is_captioned_all_the_same(captioner: Captioner) -> None:
    """Twelve at a time where four may be: the others are told to come again, and do."""
    results = list(captioner.caption_many([picture(seed) for seed in range(12)], concurrency=12))
    assert [type(result) for result in results] == [Caption] * 12


def test_a_full_queue_a_timeout_and_a_dead_worker(service: Service, captioner: Captioner) -> None:
    (worker,) = service.children("worker")
    with ThreadPoolExecutor(4) as threads, Captioner(service.url, KEY, timeout=0.9) as hasty:
        worker.suspend()
        waiting = [threads.submit(captioner.caption, PICTURE) for _ in range(4)]
        try:
            until(lambda: health(service)["queue"]["depth"] == 4)
            full = refusal(hasty)
            assert isinstance(full, Busy)
            assert full.status == 429
            assert (full.retry_after or 0) >= 1
        finally:
            worker.resume()
        assert all(one.result().text for one in waiting)
        worker.suspend()
        try:
            with pytest.raises(TimedOut):
                hasty.caption(PICTURE)
        finally:
            worker.resume()
        until(lambda: health(service)["queue"]["depth"] == 0)
        worker.kill()
        psutil.wait_procs([worker], timeout=60)
        until(lambda: health(service)["status"] != "ok")
        gone = refusal(hasty)
        assert isinstance(gone, Unavailable)
        assert gone.status == 503
        assert (gone.retry_after or 0) >= 1


def refusal(hasty: Captioner) -> ServiceError:
    """What the service says to a client too hasty to come again, which a busy machine may outlast."""
    while True:
        try:
            raise AssertionError(f"a caption: {hasty.caption(PICTURE)}")
        except TimedOut:
            continue
        except ServiceError as error:
            return error


def test_a_deadline_of_the_service() -> None:
    from service.app import create_app
    from service.settings import Settings
    from tests.service.fakes import FakeRunner, on_a_port

    app = create_app(Settings(request_timeout=2), FakeRunner(seconds=60))
    with on_a_port(app) as url, Captioner(url) as captioner, pytest.raises(DeadlinePassed):
        captioner.caption(PICTURE)


def health(service: Service) -> dict:
    return httpx.get(f"{service.url}/health", timeout=30).json()
