"""A simulation of one service as a queue, beside the service itself; then how many of them a rate takes.

python benchmarks/queueing.py PHOTOS [--seconds S]

The service is asked at random times (a Poisson process) at growing shares of what it can do. The simulation
has the same arrivals, and draws from the times that batches of each size took, and requests beside them, in
all of these runs; nothing is fitted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, quantiles

from http_load import own_service
from peers.driver import Connection, make_requests

SHARES = (0.2, 0.4, 0.6, 0.8, 0.9)
TARGETS = (10, 1_000, 100_000)  # pictures a second
P99_S = 0.5  # that is to be kept
TRUSTED = 0.8  # of what it can do: as far as measured and simulated agree
SIZES = (1, 2, 4, 8, 16)  # of batches


class Seen:
    """What answers said: seconds of each, of its batch, and of all that is not queue or batch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.batches: defaultdict[int, list[float]] = defaultdict(list)
        self.beside: list[float] = []

    def add(self, seconds: float, timing: dict[str, float]) -> None:
        self.seconds.append(seconds)
        self.batches[int(timing["batch_size"])].append(timing["inference_ms"] / 1000)
        self.beside.append(seconds - (timing["queue_ms"] + timing["inference_ms"]) / 1000)


async def ask(connection: Connection, request: bytes, seen: Seen) -> None:
    started = time.perf_counter()
    try:
        status, body = await connection.ask(request)
    except EOFError:  # the service closes a connection that was idle for long; this one is new
        status, body = await connection.ask(request)
    if status != 200:
        raise SystemExit(f"an answer was {status}")
    seen.add(time.perf_counter() - started, json.loads(body)["timing"])


async def closed(port: int, requests: list[bytes], clients: int, seconds: float) -> tuple[float, Seen]:
    """Captions/s with so many clients, each sending again once it is answered."""
    seen, end = Seen(), time.perf_counter() + seconds

    async def client(number: int) -> None:
        connection = Connection(port)
        while time.perf_counter() < end:
            await ask(connection, requests[number % len(requests)], seen)
            number += clients
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return len(seen.seconds) / seconds, seen


async def open_loop(port: int, requests: list[bytes], arrivals: list[float]) -> Seen:
    seen = Seen()
    idle: list[Connection] = []

    async def one(number: int) -> None:
        connection = idle.pop() if idle else Connection(port)
        await ask(connection, requests[number % len(requests)], seen)
        idle.append(connection)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number, due in enumerate(arrivals):
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            tasks.create_task(one(number))
    for connection in idle:
        connection.close()
    return seen


def poisson(rate: float, seconds: float) -> Iterator[float]:
    chance, due = random.Random(0), 0.0
    while (due := due + chance.expovariate(rate)) < seconds:
        yield due


def simulate(arrivals: list[float], batches: dict[int, list[float]], beside: list[float]) -> list[float]:
    """Seconds of each request: the worker takes, whenever it is idle, the largest batch that waits.

    A request reaches the queue after a time drawn from ``beside``; a batch takes one of its size's times.
    """
    chance = random.Random(1)
    reached = sorted((due + chance.choice(beside), due) for due in arrivals)
    seconds: list[float] = []
    free, first = 0.0, 0
    while first < len(reached):
        begin = max(free, reached[first][0])
        waiting = sum(1 for due, _ in reached[first : first + SIZES[-1]] if due <= begin)
        size = max(size for size in batches if size <= waiting)
        free = begin + chance.choice(batches[size])
        seconds += [free - due for _, due in reached[first : first + size]]
        first += size
    return seconds


def p50_p99(seconds: list[float]) -> tuple[float, float]:
    parts = quantiles(seconds, n=100)
    return parts[49], parts[98]


def most_a_second(batches: dict[int, list[float]], beside: list[float]) -> float:
    """The highest rate at which one machine's p99 stays within :data:`P99_S`, by bisection."""
    low, high = 1.0, SIZES[-1] / mean(batches[SIZES[-1]])
    while high - low > 0.5:
        rate = (low + high) / 2
        kept = p50_p99(simulate(list(poisson(rate, 600)), batches, beside))[1] <= P99_S
        low, high = (rate, high) if kept else (low, rate)
    return low


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    requests = [request for _, request in make_requests(arguments.photos, "/caption", "image")]
    runs: list[tuple[float, list[float], Seen]] = []
    with own_service() as (url, _):
        port = int(url.rpartition(":")[2])
        asyncio.run(closed(port, requests, 16, 3))  # warm
        capacity, full = asyncio.run(closed(port, requests, 64, arguments.seconds))
        for share in SHARES:
            arrivals = list(poisson(share * capacity, arguments.seconds))
            runs.append((share, arrivals, asyncio.run(open_loop(port, requests, arrivals))))
    pooled: defaultdict[int, list[float]] = defaultdict(list)
    for seen in (full, *(seen for _, _, seen in runs)):
        for size, times in seen.batches.items():
            pooled[size] += times
    batches = dict(sorted(pooled.items()))
    beside = [part for _, _, seen in runs for part in seen.beside]
    print(f"64 clients: {capacity:.1f} captions/s")
    print(f"a request, beside queue and batch: {1000 * mean(beside):.1f} ms")
    print(f"ms a batch: {', '.join(f'{size}: {1000 * mean(s):.0f}' for size, s in batches.items())}\n")
    print(
        "| share of that | pictures/s | p50 ms | simulated | p99 ms | simulated |\n|---|---|---|---|---|---|"
    )
    for share, arrivals, seen in runs:
        (m50, m99), (s50, s99) = (p50_p99(s) for s in (seen.seconds, simulate(arrivals, batches, beside)))
        print(
            f"| {share:.0%} | {share * capacity:.0f} | {1000 * m50:.0f} | {1000 * s50:.0f} "
            f"| {1000 * m99:.0f} | {1000 * s99:.0f} |"
        )
    most = most_a_second(batches, beside)
    counted = min(most, TRUSTED * capacity)
    print(f"\nA machine keeps p99 within {1000 * P99_S:.0f} ms up to {most:.0f} pictures/s (simulated).")
    print(f"Counted on are {counted:.0f}: beyond {TRUSTED:.0%} the simulation is kinder than the service.\n")
    print("| pictures a second | machines like this one |\n|---|---|")
    for target in TARGETS:
        print(f"| {target:,} | {math.ceil(target / counted):,} |")


if __name__ == "__main__":
    main()
