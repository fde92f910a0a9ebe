"""Load on one server from a process of its own, in a closed loop or an open one.

    python benchmarks/peers/driver.py PHOTOS --port 8000 --path /caption --field image --closed 8 --seconds 5

Requests are made before the clock starts and sent over kept connections, so that little of the machine goes
into asking. A client whose request failed waits for as long as Retry-After says, else BACK_OFF_S. Nothing is
sent after --seconds; what is under way is waited for. Prints one JSON object: for every request its picture,
seconds, outcome and caption.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from pathlib import Path

BACK_OFF_S = 0.1
PATIENCE_S = 30  # more than any server's own deadline
BOUNDARY = "a-boundary-no-photograph-has"


def make_requests(folder: Path, path: str, field: str | None) -> list[tuple[str, bytes]]:
    """Name and whole HTTP request of each picture: multipart in ``field``, or the raw body without one."""
    requests = []
    for picture in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        body, kind = picture.read_bytes(), "image/jpeg"
        if field:
            part = (
                f"--{BOUNDARY}\r\n"
                f'Content-Disposition: form-data; name="{field}"; filename="{picture.name}"\r\n'
                "Content-Type: image/jpeg\r\n\r\n"
            )
            body = part.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()
            kind = f"multipart/form-data; boundary={BOUNDARY}"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        requests.append((picture.name, head.encode() + body))
    return requests


class Connection:
    """One kept HTTP/1.1 connection, opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.back_off_s = BACK_OFF_S  # as the last answer has it

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """:raises OSError, EOFError: the connection was refused or cut"""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if "transfer-encoding: chunked" in head:
                body = b""
                while size := int(await reader.readline(), 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                await reader.readline()
            else:
                body = await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        except BaseException:
            self.close()
            raise
        if "connection: close" in head:
            self.close()
        _, _, after = head.partition("retry-after:")
        self.back_off_s = float(after.split()[0]) if after else BACK_OFF_S
        return int(head.split()[1]), body

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


class Load:
    """Sends pictures in turn, from the first again after the last, and keeps what came of each."""

    def __init__(self, requests: list[tuple[str, bytes]], port: int, seconds: float) -> None:
        self.requests = itertools.cycle(requests)
        self.port = port
        self.seconds = seconds
        self.answers: list[tuple[str, float, str, str]] = []

    async def send(self, connection: Connection) -> bool:
        name, request = next(self.requests)
        started = time.perf_counter()
        caption = ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, body = await connection.ask(request)
            outcome = str(status)
            if status == 200:
                answer = json.loads(body)
                caption = answer["caption"] if isinstance(answer, dict) else answer[0]
        except TimeoutError:
            outcome = "timeout"
        except (OSError, EOFError):
            outcome = "cut off"
        self.answers.append((name, time.perf_counter() - started, outcome, caption))
        return outcome == "200"

    async def closed(self, clients: int) -> None:
        async def client() -> None:
            connection = Connection(self.port)
            while time.perf_counter() < end:
                if not await self.send(connection):
                    await asyncio.sleep(min(connection.back_off_s, max(0.0, end - time.perf_counter())))
            connection.close()

        end = time.perf_counter() + self.seconds
        await asyncio.gather(*(client() for _ in range(clients)))

    async def open(self, rate: float) -> None:
        """Requests at random times (a Poisson process), the same ones for each server."""
        idle: list[Connection] = []

        async def one() -> None:
            connection = idle.pop() if idle else Connection(self.port)
            await self.send(connection)
            idle.append(connection)

        chance = random.Random(0)
        due = started = time.perf_counter()
        under_way = []
        while (due := due + chance.expovariate(rate)) < started + self.seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            under_way.append(asyncio.create_task(one()))
        await asyncio.gather(*under_way)
        for connection in idle:
            connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--field", help="form field of the picture; without one the body is the picture")
    parser.add_argument("--seconds", type=float, required=True)
    shape = parser.add_mutually_exclusive_group(required=True)
    shape.add_argument("--closed", type=int, metavar="CLIENTS")
    shape.add_argument("--open", type=float, metavar="REQUESTS_A_SECOND")
    arguments = parser.parse_args()
    requests = make_requests(arguments.photos, arguments.path, arguments.field)
    load = Load(requests, arguments.port, arguments.seconds)
    started = time.perf_counter()
    asyncio.run(load.closed(arguments.closed) if arguments.closed else load.open(arguments.open))
    json.dump({"elapsed": time.perf_counter() - started, "answers": load.answers}, sys.stdout)


if __name__ == "__main__":
    main()
