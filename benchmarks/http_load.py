"""What HTTP costs: captions/s and latency of the service, beside the model alone on the same pictures.

    python benchmarks/http_load.py FOLDER --clients 1 8 64 512

Starts a service of its own on a free port. The model alone and each number of clients (closed loop) take
turns; shown are medians of the rounds, and of the ratios the least and the most.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple, get_args

import httpx
from peers.driver import Load, make_requests

from model.bulk import caption_many
from model.caption import Caption
from model.captioner import Captioner
from model.config import BUNDLED, Precision
from model.memory import MOST, keep_blocks
from model.preprocessing import load_pixels

ONE_BY_ONE, IN_BATCHES = "the model alone, one by one", "the model alone, in batches"
ONE_CLIENT = "1 client"


class Turn(NamedTuple):
    """One measurement: pictures a second, seconds of each, pictures in a batch, and what came of them."""

    rate: float
    seconds: list[float]
    batch: float
    outcomes: Counter[str]


class Alone:
    """The model without a server, from a picture's bytes to its caption."""

    def __init__(self, pictures: dict[str, bytes], precision: Precision) -> None:
        keep_blocks(MOST)
        self._captioner = Captioner.load(BUNDLED, engine="auto", precision=precision)
        self._pictures = pictures
        self.captions = dict(zip(pictures, self._texts(pictures.values()), strict=True))

    def _texts(self, sources: Iterable[bytes]) -> Iterator[str]:
        for result in caption_many(self._captioner, sources):
            yield result.text if isinstance(result, Caption) else str(result)

    def one_by_one(self, duration: float) -> Turn:
        seconds = []
        end = time.perf_counter() + duration
        for data in itertools.cycle(self._pictures.values()):
            if (started := time.perf_counter()) > end:
                break
            pixels = load_pixels(data, self._captioner.config.preprocessing)
            self._captioner.caption([pixels], [1])
            seconds.append(time.perf_counter() - started)
        return Turn(len(seconds) / sum(seconds), seconds, 1, Counter())

    def in_batches(self, duration: float) -> Turn:
        started = time.perf_counter()
        sources = itertools.takewhile(
            lambda _: time.perf_counter() < started + duration, itertools.cycle(self._pictures.values())
        )
        count = sum(1 for _ in self._texts(sources))
        elapsed = time.perf_counter() - started
        return Turn(count / elapsed, [], self._captioner.batch_size, Counter())


def by_clients(
    url: str, clients: int, requests: list[tuple[str, bytes]], seconds: float, known: dict[str, str]
) -> Turn:
    before = batch_totals(url)
    load = Load(requests, int(url.rpartition(":")[2]), seconds)
    started = time.perf_counter()
    asyncio.run(load.closed(clients))
    elapsed = time.perf_counter() - started
    after = batch_totals(url)
    captioned = [(name, taken, caption) for name, taken, outcome, caption in load.answers if outcome == "200"]
    outcomes = Counter(outcome for _, _, outcome, _ in load.answers)
    if wrong := sum(caption != known[name] for name, _, caption in captioned):
        outcomes["another caption"] = wrong
    batch = (after[0] - before[0]) / max(1, after[1] - before[1])
    return Turn(len(captioned) / elapsed, [taken for _, taken, _ in captioned], batch, outcomes)


def batch_totals(url: str) -> tuple[float, float]:
    """Pictures and batches so far, from the service's metrics."""
    text = httpx.get(f"{url}/metrics").text
    values = [
        float(match[1]) if (match := re.search(rf"^captioner_batch_size_{name} (\S+)$", text, re.M)) else 0.0
        for name in ("sum", "count")
    ]
    return values[0], values[1]


@contextmanager
def own_service(*flags: str, **environment: str) -> Iterator[tuple[str, int]]:
    """A service with the bundled checkpoint on a free port; gives its URL and process id once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).with_name("captioner"))
    command = [program, "serve", "--port", str(port), "--log-level", "warning", *flags]
    service = subprocess.Popen(command, env={**os.environ, **environment})
    url = f"http://127.0.0.1:{port}"
    try:
        while not ready(url):
            time.sleep(0.1)
        yield url, service.pid
    finally:
        service.terminate()
        service.wait()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.HTTPError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures to send, in turn")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a turn")
    parser.add_argument("--precision", choices=get_args(Precision), default="auto", help="of both")
    arguments = parser.parse_args()
    requests = make_requests(arguments.folder, "/caption", "image")
    pictures = {name: (arguments.folder / name).read_bytes() for name, _ in requests}
    alone = Alone(pictures, arguments.precision)
    turns: dict[str, list[Turn]] = {}
    with own_service("--precision", arguments.precision) as (url, _):
        for _ in range(arguments.rounds):
            taken = {
                ONE_BY_ONE: alone.one_by_one(arguments.seconds),
                IN_BATCHES: alone.in_batches(arguments.seconds),
            }
            for clients in arguments.clients:
                name = ONE_CLIENT if clients == 1 else f"{clients} clients"
                taken[name] = by_clients(url, clients, requests, arguments.seconds, alone.captions)
            for name, turn in taken.items():
                turns.setdefault(name, []).append(turn)
    show(turns)


def show(turns: dict[str, list[Turn]]) -> None:
    print("| | captions/s | of the model in batches | p50 ms | p99 ms | mean batch | outcomes |")
    print("|---|---|---|---|---|---|---|")
    for name, mine in turns.items():
        ratios = [turn.rate / base.rate for turn, base in zip(mine, turns[IN_BATCHES], strict=True)]
        outcomes = sum((turn.outcomes for turn in mine), Counter[str]())
        cells = [
            name,
            f"{median(turn.rate for turn in mine):.1f}",
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            latency(mine, 50),
            latency(mine, 99),
            f"{median(turn.batch for turn in mine):.1f}",
            ", ".join(f"{count} × {outcome}" for outcome, count in sorted(outcomes.items())),
        ]
        print(f"| {' | '.join(cells)} |")
    if ONE_CLIENT in turns:
        pairs = zip(turns[ONE_CLIENT], turns[ONE_BY_ONE], strict=True)
        more = [1000 * (median(turn.seconds) - median(base.seconds)) for turn, base in pairs]
        spread = f"{median(more):.1f} ms ({min(more):.1f} to {max(more):.1f})"
        print(
            f"\nOne client waits {spread} longer for a caption than the model alone takes from file to words."
        )


def latency(turns: list[Turn], percent: int) -> str:
    """Milliseconds, the median of the turns; nothing of pictures that were not timed each."""
    if not turns[0].seconds:
        return ""
    return f"{1000 * median(quantiles(turn.seconds, n=100)[percent - 1] for turn in turns):.0f}"


if __name__ == "__main__":
    main()
