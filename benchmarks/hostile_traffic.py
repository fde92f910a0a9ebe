"""Requests that may be meant well or ill, each with the answers it may get. For soak.py and chaos.py."""

from __future__ import annotations

import asyncio
import io
import random
import struct
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import httpx
from PIL import Image, ImageDraw

GONE = 0  # the "status" of a request whose client left, or that is no HTTP
BUSY = (429, 503, 504)
GIF_BOMB = (  # 8289 × 8192 pixels in a few hundred bytes
    b"GIF89a" + struct.pack("<HH", 8289, 8192) + b"\x80\0\0" + bytes(6) + b"," + bytes(4)
    + struct.pack("<HH", 8289, 8192) + b"\0" + bytes([2, 4, 0x84, 0x51, 0, 0]) + b"\0;"
)  # fmt: skip


class Answer(NamedTuple):
    """What came: its status, the captions of a 200, and seconds to wait before another try."""

    status: int
    captions: tuple[str, ...] = ()
    retry_s: float | None = None


Send = Callable[[httpx.AsyncClient], Awaitable[Answer]]


class Kind(NamedTuple):
    """A sort of request, and the statuses it may be answered with."""

    name: str
    allowed: tuple[int, ...]
    send: Send


def drawn(seed: int, kind: str = "JPEG", size: tuple[int, int] = (320, 240)) -> bytes:
    """A picture of coloured shapes, a different one for each seed."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, width = rng.randrange(size[0]), rng.randrange(size[1]), rng.randrange(20, 120)
        draw.ellipse((x, y, x + width, y + width), fill=tuple(rng.randrange(256) for _ in range(3)))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def answer_of(response: httpx.Response) -> Answer:
    retry = response.headers.get("retry-after")
    captions: tuple[str, ...] = ()
    if response.status_code == 200 and "json" in response.headers["content-type"]:
        found = response.json()
        results = found.get("results", [found])
        captions = tuple(result.get("caption", "") for result in results)
    return Answer(response.status_code, captions, float(retry) if retry else None)


def upload(data: bytes, field: str = "image", query: str = "") -> Send:
    async def send(http: httpx.AsyncClient) -> Answer:
        return answer_of(await http.post(f"/caption{query}", files={field: ("x.jpg", data)}))

    return send


def several(pictures: list[bytes]) -> Send:
    async def send(http: httpx.AsyncClient) -> Answer:
        files = [("images", ("x.jpg", data)) for data in pictures]
        return answer_of(await http.post("/captions", files=files))

    return send


def request(method: str, path: str, content: bytes = b"", kind: str = "") -> Send:
    async def send(http: httpx.AsyncClient) -> Answer:
        headers = {"Content-Type": kind} if kind else {}
        return answer_of(await http.request(method, path, content=content, headers=headers))

    return send


def raw(data: bytes, stay: bool = True) -> Send:
    """Bytes on a connection of their own; ``stay`` for the answer, or leave at once."""

    async def send(http: httpx.AsyncClient) -> Answer:
        reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        try:
            writer.write(data)
            await writer.drain()
            head = await asyncio.wait_for(reader.read(4096), 60) if stay else b""
            return Answer(int(head.split()[1]) if head.startswith(b"HTTP/") else GONE)
        except ConnectionError:
            return Answer(GONE)
        finally:
            writer.close()

    return send


def good() -> list[Kind]:
    """Requests that must be captioned."""
    formats = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
    kinds = [Kind(f"a {f}", (200,), upload(drawn(n, f))) for n, f in enumerate(formats)]
    kinds.append(Kind("a larger JPEG", (200,), upload(drawn(7, size=(1600, 1200)))))
    kinds.append(Kind("beam 3", (200,), upload(drawn(8), query="?beam=3&n=3")))
    kinds.append(Kind("three at once", (200,), several([drawn(n) for n in range(9, 12)])))
    kinds.append(Kind("a raw body", (200,), request("POST", "/caption", drawn(12), "image/jpeg")))
    return kinds


def hostile() -> list[Kind]:
    """Requests that must be refused, or that end without an answer."""
    fine = drawn(20)
    head = (
        b"POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        % len(fine)
    )
    multipart = "multipart/form-data; boundary=b"
    flipped = bytearray(drawn(21, "PNG"))
    for n in range(60, len(flipped), 97):
        flipped[n] ^= 0xFF
    return [
        Kind("truncated", (422,), upload(fine[: len(fine) // 2])),
        Kind("bits flipped", (422,), upload(bytes(flipped))),
        Kind("text", (415,), upload(b"no picture at all")),
        Kind("empty", (422,), upload(b"")),
        Kind("pixel bomb", (422,), upload(GIF_BOMB)),
        Kind("wrong field", (422,), upload(fine, "picture")),
        Kind("wrong type", (415,), request("POST", "/caption", fine, "text/plain")),
        Kind("broken form", (400,), request("POST", "/caption", b"--b\r\nnonsense", multipart)),
        Kind("too large", (413,), request("POST", "/caption", bytes(11 * 2**20), "image/png")),
        Kind("wrong method", (405,), request("DELETE", "/caption")),
        Kind("unknown path", (404,), request("GET", "/nowhere/%0d%0aforged")),
        Kind("wrong query", (422,), request("POST", "/caption?beam=99", fine, "image/jpeg")),
        Kind("no HTTP", (400,), raw(b"\x16\x03\x01 nonsense\r\n\r\n")),
        Kind("two lengths", (400,), raw(head[:-2] + b"Transfer-Encoding: chunked\r\n\r\n")),
        Kind("left while sending", (GONE,), raw(head + fine[:500], stay=False)),
        Kind("left while waiting", (GONE,), raw(head + fine, stay=False)),
    ]
