"""Strategies: good pictures, and what can happen to them on their way."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from tests.hostile import oracle
from tests.pictures import picture

SHARED = Path(__file__).parents[3] / "shared"
LARGEST = 200_000  # bytes of a picture that is worth mutating; most of a larger one is like the rest of it
PHOTOS = 8
EDGES = (0, 1, 2, 255, 256, 6324, 6325, 16383, 16384, 40_000, 65_535, 2**24 - 1, 2**31 - 1, 2**32 - 1)

Mutation = Callable[[bytes], bytes]


@cache
def pictures() -> list[bytes]:
    """Good ones of each format, and where they are, odd ones and photographs."""
    size = (96, 64)
    made = [
        picture(1, size),
        picture(2, size, progressive=True),
        picture(3, size, optimize=True, restart_marker_blocks=2),
        picture(4, size, "PNG"),
        picture(5, size, "PNG", compress_level=0),
        picture(6, size, "WEBP"),
        picture(7, size, "WEBP", lossless=True),
        picture(8, size, "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
        picture(9, size, "GIF"),
        picture(10, size, "GIF", interlace=0),
        picture(11, size, "BMP"),
    ]
    corpus = sorted(path for path in SHARED.glob("corpus/*/*") if path.is_file())
    photos = sorted(SHARED.glob("data/photos/*.jpg"))[:PHOTOS]
    found = [path.read_bytes() for path in corpus + photos if path.stat().st_size <= LARGEST]
    return made + [data for data in found if 200 in oracle.statuses(data)]


def mutated() -> st.SearchStrategy[bytes]:
    """A picture to which one or two things happened."""
    return st.builds(applied, st.sampled_from(pictures()), st.lists(mutations(), min_size=1, max_size=2))


def applied(data: bytes, happened: list[Mutation]) -> bytes:
    """``data`` after all that."""
    for mutation in happened:
        data = mutation(data)
    return data


def mutations() -> st.SearchStrategy[Mutation]:
    """One thing that may happen to bytes on their way."""
    # a share of the length, or one of the first bytes: there stand sizes, tables and the chunks' lengths
    place = st.integers(0, 9999).map(lambda n: n / 9999) | st.integers(0, 400)
    few = st.binary(min_size=1, max_size=16)
    length = st.integers(1, 64)
    return st.one_of(
        st.builds(_cut_off, place),
        st.builds(_flip, place, st.integers(0, 7)),
        st.builds(_write, place, few),
        st.builds(_insert, place, few),
        st.builds(_leave_out, place, length),
        st.builds(_repeat, place, length),
        st.builds(_splice, place, st.sampled_from(pictures()), place),
        st.builds(resized, st.sampled_from(EDGES), st.sampled_from(EDGES), st.booleans()),
    )


def _cut_off(place: float) -> Mutation:
    return lambda data: data[: _at(data, place)]


def _flip(place: float, bit: int) -> Mutation:
    return lambda data: _overwritten(
        data, at := _at(data, place), bytes(b ^ 1 << bit for b in data[at : at + 1])
    )


def _write(place: float, some: bytes) -> Mutation:
    return lambda data: _overwritten(data, _at(data, place), some)


def _insert(place: float, some: bytes) -> Mutation:
    return lambda data: data[: (at := _at(data, place))] + some + data[at:]


def _leave_out(place: float, length: int) -> Mutation:
    return lambda data: data[: (at := _at(data, place))] + data[at + length :]


def _repeat(place: float, length: int) -> Mutation:
    return lambda data: data[: (at := _at(data, place)) + length] + data[at:]


def _splice(place: float, other: bytes, other_place: float) -> Mutation:
    return lambda data: data[: _at(data, place)] + other[_at(other, other_place) :]


def resized(width: int, height: int, honest: bool) -> Mutation:
    """Write other sizes into the header; ``honest``: with a checksum that agrees, where there is one."""

    def mutate(data: bytes) -> bytes:
        if data.startswith(b"\x89PNG") and len(data) > 33:
            head = data[12:16] + struct.pack(">II", width % 2**32, height % 2**32) + data[24:29]
            return (
                data[:12]
                + head
                + (struct.pack(">I", zlib.crc32(head)) if honest else data[29:33])
                + data[33:]
            )
        if data.startswith(b"\xff\xd8"):
            frame = max(data.find(b"\xff\xc0\0"), data.find(b"\xff\xc2\0"))
            return _overwritten(data, frame + 5, struct.pack(">HH", height % 2**16, width % 2**16))
        if data.startswith(b"GIF"):
            return _overwritten(data, 6, struct.pack("<HH", width % 2**16, height % 2**16))
        if data.startswith(b"BM"):
            return _overwritten(data, 18, struct.pack("<II", width % 2**32, height % 2**32))
        if data[12:16] == b"VP8X":
            sizes = struct.pack("<I", width % 2**24)[:3] + struct.pack("<I", height % 2**24)[:3]
            return _overwritten(data, 24, sizes)
        return _overwritten(
            data, 26 if data[12:16] == b"VP8 " else 21, struct.pack("<HH", width % 2**16, height % 2**16)
        )

    return mutate


def _at(data: bytes, place: float) -> int:
    """The position that is a share of the length, or an index."""
    last = max(0, len(data) - 1)
    return min(place, last) if isinstance(place, int) else int(place * last)


def _overwritten(data: bytes, at: int, some: bytes) -> bytes:
    return data[:at] + some + data[at + len(some) :]
