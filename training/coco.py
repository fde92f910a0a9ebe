"""COCO 2014 and 2017 (Lin et al. 2014) from the web: pictures and caption files, unpacked where
:mod:`training.layouts.coco` finds them."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from training.download import PIECE, download, need_room
from training.errors import TrainingError
from training.progress import Meter, no_meter

HOST = "http://images.cocodataset.org"  # its certificate is for another name, so no https; MD5 is checked


class Archive(NamedTuple):
    """A ZIP file on the server; of its members only those that match are unpacked."""

    path: str
    size: int
    md5: str
    members: str


RELEASES = {
    "coco2014": (
        Archive(
            "annotations/annotations_trainval2014.zip",
            252_872_794,
            "0a379cfc70b0e71301e0f377548639bd",
            "annotations/captions_*.json",
        ),
        Archive("zips/val2014.zip", 6_645_013_297, "a3d79f5ed8d289b7a7554ce06a5782b3", "val2014/*.jpg"),
        Archive("zips/train2014.zip", 13_510_573_713, "0da8c0bd3d6becc4dcb32757491aca88", "train2014/*.jpg"),
    ),
    "coco2017": (
        Archive(
            "annotations/annotations_trainval2017.zip",
            252_907_541,
            "f4bbac642086de4f52a3fdda2de5fa2c",
            "annotations/captions_*.json",
        ),
        Archive("zips/val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80", "val2017/*.jpg"),
        Archive("zips/train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2", "train2017/*.jpg"),
    ),
}


def fetch(
    release: str,
    folder: Path,
    base_url: str = HOST,
    report: Callable[[str], None] = lambda line: None,
    meter: Meter = no_meter,
) -> None:
    """Download and unpack a release into ``folder``, as far as that is not done yet.

    Each archive is deleted once it is unpacked; a file ``.NAME.unpacked`` remembers it.

    :param base_url: of COCO's server or a mirror of it
    :raises TrainingError: see :func:`training.download.download`; or an archive is damaged or would write
        outside the folder
    """
    for archive in RELEASES[release]:
        target = folder / PurePosixPath(archive.path).name
        done = target.with_name(f".{target.name}.unpacked")
        try:
            if done.exists():
                target.unlink(missing_ok=True)  # the last run may have ended in between
                continue
            url = f"{base_url.rstrip('/')}/{archive.path}"
            download(url, target, archive.size, archive.md5, report, meter)
            unpack(target, folder, archive.members, meter)
            done.touch()
            target.unlink()
        except OSError as error:
            raise TrainingError(f"{folder} cannot be written: {error.strerror}") from None


def unpack(archive: Path, folder: Path, members: str, meter: Meter = no_meter) -> None:
    """Unpack the members whose names match; those that are here in full already stay.

    :raises TrainingError: the archive is damaged or a name in it leads outside the folder
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise TrainingError(f"{archive} would write outside its folder, to {name}")
            wanted = [info for info in opened.infolist() if fnmatch(info.filename, members)]
            missing = [info for info in wanted if not _is_there(folder / info.filename, info.file_size)]
            need_room(folder, sum(info.file_size for info in missing))
            with meter(f"unpacking {archive.name}", sum(i.file_size for i in missing), "bytes") as done:
                written = 0
                for info in missing:
                    _extract(opened, info, folder / info.filename)
                    written += info.file_size
                    done(written)
    except (zipfile.BadZipFile, EOFError) as error:
        raise TrainingError(f"{archive} is damaged: {error}") from None


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """One member, its CRC checked; under its own name only when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with archive.open(info) as source, partial.open("wb") as file:
        shutil.copyfileobj(source, file, PIECE)
    partial.replace(target)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
