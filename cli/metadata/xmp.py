"""dc:description in an XMP packet.

Ours is an rdf:Description element of its own, put before the packet's end and known again by its exact text,
so that a later caption can take the place of an earlier one. A description that says nothing, as cameras
write them, makes room for it: XMP has one at most. The rest of the packet stays byte for byte.
"""

from __future__ import annotations

import re
from xml.parsers import expat
from xml.sax.saxutils import escape, unescape

from cli.metadata.parts import NotWritten

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
_OPENING = (
    f'<rdf:Description xmlns:rdf="{RDF}" xmlns:dc="{DC}" rdf:about="%s"'
    ' xmlns:captioner="urn:captioner:xmp" captioner:generated="True">'
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">'
)
_CLOSING = "</rdf:li></rdf:Alt></dc:description></rdf:Description>"
_OWN = re.compile((re.escape(_OPENING).replace("%s", '[^"]*') + "([^<]*)" + re.escape(_CLOSING)).encode())
_CLOSING_TAG = re.compile(rb"</([^<>]*:)?description\s*>")
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="w"?>'
).encode()


def own_description(packet: bytes) -> str:
    """The description that this program wrote; "" where there is none."""
    found = _OWN.search(packet)
    return unescape(found[1].decode("utf-8", "replace")) if found else ""


def foreign_description(packet: bytes) -> str:
    """The description that another program or a person wrote; "" where there is none.

    :raises NotWritten: the packet is damaged
    """
    return _Reader(_OWN.sub(b"", packet)).description if packet else ""


def with_description(packet: bytes, text: str) -> bytes:
    """The packet with ``text`` as its description in the default language and no other.

    :raises NotWritten: the packet is damaged
    """
    rest = _without_description(_OWN.sub(b"", packet) or _EMPTY)
    reader = _Reader(rest)
    own = _OPENING % escape(reader.about, {'"': "&quot;"}) + escape(text) + _CLOSING
    return rest[: reader.end] + own.encode() + rest[reader.end :]


def _without_description(packet: bytes) -> bytes:
    for start, end in reversed(_Reader(packet).elements):
        packet = packet[:start] + packet[end:]
    if _Reader(packet).description.strip():
        raise NotWritten("its XMP data has a description that is no element")
    return packet


class _Reader:
    """What a packet says: its description and where its elements are, whom it is about, and where its rdf:RDF
    element ends."""

    def __init__(self, packet: bytes) -> None:
        self.description = ""
        self.elements: list[tuple[int, int]] = []
        self.about = ""
        self.end = -1
        self._packet = packet
        self._start_of_element = 0
        self._within: list[str] = []
        self._parser = parser = expat.ParserCreate("utf-8", " ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._finish
        parser.CharacterDataHandler = self._add
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            parser.Parse(packet.rstrip(b"\0"), True)
        except (expat.ExpatError, UnicodeError):
            raise NotWritten("its XMP data is damaged") from None
        if packet[self.end : self.end + 2] != b"</":
            raise NotWritten("its XMP data is not as XMP should be")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._within.append(name)
        if name == f"{RDF} Description":
            self.about = attributes.get(f"{RDF} about") or self.about
            self.description += attributes.get(f"{DC} description", "")
        elif name == f"{DC} description":
            self._start_of_element = self._parser.CurrentByteIndex

    def _finish(self, name: str) -> None:
        self._within.pop()
        if name == f"{RDF} RDF":
            self.end = self._parser.CurrentByteIndex
        elif name == f"{DC} description":
            at = self._parser.CurrentByteIndex  # of its closing tag; without one, behind it
            closing = _CLOSING_TAG.match(self._packet, at)
            self.elements.append((self._start_of_element, closing.end() if closing else at))

    def _add(self, text: str) -> None:
        if f"{DC} description" in self._within:
            self.description += text

    def _refuse(self, *_: object) -> None:
        raise NotWritten("its XMP data is not as XMP should be")
