from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training import raw_sets
from tests.training.web import Web, serving
from training import download
from training.errors import TrainingError
from training.progress import no_meter

CONTENT = random.Random(0).randbytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()

pytestmark = pytest.mark.usefixtures("pauses")


@pytest.fixture
def web() -> Iterator[Web]:
    with serving({"big.zip": CONTENT}) as web:
        yield web


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "source" / "big.zip"


def get(web: Web, target: Path, size: int = len(CONTENT), md5: str = MD5) -> list[str]:
    lines: list[str] = []
    download.download(f"{web.url}/big.zip", target, size, md5, lines.append, no_meter)
    return lines


def test_a_whole_file(web: Web, target: Path) -> None:
    assert get(web, target) == []
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["big.zip"]
    get(web, target)
    assert len(web.requests) == 1, "what is here is not asked for again"


def test_a_cut_connection_is_gone_on_with(web: Web, target: Path, pauses: list[float]) -> None:
    web.cut_after = [100_000, 50_000]
    lines = get(web, target)
    assert target.read_bytes() == CONTENT
    assert web.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert len(lines) == 2
    assert pauses == [1, 1], "there were new bytes each time"


def test_a_killed_run_is_gone_on_with(web: Web, target: Path) -> None:
    web.cut_after = [100_000] + [0] * 20
    with pytest.raises(TrainingError, match="run this again to go on where it stopped"):
        get(web, target)
    assert not target.exists()
    web.cut_after.clear()
    web.requests.clear()
    get(web, target)
    assert target.read_bytes() == CONTENT
    assert web.ranges == ["bytes=100000-"]


def test_a_file_that_changed_is_begun_anew(web: Web, target: Path) -> None:
    other = CONTENT[::-1]
    web.files["big.zip"], web.validators = other, {"ETag": '"other"'}
    web.cut_after = [100_000] + [0] * 20
    with pytest.raises(TrainingError):
        get(web, target)
    web.files["big.zip"], web.validators, web.cut_after = CONTENT, {"ETag": '"one"'}, []
    get(web, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("validators", "sent"),
    [
        ({"ETag": '"one"', "Last-Modified": "Tue, 10 Jul 2018 00:00:00 GMT"}, '"one"'),
        (
            {"ETag": 'W/"weak"', "Last-Modified": "Tue, 10 Jul 2018 00:00:00 GMT"},
            "Tue, 10 Jul 2018 00:00:00 GMT",
        ),
        ({"ETag": 'W/"weak"'}, None),
        ({}, None),
    ],
)
def test_how_the_file_is_recognised(
    validators: dict[str, str], sent: str | None, web: Web, target: Path
) -> None:
    """Without a strong validator nothing tells whether the rest is the same file's: all is sent anew."""
    web.validators = validators
    web.cut_after = [100_000]
    get(web, target)
    assert target.read_bytes() == CONTENT
    assert web.requests[1]["If-Range"] == sent
    assert (web.ranges[1] is None) == (sent is None)


def test_a_beginning_longer_than_the_file(web: Web, target: Path) -> None:
    raw_sets.put(target.with_name(".big.zip.partial"), bytes(400_000))
    raw_sets.put(target.with_name(".big.zip.validator"), '"one"')
    get(web, target)
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges(web: Web, target: Path) -> None:
    web.knows_ranges = False
    web.cut_after = [100_000, 200_000]
    get(web, target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_sends_the_wrong_range(web: Web, target: Path) -> None:
    web.shift = 10
    web.cut_after = [100_000]
    lines = get(web, target)
    assert target.read_bytes() == CONTENT
    assert "another part than was asked for" in lines[1]
    assert web.ranges == [None, "bytes=100000-", None]


def test_a_server_that_never_gets_further(web: Web, target: Path, pauses: list[float]) -> None:
    web.knows_ranges = False
    web.cut_after = [1000] * 100
    with pytest.raises(TrainingError, match=r"connection ended|peer closed"):
        get(web, target)
    assert pauses == [1, 2, 4, 8]


def test_a_busy_server(web: Web, target: Path, pauses: list[float]) -> None:
    web.statuses = [503, 429]
    lines = get(web, target)
    assert target.read_bytes() == CONTENT
    assert "the server answers 503; trying again in 1 s" in lines[0]
    assert pauses == [1, 2]


def test_a_missing_file_is_not_asked_for_twice(web: Web, target: Path) -> None:
    web.files.clear()
    with pytest.raises(TrainingError, match="the server answers 404"):
        get(web, target)
    assert len(web.requests) == 1


def test_another_file_of_the_same_size_is_deleted(web: Web, target: Path) -> None:
    web.files["big.zip"] = b"?" + CONTENT[1:]
    with pytest.raises(TrainingError, match=f"is not the published file: MD5 .*, not {MD5}"):
        get(web, target)
    assert list(target.parent.iterdir()) == []


def test_another_size_is_seen_before_anything_is_downloaded(web: Web, target: Path) -> None:
    with pytest.raises(TrainingError, match="has 300000 bytes, the published file 300001"):
        get(web, target, size=300_001)
    assert list(target.parent.iterdir()) == []


def test_no_internet(target: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(
        TrainingError, match=r"^127\.0\.0\.1 cannot be reached, is there internet\?"
    ) as caught:
        download.download(f"http://127.0.0.1:{port}/big.zip", target, 1, "", lambda line: None, no_meter)
    assert f"bring http://127.0.0.1:{port}/big.zip to {target} yourself" in str(caught.value)
    assert pauses == [1, 2, 4, 8]


def test_a_file_brought_by_hand(web: Web, target: Path) -> None:
    raw_sets.put(target, CONTENT)
    get(web, target)
    raw_sets.put(target, b"cut off")
    with pytest.raises(TrainingError, match="is not the published file"):
        get(web, target)
    assert web.requests == []


@pytest.mark.parametrize("url", ["images.example", "ftp://images.example/x", "http://[::"])
def test_an_address_that_is_none(url: str, target: Path) -> None:
    with pytest.raises(TrainingError, match="is not the address of a file on a web server"):
        download.download(url, target, 1, "", lambda line: None, no_meter)


def test_no_room(web: Web, target: Path) -> None:
    with pytest.raises(TrainingError, match=r"GB free and 1000000000\.0 GB are needed"):
        get(web, target, size=10**18)
    assert web.requests == []
