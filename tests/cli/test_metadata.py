"""Descriptions in files: readable by another program (Pillow), and nothing else changed."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image, PngImagePlugin

from cli.metadata import NotWritten, describe, describe_file
from cli.metadata.xmp import DC, RDF
from tests.pictures import picture

TEXT = 'a dog & a <cat> on a "café" terrace'
CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
KINDS = ("JPEG", "PNG", "WEBP")


def exif_and_xmp(data: bytes) -> tuple[str, str]:
    """Both descriptions, as Pillow and an XML parser read them."""
    image = Image.open(io.BytesIO(data))
    exif = image.getexif()[0x010E]
    packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    tree = ElementTree.fromstring(packet.rstrip(b"\0"))
    (said,) = tree.iter(f"{{{DC}}}description")
    (item,) = said.iter(f"{{{RDF}}}li")
    assert item.get("{http://www.w3.org/XML/1998/namespace}lang") == "x-default"
    # Pillow gives the bytes of ASCII tags as Latin-1 where they are no UTF-8 to it
    return exif.encode("latin-1").decode() if "Ã" in exif else exif, item.text or ""


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGBA").tobytes()


def without(data: bytes, *added: bytes) -> bytes:
    for part in added:
        assert data.count(part) == 1
        data = data.replace(part, b"")
    return data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["a dog", TEXT, "dog"])
def test_another_program_reads_it(kind: str, text: str) -> None:
    before = picture(kind=kind)
    after = describe(before, text)
    assert exif_and_xmp(after) == (text, text)
    assert pixels(after) == pixels(before)
    assert describe(after, text) == after


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_of_every_kind_keeps_size_and_transparency(options: dict, mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (301, 17), (9, 8, 7, 6)[: len(mode)]).save(buffer, "WEBP", **options)
    after = describe(buffer.getvalue(), TEXT)
    image = Image.open(io.BytesIO(after))
    assert (image.size, image.mode) == ((301, 17), mode)
    assert exif_and_xmp(after) == (TEXT, TEXT)
    assert pixels(after) == pixels(buffer.getvalue())


def camera_exif(order: str) -> bytes:
    """EXIF with a maker's note that holds an offset from the start, as cameras write them."""
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    note = b"NOTE" + struct.pack(f"{order}I", 80)
    make = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"ACE\0")
    pointer = struct.pack(f"{order}HHII", 0x8769, 4, 1, 38)
    ifd0 = struct.pack(f"{order}H", 2) + make + pointer + struct.pack(f"{order}I", 0)
    sub = struct.pack(f"{order}HHHII", 1, 0x927C, 7, len(note), 56) + struct.pack(f"{order}I", 0)
    return (header + ifd0 + sub + note).ljust(80, b"\0") + b"MAKER'S OWN"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_exif_stays_where_it_is(kind: str, order: str) -> None:
    exif = camera_exif(order)
    prefix = b"" if kind == "WEBP" else b"Exif\0\0"
    before = picture(kind=kind, exif=prefix + exif)
    after = describe(before, TEXT)
    assert exif_and_xmp(after) == (TEXT, TEXT)
    image = Image.open(io.BytesIO(after))
    assert image.getexif()[0x010F] == "ACE"
    assert image.getexif().get_ifd(0x8769)[0x927C][:4] == b"NOTE"
    # everything from the first directory on is where it was: offsets hold
    assert exif[8:] in after
    assert after[after.index(exif[8:]) - 8 :][:4] == exif[:4]


def test_a_packet_of_another_program_keeps_every_byte() -> None:
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<r:RDF xmlns:r="{RDF}"><r:Description r:about="uuid:1" xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n'
        ' xmp:Rating="5"/></r:RDF ></x:xmpmeta>' + " " * 2000 + '<?xpacket end="w"?>'
    ).encode()
    start, end = packet[: packet.index(b"</r:RDF")], packet[packet.index(b"</r:RDF") :]
    after = describe(picture(xmp=packet), TEXT)
    assert start + b"<rdf:Description" in after
    assert b"</rdf:Description>" + end in after
    assert b'rdf:about="uuid:1"' in after
    assert exif_and_xmp(after) == (TEXT, TEXT)


def test_an_earlier_caption_of_ours_is_replaced_and_leaves_nothing() -> None:
    once, twice = (
        describe(data, "another dog") for data in (picture(), describe(picture(), "a dog on a hill"))
    )
    assert exif_and_xmp(twice) == ("another dog", "another dog")
    assert len(twice) - len(once) < 60  # the old entry's place in EXIF, nothing in XMP
    assert twice.count(b"rdf:li ") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_of_someone_else_stays(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Grandma, 1962"
    by_exif = picture(kind=kind, exif=exif)
    rewritten = describe(picture(kind=kind), "a dog").replace(b"a dog</rdf:li>", b"Rex!!</rdf:li>")
    packet = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=""'
        f' xmlns:dc="{DC}" dc:description="Rex"></rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()
    for data in (by_exif, picture(kind="JPEG", xmp=packet), picture(kind="WEBP", xmp=packet)):
        with pytest.raises(NotWritten, match=r"it has a description already: '(Grandma, 1962|Rex)'"):
            describe(data, "a dog")
    # a checksum guards PNG's text; there the change alone makes the file unusable to others, not to us
    with pytest.raises(NotWritten, match="already"):
        describe(rewritten, "a cat")


@pytest.mark.parametrize("kind", [1, 7, 129], ids=["bytes", "undefined", "utf-8 of EXIF 3"])
def test_a_description_that_is_not_called_ascii_stays_too(kind: int) -> None:
    text = "Großmutter, 1962".encode()
    entry = struct.pack("<HHII", 0x010E, kind, len(text), 26)
    exif = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0) + text
    with pytest.raises(NotWritten, match="Großmutter"):
        describe(picture(exif=b"Exif\0\0" + exif), "a dog")


