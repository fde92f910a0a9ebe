"""How a batch is cut into parts of a few sizes, so that a graph made for each of them runs it."""

from __future__ import annotations

from collections.abc import Iterator

Part = tuple[slice, int]
"""Some pictures of a batch, and the size of the batch that they are run as."""


def exact(batch: int, largest: int) -> Iterator[Part]:
    """Parts of ``largest``, a power of two, and then of smaller ones: for work that is as much for each
    picture of a large batch as of a small one."""
    start, size = 0, largest
    while start < batch:
        while start + size > batch:
            size //= 2
        yield slice(start, start + size), size
        start += size


def padded(batch: int, largest: int) -> Iterator[Part]:
    """Parts that are run as powers of two, at most ``largest``: for work that is less for each picture the
    larger the batch.

    A part that fills more than three quarters of its size is padded to it.
    """
    start = 0
    while left := batch - start:
        size = min(largest, 1 << (left - 1).bit_length())
        if left <= size * 3 // 4:
            size //= 2
        part = slice(start, start + min(left, size))
        yield part, size
        start = part.stop
