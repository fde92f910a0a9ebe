"""Captions for millions of pictures: ``captioner caption --engine ray``, on Ray Data.

Each model of the cluster takes lists of paths, reads, decodes and captions what they name, and writes one
part file a list. Nothing but paths and counts passes through Ray.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow
import pyarrow.parquet
import ray
import torch
from pyarrow.fs import FileSelector, FileType
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError

from cli.formats import Entry
from cli.listing import SUFFIXES, pictures
from cli.parts import Parts, file_system
from model.bulk import caption_many
from model.captioner import Captioner, resolve_device
from model.config import BUNDLED, Precision
from model.errors import CaptionerError

PART = 256  # pictures; what a stop undoes at most, for each model

log = logging.getLogger("captioner.ray")


def names(inputs: list[str]) -> Iterator[str]:
    """Pictures that folders, URLs, lists (``.txt``, a line each) and tables (``.parquet``, ``path``) name.

    :returns: URLs and absolute paths: nodes stand elsewhere
    :raises CaptionerError: a list, a table or a URL cannot be read
    """
    for name in inputs:
        try:
            for found in _named_by(name):
                yield found if "://" in found else os.path.abspath(found)
        except (OSError, pyarrow.ArrowException) as error:
            raise CaptionerError(f"{name} cannot be read: {error}") from None


def _named_by(name: str) -> Iterator[str]:
    is_url = "://" in name
    suffix = os.path.splitext(urlsplit(name).path if is_url else name)[1].lower()
    if suffix == ".parquet":
        files, path = file_system(name)
        table = pyarrow.parquet.read_table(path, columns=["path"], filesystem=files)
        yield from table["path"].cast(pyarrow.string()).drop_null().to_pylist()
    elif suffix == ".txt":
        files, path = file_system(name)
        with files.open_input_stream(path) as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\n")
        yield from filter(None, (line.removesuffix("\r") for line in lines))
    elif is_url:
        yield from _below(name)
    else:
        yield from pictures([name])


def _below(url: str) -> Iterator[str]:
    """Pictures below a URL, or the one that it names, as URLs."""
    files, path = file_system(url)
    if files.get_file_info(path).type != FileType.Directory:
        yield url
        return
    parts = urlsplit(url, allow_fragments=False)
    bucket = parts.netloc.rpartition("@")[2]
    for info in files.get_file_info(FileSelector(path, recursive=True)):
        if info.type == FileType.File and os.path.splitext(info.path)[1].lower() in SUFFIXES:
            yield parts._replace(path=quote(info.path.removeprefix(bucket))).geturl()


class Captioning:
    """A model somewhere in the cluster: paths in, a part file and two counts out."""

    def __init__(self, checkpoint: str, beam: int, output: str, parquet: bool, precision: Precision) -> None:
        self._beam = beam
        self._captioner = Captioner.load(
            Path(checkpoint) if checkpoint else BUNDLED, resolve_device("auto", precision), "auto", precision
        )
        self._parts = Parts(output, parquet)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        paths = [os.fsdecode(path) for path in batch["path"]]
        entries = self._entries(paths)
        self._parts.write(entries)
        failed = sum(bool(entry.error) for entry in entries)
        return {"captioned": [len(entries) - failed], "failed": [failed]}

    def _entries(self, paths: list[str]) -> list[Entry]:
        try:
            results = list(caption_many(self._captioner, map(_source, paths), self._beam))
        except torch.AcceleratorError:
            log.exception("the device cannot go on")
            os._exit(1)  # Ray starts another and gives it the list
        except Exception:  # out of memory, for one
            log.exception("a list of %d pictures failed", len(paths))
            return [Entry(path, error="the model failed on these pictures") for path in paths]
        return [
            Entry(path, error=str(result))
            if isinstance(result, CaptionerError)
            else Entry(path, result.text, round(result.log_probability, 4))
            for path, result in zip(paths, results, strict=True)
        ]


def _source(name: str) -> Path | Callable[[], bytes]:
    return partial(_fetch, name) if "://" in name else Path(name)


def _fetch(url: str) -> bytes:
    try:
        files, path = file_system(url)
        with files.open_input_stream(path) as file:
            data: bytes = file.read()
            return data
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from None


def caption_on_ray(
    inputs: list[str],
    output: str,
    parquet: bool,
    checkpoint: Path | None,
    beam: int,
    precision: Precision,
) -> tuple[int, int]:
    """Caption all that ``inputs`` name and ``output`` has no caption of → counts of captioned and failed.

    Runs on the cluster of ``RAY_ADDRESS``, or on one of this machine. With GPUs there are as many models as
    those, else as many as nodes.

    :param checkpoint: None is the bundled one, each node's own
    :raises CaptionerError: see :func:`names` and :class:`cli.parts.Parts`; or there is no such cluster
    """
    output = output if "://" in output else os.path.abspath(output)
    parts = Parts(output, parquet)
    known = set(parts.captioned())
    lists = [pyarrow.table({"path": part}) for part in _lists(names(inputs), known, parts.key)]
    if not lists:
        return 0, 0
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        ray.init(
            None if "RAY_ADDRESS" in os.environ else "local",
            log_to_driver=False,
            logging_level=logging.WARNING,
            include_dashboard=False,
        )
        folder = str(checkpoint.resolve()) if checkpoint else ""
        return _run(lists, (folder, beam, output, parquet, precision))
    except (RayError, ConnectionError) as error:
        raise CaptionerError(f"Ray gave up, what is captioned is kept: {error}") from None
    finally:
        ray.shutdown()


def _run(lists: list[pyarrow.Table], arguments: tuple[str, int, str, bool, Precision]) -> tuple[int, int]:
    DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    gpus = int(ray.cluster_resources().get("GPU", 0))
    models = gpus or sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())
    if not models:
        raise CaptionerError("no node of the cluster has a processor for us")
    counts = ray.data.from_arrow(lists).map_batches(
        Captioning,
        batch_size=None,  # a list as it is
        fn_constructor_args=arguments,
        compute=ActorPoolStrategy(min_size=1, max_size=min(models, len(lists))),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    captioned = failed = 0
    for count in counts.iter_rows():
        captioned += count["captioned"]
        failed += count["failed"]
    return captioned, failed


def _lists(paths: Iterator[str], known: set[str], key: Callable[[str], str]) -> Iterator[list[bytes]]:
    """Those that are not known, each once."""

    def fresh() -> Iterator[bytes]:
        for path in paths:
            if key(path) not in known:
                known.add(key(path))
                yield os.fsencode(path)

    todo = fresh()
    while part := list(islice(todo, PART)):
        yield part
