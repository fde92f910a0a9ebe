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

import pyarrow
import pyarrow.parquet
import ray
from pyarrow.fs import FileSelector, FileType
from ray.data import ActorPoolStrategy, DataContext

from cli.formats import Entry
from cli.listing import SUFFIXES, pictures
from cli.parts import Parts, file_system
from model.bulk import caption_many
from model.captioner import Captioner, resolve_device
from model.errors import CaptionerError

PART = 256  # pictures; what a stop undoes at most, for each model

log = logging.getLogger("captioner.ray")


def names(inputs: list[str]) -> Iterator[str]:
    """Pictures that folders, URLs, lists (``.txt``, a line each) and tables (``.parquet``, ``path``) name.

    :raises CaptionerError: a list, a table or a URL cannot be read
    """
    for name in inputs:
        try:
            if name.endswith(".parquet"):
                files, path = file_system(name)
                table = pyarrow.parquet.read_table(path, columns=["path"], filesystem=files)
                yield from table["path"].to_pylist()
            elif name.endswith(".txt"):
                files, path = file_system(name)
                with files.open_input_stream(path) as file:
                    lines = file.read().decode("utf-8", "surrogateescape").splitlines()
                yield from filter(None, lines)
            elif "://" in name:
                yield from _below(name)
            else:
                yield from map(os.path.abspath, pictures([name]))  # nodes stand elsewhere
        except (OSError, pyarrow.ArrowException) as error:
            raise CaptionerError(f"{name} cannot be read: {error}") from None


def _below(url: str) -> Iterator[str]:
    """Pictures below a URL, or the one that it names, as URLs."""
    files, path = file_system(url)
    if files.get_file_info(path).type != FileType.Directory:
        yield url
        return
    base, _, query = url.partition("?")
    beginning = base.removesuffix("/").removesuffix(path.removesuffix("/"))
    for info in files.get_file_info(FileSelector(path, recursive=True)):
        if info.type == FileType.File and os.path.splitext(info.path)[1].lower() in SUFFIXES:
            yield f"{beginning}{info.path}{query and '?' + query}"


class Captioning:
    """A model somewhere in the cluster: paths in, a part file and two counts out."""

    def __init__(self, checkpoint: str, beam: int, output: str, parquet: bool) -> None:
        self._beam = beam
        self._captioner = Captioner.load(Path(checkpoint), resolve_device("auto"), "auto")
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
    inputs: list[str], output: str, parquet: bool, checkpoint: Path, beam: int
) -> tuple[int, int]:
    """Caption all that ``inputs`` name and ``output`` has no caption of → counts of captioned and failed.

    Runs on the cluster of ``RAY_ADDRESS``, or on one of this machine. With GPUs there is a model on each,
    else one on each node.

    :raises CaptionerError: see :func:`names`, :class:`cli.parts.Parts`
    """
    done = Parts(output, parquet).captioned()
    todo = (name for name in names(inputs) if name not in done)
    lists = [pyarrow.table({"path": part}) for part in _lists(todo)]
    if not lists:
        return 0, 0
    ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
    DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    processors = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    whole_nodes = [count for count in processors if count]
    models = gpus or len(whole_nodes)
    output = output if "://" in output else os.path.abspath(output)
    counts = ray.data.from_arrow(lists).map_batches(
        Captioning,
        batch_size=None,  # a list as it is
        fn_constructor_args=(str(checkpoint.resolve()), beam, output, parquet),
        compute=ActorPoolStrategy(min_size=1, max_size=min(models, len(lists))),
        num_cpus=1 if gpus else min(whole_nodes),
        num_gpus=1 if gpus else 0,
    )
    captioned = failed = 0
    try:
        for count in counts.iter_rows():
            captioned += count["captioned"]
            failed += count["failed"]
    finally:
        ray.shutdown()
    return captioned, failed


def _lists(paths: Iterator[str]) -> Iterator[list[bytes]]:
    while part := [os.fsencode(path) for path in islice(paths, PART)]:
        yield part
