"""What a good request and liveness take beside each kind of hostile traffic, against what they take alone.

python benchmarks/neighbour.py [--rounds N] [--seconds S]

Phases alone and beside take turns, so that what else the machine does meets both alike. The hostile traffic
comes from a process of its own, so that its sending does not delay the measuring.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import multiprocessing
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from multiprocessing.synchronize import Event
from typing import NamedTuple

import httpx
from hostile_traffic import Send, drawn, hostile, raw, request, upload
from http_load import own_service
from PIL import Image

A_SECOND = 2  # good requests; a fifth of what two cores can do
LIVE_A_SECOND = 10
HOSTILE_CLIENTS = 4
IDLE = 500
HEAD = b"POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n"


class Seen(NamedTuple):
    good_s: list[float]
    live_s: list[float]
    statuses: Counter[int]


@asynccontextmanager
async def running(one: Callable[[], Coroutine[None, None, None]], count: int) -> AsyncIterator[None]:
    """So many of these at a time, until they are stopped."""
    tasks = [asyncio.create_task(one()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def clients(http: httpx.AsyncClient, sends: Sequence[Send], pause_s: float) -> AsyncIterator[None]:
    """A few clients that send these in turn, each again once it has its answer."""
    kinds = itertools.cycle(sends)

    async def one() -> None:
        while True:
            with suppress(httpx.TransportError):
                await next(kinds)(http)
            await asyncio.sleep(pause_s)

    async with running(one, HOSTILE_CLIENTS):
        yield


@asynccontextmanager
async def connections(http: httpx.AsyncClient, count: int, trickle: bool) -> AsyncIterator[None]:
    """So many connections that say nothing, or send an upload byte by byte; a closed one is opened again."""

    async def one() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
                try:
                    if trickle:
                        writer.write(HEAD)
                    while not reader.at_eof() and not writer.is_closing():
                        if trickle:
                            writer.write(b"x")
                        with suppress(TimeoutError):
                            await asyncio.wait_for(reader.read(4096), 0.5)
                finally:
                    writer.close()
            await asyncio.sleep(0.2)

    async with running(one, count):
        yield


Beside = AbstractAsyncContextManager[None]


def named(http: httpx.AsyncClient, *names: str) -> Beside:
    by_name = {kind.name: kind.send for kind in hostile()}
    return clients(http, [by_name[name] for name in names], 0.01)


def large(http: httpx.AsyncClient) -> Beside:
    too_large = next(kind.send for kind in hostile() if kind.name == "too large")
    return clients(http, [request("POST", "/caption", bytes(10 * 2**20), "image/png"), too_large], 0.01)


def leaving(http: httpx.AsyncClient) -> Beside:
    fine = drawn(20)
    whole = b"POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    return clients(http, [raw(whole % len(fine) + fine, stay=False)], 0.05)


def saved(size: tuple[int, int], kind: str, **options: object) -> Send:
    out = io.BytesIO()
    noise = Image.effect_noise((512, 512), 90).convert("RGB").resize(size, Image.Resampling.NEAREST)
    noise.save(out, kind, **options)
    return upload(out.getvalue())


TRAFFIC: dict[str, Callable[[httpx.AsyncClient], Beside]] = {
    f"{IDLE} idle connections": lambda http: connections(http, IDLE, trickle=False),
    "200 slow uploads": lambda http: connections(http, 200, trickle=True),
    "malformed requests": lambda http: named(http, "broken form", "wrong field", "two lengths", "no HTTP"),
    "damaged pictures, bombs, garbage": lambda http: named(
        http, "truncated", "bits flipped", "text", "pixel bomb"
    ),
    "10 MB uploads": large,
    "clients that leave": leaving,
    "39 Mpx PNG": lambda http: clients(http, [saved((7200, 5400), "PNG", compress_level=1)], 0.01),
    "12 Mpx progressive JPEG": lambda http: clients(
        http, [saved((4000, 3000), "JPEG", progressive=True)], 0.01
    ),
}


@contextmanager
def strangers(url: str, name: str) -> Iterator[Event]:
    """A process that sends this traffic while the event is set."""
    spawn = multiprocessing.get_context("spawn")
    on = spawn.Event()
    process = spawn.Process(target=_send, args=(url, name, on), daemon=True)
    process.start()
    try:
        yield on
    finally:
        process.terminate()
        process.join()


def _send(url: str, name: str, on: Event) -> None:
    async def sending() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
            while True:
                beside = TRAFFIC[name](http)
                await asyncio.to_thread(on.wait)
                async with beside:
                    while on.is_set():  # noqa: ASYNC110 - another process sets it
                        await asyncio.sleep(0.05)

    asyncio.run(sending())


async def measure(http: httpx.AsyncClient, seconds: float, seen: Seen) -> None:
    picture = upload(drawn(1))
    end = time.monotonic() + seconds

    async def good() -> None:
        started = time.monotonic()
        answer = await picture(http)
        seen.good_s.append(time.monotonic() - started)
        seen.statuses[answer.status] += 1

    async def live() -> None:
        while time.monotonic() < end:
            started = time.monotonic()
            await http.get("/health/live")
            seen.live_s.append(time.monotonic() - started)
            await asyncio.sleep(1 / LIVE_A_SECOND)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live())
        while time.monotonic() < end:
            tasks.create_task(good())
            await asyncio.sleep(1 / A_SECOND)


async def run(url: str, rounds: int, seconds: float) -> None:
    seen = {name: (Seen([], [], Counter()), Seen([], [], Counter())) for name in TRAFFIC}
    with ExitStack() as stack:
        sending = {name: stack.enter_context(strangers(url, name)) for name in TRAFFIC}
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            await asyncio.sleep(20)  # they make their pictures
            await measure(http, 3, Seen([], [], Counter()))
            for name in list(TRAFFIC) * rounds:
                alone, beside = seen[name]
                await measure(http, seconds, alone)
                sending[name].set()
                await asyncio.sleep(1)
                await measure(http, seconds, beside)
                sending[name].clear()
                await asyncio.sleep(2)  # what it left in the service is done with
    print("| beside | p50 ms | p99 ms | ratio of p50, p99 | liveness p99 ms | answers |")
    print("|---|---|---|---|---|---|")
    for name, (alone, beside) in seen.items():
        (a50, a99), (b50, b99) = ([part(s.good_s, q) for q in (0.5, 0.99)] for s in (alone, beside))
        live = f"{part(alone.live_s, 0.99):.0f} → {part(beside.live_s, 0.99):.0f}"
        answers = ", ".join(f"{count} × {status}" for status, count in beside.statuses.most_common())
        print(
            f"| {name} | {a50:.0f} → {b50:.0f} | {a99:.0f} → {b99:.0f} | {b50 / a50:.1f}, {b99 / a99:.1f} "
            f"| {live} | {answers} |"
        )


def part(seconds: list[float], share: float) -> float:
    ranked = sorted(seconds)
    return 1000 * ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    with own_service() as (url, _):
        asyncio.run(run(url, arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