def test_a_blank_description_is_none() -> None:
    exif = Image.Exif()
    exif[0x010E] = " " * 31  # as some cameras write it
    assert exif_and_xmp(describe(picture(exif=exif), TEXT)) == (TEXT, TEXT)


@pytest.mark.parametrize(
    "text",
    [
        "OLYMPUS DIGITAL CAMERA         ",
        "SAMSUNG",
        "Minolta DSC",
        "SONY DSC",
        "KONICA MINOLTA DIGITAL CAMERA",
        "DCIM\\100MEDIA\\DJI_0001.JPG",
        "DCIM/PANORAMA/0001.jpg",
        "default",
    ],
)
def test_what_a_camera_put_there_by_itself_is_none(text: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = text
    packet = (  # as Lightroom copies it
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="é"'
        f' xmlns:dc="{DC}"><dc:rights/><dc:description>\n<rdf:Alt><rdf:li xml:lang="x-default">{text}'
        "</rdf:li></rdf:Alt>\n</dc:description><dc:format>image/jpeg</dc:format></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()
    after = describe(picture(exif=exif, xmp=packet), TEXT)
    assert exif_and_xmp(after) == (TEXT, TEXT)
    for kept in ('about="é"', "<dc:rights/><dc:format>image/jpeg</dc:format>"):
        assert kept.encode() in after


@pytest.mark.parametrize("text", ["Grandma with her SONY DSC", "a default gateway", "DCIM"])
def test_words_that_only_look_like_a_cameras_stay(text: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = text
    with pytest.raises(NotWritten, match="already"):
        describe(picture(exif=exif), TEXT)


@pytest.mark.parametrize("blank", ["<d:description/>", "<d:description></d:description >"])
def test_an_empty_element_makes_room_for_ours(blank: str) -> None:
    packet = (
        f'<r:RDF xmlns:r="{RDF}" xmlns:d="{DC}"><r:Description>{blank}<d:rights/></r:Description></r:RDF>'
    )
    after = describe(picture(xmp=packet.encode()), TEXT)
    assert exif_and_xmp(after) == (TEXT, TEXT)
    assert b"<r:Description><d:rights/></r:Description>" in after


def test_what_follows_the_picture_stays(tmp_path: Path) -> None:
    film = b"a film that a telephone appended"
    for kind in KINDS:
        before = picture(kind=kind) + film
        after = describe(before, TEXT)
        assert after.endswith(film)
        assert pixels(after) == pixels(before)


def test_jpeg_and_png_grow_by_the_new_parts_alone() -> None:
    before = picture()
    after = describe(before, TEXT)
    assert (after[:2], after[2:4]) == (b"\xff\xd8", b"\xff\xe0")  # JFIF's own segment stays the first
    added = len(after) - len(before)
    at = 4 + int.from_bytes(after[4:6], "big")
    assert after[:at] + after[at + added :] == before
    before = picture(kind="PNG")
    after = describe(before, TEXT)
    at = before.index(b"IDAT") - 4
    assert after[:at] == before[:at]
    assert after.endswith(before[at:])


def test_compressed_xmp_of_png_is_understood() -> None:
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta>'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet, zip=True)
    assert exif_and_xmp(describe(picture(kind="PNG", pnginfo=info), TEXT)) == (TEXT, TEXT)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_a_format_without_a_place_for_it_is_refused(kind: str) -> None:
    with pytest.raises(NotWritten, match="only JPEG, PNG and WebP"):
        describe(picture(kind=kind), TEXT)


def test_no_room_left() -> None:
    filler = b'<?xml version="1.0"?><x>' + b" " * 65_400 + f'<r:RDF xmlns:r="{RDF}"></r:RDF></x>'.encode()
    with pytest.raises(NotWritten, match="no room"):
        describe(picture(xmp=filler), TEXT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_and_never_makes_us_stumble(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    whole = describe(picture(kind=kind, size=(16, 16), exif=exif), TEXT)
    # within its picture a JPEG may be cut off: that is not ours to judge
    end = whole.index(b"\xff\xda") if kind == "JPEG" else len(whole)
    for length in range(end):
        with pytest.raises(NotWritten):
            describe(whole[:length], "another caption, longer than the first")
    for position in range(12, len(whole), 3):
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        with contextlib.suppress(NotWritten):
            describe(bytes(broken), TEXT)


def test_a_failed_replacement_leaves_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(picture())

    def fail(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        describe_file(file, TEXT)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == picture()


def test_a_doctype_is_refused() -> None:
    packet = f'<!DOCTYPE x [<!ENTITY a "aa">]><x><r:RDF xmlns:r="{RDF}"></r:RDF></x>'.encode()
    with pytest.raises(NotWritten, match="XMP"):
        describe(picture(xmp=packet), TEXT)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of odd pictures is not here")
@pytest.mark.parametrize("part", ["exif-orientation", "libwebp-test-data", "pngsuite"])
def test_odd_pictures_keep_their_pixels_and_orientation(part: str) -> None:
    written = 0
    files = [f for f in sorted((CORPUS / part).rglob("*")) if f.suffix in (".jpg", ".png", ".webp")]
    for file in files[:: max(1, len(files) // 16)]:
        before = file.read_bytes()
        try:
            old = Image.open(io.BytesIO(before))
            expected = old.tobytes()
        except (OSError, SyntaxError):
            continue
        new = Image.open(io.BytesIO(describe(before, TEXT)))
        assert new.tobytes() == expected, file
        known = {tag: value for tag, value in new.getexif().items() if tag != 0x010E}
        assert known == {tag: value for tag, value in old.getexif().items() if tag != 0x010E}, file
        written += 1
    assert written > 10
