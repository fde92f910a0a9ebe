"""Pictures that have more bytes than a service takes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from captioner_client import Captioner
from captioner_client.pictures import to_bytes
from cli.captioners import MAX_BYTES, within_limit
from service.app import create_app
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port

MORE = bytes(MAX_BYTES)  # behind the picture, where cameras put films; it makes the file too large


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn to the right
    return picture(size=(1600, 800), exif=exif)


def test_a_large_picture_is_sent_smaller_and_upright(tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(turned() + MORE)
    for large in (file, file.read_bytes()):
        sent = to_bytes(within_limit(large))
        assert len(sent) < MAX_BYTES
        image = Image.open(io.BytesIO(sent))
        assert image.size == (640, 1280)
        assert image.getexif().get(0x0112, 1) == 1


def test_others_are_sent_as_they_are(tmp_path: Path) -> None:
    """Also those that cannot be read: the client or the service says why."""
    for data in (picture(), b"no picture" + MORE, picture()[:300] + MORE):
        assert within_limit(data) is data
    assert within_limit(tmp_path / "missing.jpg") == tmp_path / "missing.jpg"


def test_the_limit_is_that_of_a_service() -> None:
    assert Settings.model_fields["max_upload_bytes"].default == MAX_BYTES


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_service_takes_it(kind: str) -> None:
    with on_a_port(create_app(Settings(), FakeRunner())) as url, Captioner(url) as captioner:
        assert captioner.caption(within_limit(picture(kind=kind) + MORE)).text == "a red ball"
