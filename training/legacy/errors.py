"""What can be wrong with the ancestor's files, as one sentence for the person who brought them."""

from __future__ import annotations

from model.errors import CaptionerError


class LegacyError(CaptionerError):
    """A file of the ancestor is missing, damaged, not what it was given as, or does not fit the others."""

    title = "Legacy files unusable"
    code = "legacy"


def quoted(text: str) -> str:
    """A name from an untrusted file in plain ASCII, on one line and short enough for a sentence."""
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def described(head: bytes, size: int) -> str:
    """What an unreadable file is; a page of HTML or a pointer of Git LFS is known by its beginning.

    :param head: its first bytes
    """
    return (
        f'{size:,} bytes that begin with "{quoted(head[:24].decode("latin-1"))}"' if size else "it is empty"
    )
