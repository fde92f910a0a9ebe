"""What the three file formats have in common: a file is a row of parts, and two kinds of them matter here."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from model.errors import CaptionerError

EXIF = "exif"  # its payload is a TIFF structure
XMP = "xmp"  # its payload is an XML packet
OTHER = ""


class NotWritten(CaptionerError):
    """The description was not put into the file, which is as it was."""

    code = "description-not-written"


class Part(NamedTuple):
    """A stretch of a file as it stands there, and what it holds where it is EXIF or XMP."""

    kind: str
    raw: bytes
    payload: bytes = b""


class Container(Protocol):
    """A file format."""

    def recognises(self, data: bytes) -> bool: ...

    def split(self, data: bytes) -> list[Part]:
        """Parts whose ``raw`` joined are ``data``.

        :raises NotWritten: the structure is damaged
        """

    def make(self, kind: str, payload: bytes) -> Part:
        """:raises NotWritten: it is too large for the format"""

    def place(self, parts: list[Part], kind: str) -> int:
        """Where a new part of that kind goes."""

    def join(self, parts: list[Part]) -> bytes: ...
