"""How the C library keeps the memory that pictures are decoded into."""

from __future__ import annotations

import ctypes
import sys

# of glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

PICTURES = 4 * 2**20  # bytes of what small pictures take
MOST = 32 * 2**20  # that glibc can be told; a network's values on a CPU are blocks of that size


def keep_blocks(size: int) -> None:
    """Keep freed blocks of up to so many bytes for the next pictures, in this process from now on.

    Given back to the system and faulted in again for each picture, they cost as much as half of its
    decoding. Larger blocks do go back when they are freed; glibc by itself would come to keep them. Other C
    libraries have no such choice.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, size)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * size)  # as glibc has it


def give_back() -> None:
    """Give the system what this process has freed and kept, which takes some milliseconds.

    Other C libraries than glibc do so by themselves, or not at all.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
