"""Rows 46 to 53: more requests, connections and departures than the service can take."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.hostile.conftest import Watch
from tests.pictures import picture
from tests.service.processes import Service, running, until
from tests.service.wire import connect, post

LIMIT = 32
GOOD = picture(3)
UPLOAD = post(b"Content-Type: image/jpeg\r\nConnection: close\r\nContent-Length: %d\r\n" % len(GOOD), GOOD)


@pytest.fixture(scope="module", autouse=True)
def _descriptors() -> None:
    """A thousand connections need more descriptors than a shell often allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(scope="module")
def small() -> Iterator[Service]:
    """A service that takes little at a time."""
    with running("--max-queue", str(LIMIT), "--max-batch-size", "1") as service:
        yield service


class Answer(NamedTuple):
    """What one request got; status 0 is nothing. ``sent`` in seconds of :func:`time.monotonic`."""

    status: int
    sent: float
    seconds: float
    retry_s: int = 0


async def _ask(url: str, pause_s: float) -> Answer:
    """One request on a connection of its own."""
    await asyncio.sleep(pause_s)
    started = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(UPLOAD)
        answer = await reader.read()
        writer.close()
    except OSError:
        return Answer(0, started, time.monotonic() - started)
    head = answer.decode("latin-1").lower().partition("\r\n\r\n")[0]
    retry = head.partition("retry-after: ")[2].partition("\r\n")[0]
    status = int(head.split()[1]) if head else 0
    return Answer(status, started, time.monotonic() - started, int(retry or 0))


def arrive(url: str, count: int, a_second: float) -> list[Answer]:
    """So many requests, one after the other whether or not those before have been answered."""

    async def all_of_them() -> list[Answer]:
        return await asyncio.gather(*(_ask(url, n / a_second) for n in range(count)))

    return asyncio.run(all_of_them())


def take_turns(url: str, clients: int, each: int) -> list[Answer]:
    """So many clients, each sending again once it is answered."""

    async def client() -> list[Answer]:
        return [await _ask(url, 0) for _ in range(each)]

    async def all_of_them() -> list[list[Answer]]:
        return await asyncio.gather(*(client() for _ in range(clients)))

    return [answer for answers in asyncio.run(all_of_them()) for answer in answers]


@pytest.mark.row(46)
def test_ten_times_the_capacity(small: Service, measured: Callable[[str], None]) -> None:
    started = time.monotonic()
    full = sorted(answer.seconds for answer in take_turns(small.url, LIMIT, 6))  # as many as may wait
    capacity = len(full) / (time.monotonic() - started)
    depths: list[int] = []
    with ThreadPoolExecutor(1) as threads:
        arriving = threads.submit(arrive, small.url, int(30 * capacity), 10 * capacity)
        while not arriving.done():
            health = httpx.get(f"{small.url}/health", timeout=30).json()
            depths.append(health["queue"]["depth"])
            time.sleep(0.05)
        answers = arriving.result()
    statuses = Counter(answer.status for answer in answers)
    assert statuses.keys() == {200, 429}
    assert max(depths) <= LIMIT
    retries = [answer.retry_s for answer in answers if answer.status == 429]
    assert min(retries) >= 1
    time.sleep(max(retries))  # and what it said is true
    assert small.caption(GOOD).status_code == 200
    taken = sorted(answer.seconds for answer in answers if answer.status == 200)
    refused = sorted(answer.seconds for answer in answers if answer.status == 429)
    measured(
        f"{statuses[200]} × 200, {statuses[429]} × 429, at {10 * capacity:.0f}/s; median 200 after "
        f"{taken[len(taken) // 2]:.2f} s (at capacity: {full[len(full) // 2]:.2f} s), median 429 after "
        f"{refused[len(refused) // 2] * 1000:.0f} ms, Retry-After {min(retries)} to {max(retries)} s; "
        f"at most {max(depths)} of {LIMIT} in the queue"
    )


