"""Kills the device worker with SIGKILL under load and counts what 64 clients are answered.

python benchmarks/kill_worker.py FOLDER
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
from http_load import own_service

CLIENTS = 64
SECONDS = 20.0
KILL_AFTER_S = 4.0


async def client(
    http: httpx.AsyncClient, url: str, pictures: list[bytes], first: int, end: float
) -> Counter[str]:
    """Send pictures one after another until ``end``, honouring Retry-After; gives the answers by kind."""
    answers: Counter[str] = Counter()
    number = first
    while time.monotonic() < end:
        response = await http.post(f"{url}/caption", files={"image": pictures[number % len(pictures)]})
        number += 1
        retry_s = response.headers.get("retry-after")
        answers[f"{response.status_code}{' with Retry-After' if retry_s else ''}"] += 1
        await asyncio.sleep(float(retry_s or 0))
    return answers


async def kill_worker(http: httpx.AsyncClient, url: str, service: int) -> tuple[float, float]:
    """Seconds from the kill to readiness 503, and to readiness 200 again."""
    await asyncio.sleep(KILL_AFTER_S)
    workers = [c for c in psutil.Process(service).children() if "service.worker" in c.cmdline()]
    workers[0].kill()
    killed = time.monotonic()
    noticed = 0.0
    while True:
        ready = (await http.get(f"{url}/health")).status_code == 200
        since = time.monotonic() - killed
        if not ready and not noticed:
            noticed = since
        if ready and noticed:
            return noticed, since
        await asyncio.sleep(0.01)


async def measure(url: str, service: int, pictures: list[bytes]) -> None:
    end = time.monotonic() + SECONDS
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=CLIENTS + 1)) as http:
        clients = [client(http, url, pictures, first, end) for first in range(CLIENTS)]
        (noticed, back), *answers = await asyncio.gather(kill_worker(http, url, service), *clients)
    print("| answers of 64 clients in 20 s | readiness 503 after | ready again after |")
    print("|---|---|---|")
    counts = ", ".join(f"{n} × {kind}" for kind, n in sum(answers, Counter()).items())
    print(f"| {counts} | {noticed:.2f} s | {back:.1f} s |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures to send")
    folder = parser.parse_args().folder
    pictures = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    with own_service() as (url, service):
        asyncio.run(measure(url, service, pictures))


if __name__ == "__main__":
    main()
