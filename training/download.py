"""One file over HTTP: resumed where an earlier transfer was cut off, and checked before it is believed.

While it is incomplete it is called ``.NAME.partial``; beside it ``.NAME.validator`` keeps the ETag or
Last-Modified of the file on the server. It goes on with ``Range`` and ``If-Range`` (RFC 9110, 13.1.5 and 14):
a server that knows no ranges, or has another file by now, sends the whole, and the transfer begins anew.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from training.errors import TrainingError
from training.progress import Meter

ATTEMPTS = 5  # in a row without a byte more than before
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds; each pause is twice the one before
TIMEOUT = 60.0  # seconds without a byte
PIECE = 1 << 20  # bytes
_MAY_PASS = (408, 429, 500, 502, 503, 504)


class _CutOff(Exception):
    """The transfer ended early, in a way that may pass."""


def download(
    url: str, target: Path, size: int, md5: str, report: Callable[[str], None], meter: Meter
) -> None:
    """Bring a file here, unless it is here already.

    :param size: bytes it must have
    :param md5: of the file, hexadecimal
    :param report: takes a line when an attempt failed and is made again
    :raises TrainingError: it cannot be had, is not the file that was published, or has no room here
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        need_room(target.parent, size - _bytes_here(target))
        with meter(f"downloading {target.name}", size, "bytes") as done:
            _persist(url, target, size, report, done)
        _validator(target).unlink(missing_ok=True)
        _partial(target).replace(target)
    found = _md5(target, meter)
    if (target.stat().st_size, found) != (size, md5):
        target.unlink()
        raise TrainingError(
            f"{url} is not the published file: MD5 {found}, not {md5}; what was downloaded is deleted"
        )


def need_room(folder: Path, size: int) -> None:
    """:raises TrainingError: less than ``size`` bytes are free in the folder"""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise TrainingError(f"{folder} has {free / 1e9:.1f} GB free and {size / 1e9:.1f} GB are needed")


def _persist(
    url: str, target: Path, size: int, report: Callable[[str], None], done: Callable[[int], None]
) -> None:
    """Attempt after attempt until the partial file has all its bytes."""
    failures, furthest = 0, -1
    with httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client:
        while True:
            try:
                return _attempt(client, url, target, size, done)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects):
                raise TrainingError(f"{url} is not the address of a file on a web server") from None
            except (httpx.TransportError, _CutOff) as error:
                here = _bytes_here(target)
                failures = failures + 1 if here <= furthest else 1
                furthest = max(furthest, here)
                if failures == ATTEMPTS:
                    raise TrainingError(_give_up(url, target, error)) from None
                pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
                report(f"{url}: {_reason(error)}; trying again in {pause:.0f} s")
                time.sleep(pause)


def _attempt(client: httpx.Client, url: str, target: Path, size: int, done: Callable[[int], None]) -> None:
    validator = _read_validator(target)
    here = _bytes_here(target) if validator else 0
    if here == size:
        return
    if here > size:  # the beginning of something else
        here = 0
    headers = {"Accept-Encoding": "identity"}
    if here:
        headers |= {"Range": f"bytes={here}-", "If-Range": validator}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code in _MAY_PASS:
            raise _CutOff(f"the server answers {response.status_code}")
        if response.status_code == 206 and here:
            _check_range(response, here, size, target)
        elif response.status_code == 200:
            here = 0
            _begin_anew(target, response, size)
        else:
            raise TrainingError(f"{url}: the server answers {response.status_code}")
        with _partial(target).open("ab") as file:
            for piece in response.iter_raw():  # pieces as they come: larger ones are lost when it is cut off
                here += len(piece)
                if here > size:
                    raise TrainingError(f"{url} has more than the {size:,} bytes of the published file")
                file.write(piece)
                done(here)
    if here < size:
        raise _CutOff(f"the connection ended after {here:,} of {size:,} bytes")


def _begin_anew(target: Path, response: httpx.Response, size: int) -> None:
    length = response.headers.get("Content-Length", str(size))
    if length != str(size):
        raise TrainingError(f"{response.url} has {length} bytes, the published file {size}")
    etag = response.headers.get("ETag", "")
    # A weak ETag does not promise the same bytes, so If-Range may not be asked with it.
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    _validator(target).unlink(missing_ok=True)
    _partial(target).write_bytes(b"")
    if validator.isascii():
        _validator(target).write_text(validator)


def _check_range(response: httpx.Response, here: int, size: int, target: Path) -> None:
    """Bytes of another place or of a file of another size must not be appended."""
    said = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", said)
    if not match or int(match[1]) != here or match[2] not in (str(size), "*"):
        _validator(target).unlink()  # so that the next attempt begins anew
        raise _CutOff(f"the server sends another part than was asked for ({said})")


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _validator(target: Path) -> Path:
    return target.with_name(f".{target.name}.validator")


def _read_validator(target: Path) -> str:
    """What the partial file was called by the server; empty where it cannot be gone on with."""
    return _validator(target).read_text() if _validator(target).is_file() else ""


def _bytes_here(target: Path) -> int:
    return _partial(target).stat().st_size if _partial(target).is_file() else 0


def _md5(path: Path, meter: Meter) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file, meter(f"checking {path.name}", path.stat().st_size, "bytes") as done:
        while piece := file.read(PIECE):
            digest.update(piece)
            done(file.tell())
    return digest.hexdigest()


def _give_up(url: str, target: Path, error: Exception) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return (
            f"{httpx.URL(url).host} cannot be reached, is there internet? ({_reason(error)}) "
            f"Otherwise bring {url} to {target} yourself and run this again"
        )
    return f"{url} cannot be downloaded: {_reason(error)}; run this again to go on where it stopped"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
