"""What the HTTP layer alone carries: the real front end, with a model and a decoder that cost nothing.

    python benchmarks/front_end.py

Beside it, in turns within the same run, a bare FastAPI application as its tutorial has it. Other work on the
machine slows both alike, so what counts is the last column, and answers per second of the front ends' CPU
time rather than of the clock: driver and front ends share the cores.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from upload_driver import Driver

from service.board import Board

UPLOAD_BYTES = 200_000
BOUNDARY = b"------------------------d74496d66958873e"
PICTURE = os.urandom(UPLOAD_BYTES)


def _post(path: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" % path
    return head + b"Content-Length: %d\r\nContent-Type: %b\r\n\r\n" % (len(body), kind) + body


FORM = (
    b'--%b\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n%b\r\n--%b--\r\n" % (BOUNDARY, PICTURE, BOUNDARY)
)
MULTIPART = _post(b"/caption", b"multipart/form-data; boundary=" + BOUNDARY, FORM)
LIVE = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"


class Row(NamedTuple):
    """One line of the table: which requests, to what, and the line whose pace is its measure."""

    title: str
    target: str
    front_ends: int
    request: bytes
    base: str


ROWS = (
    Row("bare FastAPI, multipart", "bare", 1, MULTIPART, "bare FastAPI, multipart"),
    Row("service, multipart", "service", 1, MULTIPART, "bare FastAPI, multipart"),
    Row("service, multipart, two front ends", "service", 2, MULTIPART, "bare FastAPI, multipart"),
    Row(
        "bare FastAPI, raw body", "bare", 1, _post(b"/raw", b"image/jpeg", PICTURE), "bare FastAPI, raw body"
    ),
    Row(
        "service, raw body",
        "service",
        1,
        _post(b"/caption", b"image/jpeg", PICTURE),
        "bare FastAPI, raw body",
    ),
    Row("bare FastAPI, /health/live", "bare", 1, LIVE, "bare FastAPI, /health/live"),
    Row("service, /health/live", "service", 1, LIVE, "bare FastAPI, /health/live"),
)


class Turn(NamedTuple):
    """One measurement: answers a second of the clock, and of the front ends' CPU time."""

    per_second: float
    per_cpu_second: float


class FrontEnds:
    """Running front-end processes of one kind behind one socket."""

    def __init__(self, port: int, processes: list[psutil.Popen]) -> None:
        self.port = port
        self.processes = processes

    def cpu_s(self) -> float:
        """CPU seconds that they have used, in their own code and in the kernel."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)


@contextmanager
def front_ends(target: str, count: int) -> Iterator[FrontEnds]:
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0), backlog=2048) as listener,
    ):
        Board.create(Path(folder, "board"), count, 1)
        processes = [
            psutil.Popen(
                [
                    *(sys.executable, str(Path(__file__).with_name("stand_ins.py")), target),
                    *(str(listener.fileno()), str(Path(folder, "board")), str(index), str(count)),
                ],
                pass_fds=[listener.fileno()],
                stderr=subprocess.DEVNULL,  # a line for each request, as the service writes it
                env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder, "MALLOC_ARENA_MAX": "2"},
            )
            for index in range(count)
        ]
        try:
            yield FrontEnds(listener.getsockname()[1], processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def measure(row: Row, servers: FrontEnds, clients: int, seconds: float) -> Turn:
    driver = Driver(servers.port, clients * row.front_ends, row.request)
    try:
        driver.run(0.2)  # whatever the first requests have to load
        started, used = time.monotonic(), servers.cpu_s()
        answers = driver.run(seconds)
        return Turn(answers / (time.monotonic() - started), answers / (servers.cpu_s() - used))
    finally:
        driver.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=16, help="connections to each front end")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    turns: dict[str, list[Turn]] = {row.title: [] for row in ROWS}
    with front_ends("bare", 1) as bare, front_ends("service", 1) as one, front_ends("service", 2) as two:
        servers = {("bare", 1): bare, ("service", 1): one, ("service", 2): two}
        for _ in range(arguments.turns):
            for row in ROWS:
                turn = measure(row, servers[row.target, row.front_ends], arguments.clients, arguments.seconds)
                turns[row.title].append(turn)
    show(turns)


def show(turns: dict[str, list[Turn]]) -> None:
    print(f"{os.cpu_count()} cores; uploads of {UPLOAD_BYTES:,} bytes; medians and extremes of the turns\n")
    print("| | answers/s | answers per CPU second | of bare FastAPI |")
    print("|---|---|---|---|")
    for row in ROWS:
        mine, base = turns[row.title], turns[row.base]
        clock = statistics.median(turn.per_second for turn in mine)
        rates = [turn.per_cpu_second for turn in mine]
        ratios = [turn.per_cpu_second / of.per_cpu_second for turn, of in zip(mine, base, strict=True)]
        print(f"| {row.title} | {clock:.0f} | {spread(rates, 0)} | {spread(ratios, 2)} |")
    one, two = (turns[title] for title in ("service, multipart", "service, multipart, two front ends"))
    gains = [2 * b.per_cpu_second / a.per_cpu_second - 1 for a, b in zip(one, two, strict=True)]
    print(f"\nA second front end with a core of its own adds {spread(gains, 2)} of what one carries.")


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