@pytest.mark.row(46)
def test_nobody_is_let_in_who_would_come_too_late(measured: Callable[[str], None]) -> None:
    """A queue of 256 holds a minute's work of a model that captions four pictures a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).with_name("slow")))
        with running("--request-timeout", "10", "--max-batch-size", "4") as service:
            answers = arrive(service.url, 400, 40)
            statuses = Counter(answer.status for answer in answers)
            assert statuses.keys() == {200, 429}
            assert statuses[200] >= 20  # five of the ten seconds, and what was answered meanwhile
            taken = [answer for answer in answers if answer.status == 200]
            for refused in (answer for answer in answers if answer.status == 429):
                # Retry-After is true: whoever was in by then has been answered, with a batch to spare
                before = [a.sent + a.seconds for a in taken if a.sent + 1 < refused.sent]
                assert max(before, default=0.0) < refused.sent + refused.retry_s + 2
            last = max(answer.sent + answer.retry_s for answer in answers if answer.status == 429)
            time.sleep(max(0.0, last - time.monotonic()))
            assert service.caption(GOOD).status_code == 200
            slowest = max(answer.seconds for answer in taken)
            measured(
                f"of 400 at 10 × capacity {statuses[200]} × 200, the last after {slowest:.1f} of 10 s, no 504"
            )


@pytest.mark.row(47)
def test_a_thousand_at_once(small: Service, measured: Callable[[str], None]) -> None:
    answers = arrive(small.url, 1000, 1e9)
    statuses = Counter(answer.status for answer in answers)
    assert statuses.keys() == {200, 429}  # and no connection was reset
    assert statuses[200] >= LIMIT
    assert small.caption(GOOD).status_code == 200
    measured(f"{statuses[200]} × 200, {statuses[429]} × 429, no reset")


@pytest.mark.row(48)
def test_a_thousand_idle_connections(url: str, http: httpx.Client, measured: Callable[[str], None]) -> None:
    idle = [connect(url) for _ in range(1000)]
    try:
        started = time.monotonic()
        assert http.get("/health").status_code == 200
        health_s = time.monotonic() - started
        assert http.post("/caption", files={"image": GOOD}).status_code == 200
    finally:
        for client in idle:
            client.close()
    measured(f"200, and /health after {health_s * 1000:.0f} ms")


@pytest.mark.row(49)
def test_hundreds_of_disconnects_during_the_upload(
    url: str, http: httpx.Client, watch: Watch, measured: Callable[[str], None]
) -> None:
    for n in range(500):
        with connect(url) as client:
            client.sendall(UPLOAD[: len(UPLOAD) * (n % 9 + 1) // 10])
    until(lambda: http.get("/health").json()["queue"]["depth"] <= 1)  # the neighbour's
    assert http.post("/caption", files={"image": GOOD}).status_code == 200
    files = [path for path in watch.scratch.rglob("*") if path.is_file()]
    assert all("captioner-" in str(path) for path in files)  # the service's own, as before
    measured("no file, nothing admitted left")


@pytest.mark.row(50)
def test_who_leaves_while_queued_costs_the_model_nothing(
    small: Service, measured: Callable[[str], None]
) -> None:
    def captioned() -> float:
        return small.metric("captioner_batch_size_sum")

    def depth() -> int:
        return int(httpx.get(f"{small.url}/health", timeout=30).json()["queue"]["depth"])

    (worker,) = small.children("worker")
    before = captioned()
    worker.suspend()  # so that there is a queue, however fast the machine is
    waiting = [connect(small.url) for _ in range(LIMIT - 2)]
    for client in waiting:
        client.sendall(UPLOAD)
    until(lambda: depth() == len(waiting))
    for client in waiting:
        client.close()
    until(lambda: depth() == 0)
    worker.resume()
    until(lambda: small.caption(GOOD).status_code == 200)
    run = captioned() - before - 1
    assert run < len(waiting) / 2
    measured(f"of {LIMIT - 2} pictures given up {run:.0f} had reached the model")


@pytest.mark.row(51)
def test_slow_decodes_hold_up_nobody(http: httpx.Client, measured: Callable[[str], None]) -> None:
    """Twice as many as can be decoded at a time; a good picture does not wait for half of them."""
    huge = picture(5, (7200, 5500), "PNG", compress_level=1)
    at_a_time = max(2, min(8, os.cpu_count() or 1))
    with ThreadPoolExecutor(2 * at_a_time) as threads:
        slow = [threads.submit(http.post, "/caption", files={"image": huge}) for _ in range(2 * at_a_time)]
        until(lambda: http.get("/health").json()["queue"]["depth"] >= len(slow))
        started = time.monotonic()
        assert http.post("/caption", files={"image": GOOD}).status_code == 200
        good_s = time.monotonic() - started
        left = sum(not answer.done() for answer in slow)
        answers = [answer.result() for answer in slow]
    assert {answer.status_code for answer in answers} == {200}
    assert left >= at_a_time
    decode_ms = max(answer.json()["timing"]["decode_ms"] for answer in answers)
    measured(
        f"{len(slow)} pictures of 39.6 megapixels take up to {decode_ms:.0f} ms; a good one, sent last, is "
        f"answered after {1000 * good_s:.0f} ms, before {left} of them"
    )


@pytest.mark.row(52)
def test_a_bad_picture_among_good_ones(http: httpx.Client, measured: Callable[[str], None]) -> None:
    pictures = [GOOD, GOOD[: len(GOOD) // 2], b"no picture", GOOD]
    results = http.post("/captions", files=[("images", data) for data in pictures]).json()["results"]
    assert [result.get("error", {}).get("status", 200) for result in results] == [200, 422, 415, 200]
    with ThreadPoolExecutor(16) as threads:
        answers = threads.map(
            lambda n: http.post("/caption", files={"image": pictures[n % 4]}).status_code, range(64)
        )
        assert list(answers) == [200, 422, 415, 200] * 16
    measured("200, 422, 415, 200")


@pytest.mark.row(53)
def test_a_mixture_leaves_nothing_behind(http: httpx.Client, measured: Callable[[str], None]) -> None:
    """A minute of what ``make soak`` does for longer; the fixture looks at memory, files and threads."""
    kinds = [GOOD, picture(8, (1280, 960), "PNG"), GOOD[:-400], b"GIF89a" + bytes(40), b"", bytes(50_000)]

    def send(n: int) -> int:
        return http.post("/caption", files={"image": kinds[n % len(kinds)]}).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = Counter(threads.map(send, range(300)))
    assert statuses == {200: 100, 422: 150, 415: 50}
    measured("see “Soak” below")
