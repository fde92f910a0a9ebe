"""Closed-loop load on a service: captions/s, latency, batch size, and whether captions ever differ.

    python benchmarks/http_load.py FOLDER --clients 1 8 64

Starts a service of its own on a free port, unless --url names one that runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx


async def send_all(
    url: str, pictures: list[Path], clients: int
) -> tuple[dict[str, str], Counter[int], list[float]]:
    """Send each picture once over ``clients`` connections → captions, statuses, seconds each."""
    captions: dict[str, str] = {}
    statuses: Counter[int] = Counter()
    seconds: list[float] = []
    todo = iter(pictures)

    async def client(http: httpx.AsyncClient) -> None:
        for picture in todo:
            files = {"image": (picture.name, picture.read_bytes())}
            started = time.perf_counter()
            response = await http.post(f"{url}/caption", files=files)
            seconds.append(time.perf_counter() - started)
            statuses[response.status_code] += 1
            if response.status_code == 200:
                captions[picture.name] = response.json()["caption"]

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return captions, statuses, seconds


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
    parser.add_argument("folder", type=Path, help="pictures to send, each once in every row")
    parser.add_argument("--url", help="a service that runs already")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    arguments = parser.parse_args()
    with nullcontext((arguments.url, 0)) if arguments.url else own_service() as (url, _):
        measure(url, arguments.folder, arguments.clients)


def measure(url: str, folder: Path, client_counts: list[int]) -> None:
    pictures = sorted(path for path in folder.iterdir() if path.is_file())
    known: dict[str, str] = {}
    print("| clients | captions/s | p50 ms | p99 ms | mean batch | statuses | captions that differ |")
    print("|---|---|---|---|---|---|---|")
    for clients in client_counts:
        before = batch_totals(url)
        started = time.perf_counter()
        captions, statuses, seconds = asyncio.run(send_all(url, pictures, clients))
        elapsed = time.perf_counter() - started
        after = batch_totals(url)
        mean_batch = (after[0] - before[0]) / max(1, after[1] - before[1])
        differing = sum(known.setdefault(name, caption) != caption for name, caption in captions.items())
        seconds.sort()
        p50, p99 = (1000 * seconds[int(len(seconds) * q)] for q in (0.5, 0.99))
        print(
            f"| {clients} | {len(seconds) / elapsed:.1f} | {p50:.0f} | {p99:.0f} | {mean_batch:.1f} "
            f"| {', '.join(f'{n} × {code}' for code, n in statuses.items())} | {differing} |"
        )


if __name__ == "__main__":
    main()
