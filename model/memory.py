"""How the C library keeps the memory that pictures are decoded into."""

from __future__ import annotations

import ctypes
import sys

# of glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

KEPT_BYTES = 8 * 2**20
LARGE_BYTES = 4 * 2**20


def keep_small_blocks() -> None:
    """Keep the blocks of small pictures for the next ones, in this process from now on.

    Given back to the system and faulted in again for each picture, they cost as much as half of its
    decoding. Blocks of large pictures do go back when they are freed; glibc by itself would keep them. Other
    C libraries have no such choice.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
