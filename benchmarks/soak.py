"""Sends thousands of requests, half of them hostile, and looks at what the service holds on to.

python benchmarks/soak.py [--requests N] [--plot FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import httpx
import matplotlib
import psutil
from hostile_traffic import BUSY, Kind, good, hostile
from http_load import own_service

CLIENTS = 16
WARM = 1000  # requests after which memory is taken as the base
EVERY = 200  # requests between two looks
GROWTH = 64 * 2**20


class Held(NamedTuple):
    """What the service's processes hold."""

    requests: int
    memory: int  # bytes, shared pages counted once
    descriptors: int
    threads: int
    files: int


class Soak:
    """One run: its counts, and what was held along the way."""

    def __init__(self, service: int, scratch: Path) -> None:
        self.processes = [psutil.Process(service), *psutil.Process(service).children()]
        self.scratch = scratch
        self.done = 0
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.held: list[Held] = []
        self.live_s: list[float] = []

    def look(self) -> None:
        memory = sum(process.memory_full_info().pss for process in self.processes)
        descriptors = sum(process.num_fds() for process in self.processes)
        threads = sum(process.num_threads() for process in self.processes)
        self.held.append(Held(self.done, memory, descriptors, threads, len(list(self.scratch.rglob("*")))))

    async def send(self, http: httpx.AsyncClient, kind: Kind) -> None:
        answer = await kind.send(http)
        while answer.status in BUSY and answer.retry_s:
            self.outcomes[str(answer.status)] += 1
            await asyncio.sleep(answer.retry_s)
            answer = await kind.send(http)
        self.outcomes["left" if not answer.status else str(answer.status)] += 1
        if answer.status not in kind.allowed:
            self.wrong.append(f"{kind.name}: {answer.status}")
        self.done += 1
        if self.done % EVERY == 0:
            self.look()

    async def client(self, http: httpx.AsyncClient, kinds: itertools.islice[Kind]) -> None:
        for kind in kinds:
            await self.send(http, kind)

    async def watch(self, http: httpx.AsyncClient) -> None:
        while True:
            started = time.monotonic()
            response = await http.get("/health/live")
            self.live_s.append(time.monotonic() - started)
            if response.status_code != 200:
                self.wrong.append(f"liveness: {response.status_code}")
            await asyncio.sleep(0.2)

    async def run(self, url: str, requests: int) -> None:
        mixture = itertools.chain.from_iterable(zip(itertools.cycle(good()), itertools.cycle(hostile())))
        kinds = itertools.islice(mixture, requests)
        limits = httpx.Limits(max_connections=CLIENTS + 1)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
            watching = asyncio.create_task(self.watch(http))
            await asyncio.gather(*(self.client(http, kinds) for _ in range(CLIENTS)))
            watching.cancel()
        await asyncio.sleep(12)  # what was left behind is given up after 8 s and 2 s
        self.look()


def plot(held: list[Held], file: Path) -> None:
    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3))
    axes.plot([h.requests for h in held], [h.memory / 2**20 for h in held])
    axes.set(xlabel="requests, half of them hostile", ylabel="memory, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--plot", type=Path, help="a picture of memory against requests")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, own_service(TMPDIR=scratch) as (url, service):
        soak = Soak(service, Path(scratch))
        asyncio.run(soak.run(url, arguments.requests))
    base = next((held for held in soak.held if held.requests >= WARM), soak.held[0])
    end, live = soak.held[-1], sorted(soak.live_s)
    if arguments.plot:
        plot(soak.held, arguments.plot)
    for line, count in Counter(soak.wrong).most_common(20):
        print(f"wrong answer, {count} times: {line}")
    answers = ", ".join(f"{count:,} × {status}" for status, count in soak.outcomes.most_common())
    print(f"| requests | {soak.done:,} in {time.monotonic() - started:.0f} s, {CLIENTS} clients |\n|---|---|")
    print(f"| answers | {answers} |")
    print(f"| answers that a request may not get | {len(soak.wrong)} |")
    print(f"| memory after {base.requests:,} requests | {base.memory >> 20} MB |")
    print(f"| memory at the end | {end.memory >> 20} MB |")
    print(f"| highest in between | {max(held.memory for held in soak.held) >> 20} MB |")
    print(f"| descriptors, threads, temporary files, then | {base[2:]} |")
    print(f"| and at the end | {end[2:]} |")
    print(f"| liveness: median, 99th of 100, longest | {ms(live, 0.5)}, {ms(live, 0.99)}, {ms(live, 1)} ms |")
    kept = end.memory <= base.memory + GROWTH and all(
        e <= b + 4 for e, b in zip(end[2:], base[2:], strict=True)
    )
    return 0 if kept and not soak.wrong else 1


def ms(seconds: list[float], part: float) -> str:
    return f"{seconds[min(len(seconds) - 1, int(part * len(seconds)))] * 1000:.0f}"


if __name__ == "__main__":
    sys.exit(main())
