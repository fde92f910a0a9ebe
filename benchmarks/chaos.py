"""Puts one fault after another into a service under load, and accounts for every request.

python benchmarks/chaos.py [--minutes N] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import psutil
from hostile_traffic import BUSY, Answer, drawn, hostile, upload
from http_load import own_service

A_SECOND = 6  # requests that arrive, whether or not those before have been answered
PICTURES = [drawn(seed) for seed in range(12)]
FLAGS = ("--http-workers", "2", "--device", "cpu,cpu", "--request-timeout", "5")
PAUSE_S = 4.0  # between the recovery from one fault and the next
CUT_S = 2.0  # so long after a front end was killed, a client that has much to do may still find out
ACCEPTED_S = 0.3  # a request that was sent so long before SIGTERM has been accepted
RECOVER_S = 60.0
HEAD = b"POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


class Chaos:
    """One run: what was sent, what came back, and how long each fault was felt."""

    def __init__(self, url: str, service: int, rng: random.Random) -> None:
        self.url, self.service, self.rng = url, psutil.Process(service), rng
        self.expected: list[str] = []
        self.sent = 0
        self.outcomes: Counter[str] = Counter()
        self.lost: list[str] = []
        self.wrong: list[str] = []
        self.recoveries: defaultdict[str, list[float]] = defaultdict(list)
        self.killed = float("-inf")  # when a front end last was
        self.stopped = float("inf")  # when the service was told to stop

    def client(self) -> httpx.AsyncClient:
        # A connection for each request: one that is kept would lay its fate on the next.
        limits = httpx.Limits(max_keepalive_connections=0, max_connections=None)
        return httpx.AsyncClient(base_url=self.url, timeout=40, limits=limits)

    def children(self, module: str) -> list[psutil.Process]:
        found = []
        for child in self.service.children():
            with suppress(psutil.NoSuchProcess):  # it ended while we looked
                if f"service.{module}" in child.cmdline():
                    found.append(child)
        return found

    async def request(self, http: httpx.AsyncClient, number: int) -> Answer | None:
        """Send one picture and account for it."""
        self.sent += 1
        sent = time.monotonic()
        try:
            answer = await upload(PICTURES[number])(http)
        except httpx.TransportError as error:
            if sent > self.stopped - ACCEPTED_S:
                self.outcomes["not accepted, service stopping"] += 1
            elif sent < self.killed + ACCEPTED_S and time.monotonic() < self.killed + CUT_S:
                self.outcomes["connection cut, front end killed or stopped"] += 1
            else:
                self.outcomes["connection cut, for no reason"] += 1
                self.lost.append(type(error).__name__)
            return None
        self.outcomes[str(answer.status)] += 1
        if answer.status not in (200, *BUSY):
            self.lost.append(str(answer.status))
        if answer.status == 200 and answer.captions != (self.expected[number],):
            self.wrong.append(f"{answer.captions} for {self.expected[number]}")
        return answer

    async def load(self, http: httpx.AsyncClient, end: Callable[[], bool]) -> None:
        """Open loop: requests arrive until ``end``; returns when each has its outcome."""
        async with asyncio.TaskGroup() as requests:
            while not end():
                requests.create_task(self.request(http, self.rng.randrange(len(PICTURES))))
                await asyncio.sleep(self.rng.expovariate(A_SECOND))

    async def fault(self, http: httpx.AsyncClient, name: str, put: Callable[[], Awaitable[None]]) -> None:
        """Put a fault in; then wait until five pictures in a row are captioned."""
        started = time.monotonic()
        await put()
        in_a_row = 0
        while in_a_row < 5:
            if time.monotonic() - started > RECOVER_S:
                self.lost.append(f"no captions again after: {name}")
                break
            answer = await self.request(http, self.rng.randrange(len(PICTURES)))
            in_a_row = in_a_row + 1 if answer and answer.status == 200 else 0
            if not in_a_row:
                await asyncio.sleep(0.1)
        self.recoveries[name].append(time.monotonic() - started)

    async def signal_to(self, module: str, number: signal.Signals) -> None:
        process = self.rng.choice(self.children(module))
        if module == "frontend" and number == signal.SIGKILL:
            self.killed = time.monotonic()
        process.send_signal(number)
        if module == "frontend" and number == signal.SIGSTOP:
            self.killed = float("inf")  # the service will kill it, which cuts what it holds
            await asyncio.to_thread(psutil.wait_procs, [process], RECOVER_S)
            self.killed = time.monotonic()

    async def burst(self, http: httpx.AsyncClient) -> None:
        await asyncio.gather(*(self.request(http, n % len(PICTURES)) for n in range(600)))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        url = httpx.URL(self.url)
        return await asyncio.open_connection(url.host, url.port)

    async def idle_flood(self) -> None:
        pairs = await asyncio.gather(*(self.connect() for _ in range(500)))
        await asyncio.sleep(3)
        for _, writer in pairs:
            writer.close()

    async def slow_uploads(self) -> None:
        """Twenty that take two seconds, and twenty that stop half-way."""

        async def one(number: int) -> None:
            picture = PICTURES[number % len(PICTURES)]
            size = len(picture) // 10 + 1
            pieces = [picture[n : n + size] for n in range(0, len(picture), size)]
            stops = number % 2 == 0
            reader, writer = await self.connect()
            writer.write(HEAD % len(picture))
            for piece in pieces[:5] if stops else pieces:
                await asyncio.sleep(0.2)
                writer.write(piece)
            try:
                start = (await asyncio.wait_for(reader.read(4096), 20)).split()
                status = int(start[1]) if start else 0
            except (ConnectionError, TimeoutError):
                status = 0
            writer.close()
            if status not in ((408,) if stops else (200, 408)) + BUSY:
                self.lost.append(f"slow upload: {status or 'no answer'}")

        await asyncio.gather(*(one(n) for n in range(40)))

    async def disconnects(self) -> None:
        """A hundred clients leave: half of them while they send, half of them while they wait."""

        async def one(number: int) -> None:
            picture = PICTURES[number % len(PICTURES)]
            _, writer = await self.connect()
            writer.write(HEAD % len(picture) + (picture if number % 2 else picture[:500]))
            await asyncio.sleep(self.rng.uniform(0, 0.3))
            writer.close()

        await asyncio.gather(*(one(n) for n in range(100)))

    async def hostile_uploads(self, http: httpx.AsyncClient) -> None:
        async def one(kind_number: int) -> None:
            kind = hostile()[kind_number]
            try:
                answer = await kind.send(http)
            except httpx.TransportError as error:
                self.lost.append(f"{kind.name}: {type(error).__name__}")
                return
            if answer.status not in (*kind.allowed, 429, 503, 504):
                self.lost.append(f"{kind.name}: {answer.status}")

        for _ in range(6):
            await asyncio.gather(*(one(n) for n in range(len(hostile()))))

    async def hog(self) -> None:
        loop = "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end: pass"
        hogs = [await asyncio.create_subprocess_exec(sys.executable, "-c", loop) for _ in range(2)]
        for process in hogs:
            await process.wait()

    def faults(self, http: httpx.AsyncClient) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "device worker killed": lambda: self.signal_to("worker", signal.SIGKILL),
            "device worker stopped (SIGSTOP)": lambda: self.signal_to("worker", signal.SIGSTOP),
            "front end killed": lambda: self.signal_to("frontend", signal.SIGKILL),
            "front end stopped (SIGSTOP)": lambda: self.signal_to("frontend", signal.SIGSTOP),
            "600 requests at once": lambda: self.burst(http),
            "500 idle connections for 3 s": self.idle_flood,
            "96 hostile requests": lambda: self.hostile_uploads(http),
            "40 slow uploads": self.slow_uploads,
            "100 clients that leave": self.disconnects,
            "both cores taken for 5 s": self.hog,
        }

    async def run(self, seconds: float) -> None:
        async with self.client() as http:
            self.expected = [(await upload(picture)(http)).captions[0] for picture in PICTURES]
            end = time.monotonic() + seconds
            over = False

            async def put_faults() -> None:
                nonlocal over
                while time.monotonic() < end:
                    faults = list(self.faults(http).items())
                    self.rng.shuffle(faults)
                    for name, put in faults:
                        if time.monotonic() < end:
                            await self.fault(http, name, put)
                            await asyncio.sleep(PAUSE_S)
                over = True

            await asyncio.gather(put_faults(), self.load(http, lambda: over))
            await asyncio.sleep(1)
            depth = (await http.get("/health")).json()["queue"]["depth"]
            if depth:
                self.lost.append(f"{depth} pictures admitted that nobody waits for")

    async def stop(self) -> int:
        """SIGTERM under load; gives the exit code once every request has its outcome."""
        async with self.client() as http:
            loading = asyncio.create_task(self.load(http, lambda: not self.service.is_running()))
            await asyncio.sleep(2)
            last = [asyncio.create_task(self.request(http, n % len(PICTURES))) for n in range(64)]
            await asyncio.sleep(2 * ACCEPTED_S)
            self.stopped = time.monotonic()
            self.service.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(self.service.wait, 30)
            await asyncio.gather(loading, *last)
        return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with own_service(*FLAGS) as (url, service):
        chaos = Chaos(url, service, random.Random(arguments.seed))
        asyncio.run(chaos.run(arguments.minutes * 60))
        code = asyncio.run(chaos.stop())
    print("| fault | times | captions again after, median | at most |\n|---|---|---|---|")
    for name, seconds in sorted(chaos.recoveries.items()):
        ranked = sorted(seconds)
        print(f"| {name} | {len(ranked)} | {ranked[len(ranked) // 2]:.1f} s | {ranked[-1]:.1f} s |")
    answers = ", ".join(f"{count:,} × {what}" for what, count in chaos.outcomes.most_common())
    unaccounted = chaos.sent - sum(chaos.outcomes.values())
    print(f"\n| requests | {chaos.sent:,} |\n|---|---|\n| outcomes | {answers} |")
    print(f"| without an outcome | {unaccounted} |")
    print(f"| outcomes that may not be | {len(chaos.lost)} {dict(Counter(chaos.lost)) or ''} |")
    print(f"| captions of another picture | {len(chaos.wrong)} |")
    print(f"| exit code at SIGTERM under load | {code} |")
    return 1 if chaos.lost or chaos.wrong or unaccounted or code else 0


if __name__ == "__main__":
    sys.exit(main())
