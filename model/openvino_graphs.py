"""A checkpoint's OpenVINO graphs, kept in the user's cache folder by all that they depend on.

Tracing takes seconds. Without a folder that can be written they are made anew at every start.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from model.config import WEIGHTS, Config

if TYPE_CHECKING:
    from model.network import CaptionNetwork

# Importing OpenVINO reports that to its makers over the internet, from a forked process that may hang;
# it does without where this package is not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

_GRAPHS = ("encode", "start", "greedy", "beam")
_GRAPHS_OF_STEPS = ("encode", "start", "first", "step")  # where <start> is predicted
_LAYOUT = 11  # of the graphs; another whenever the same checkpoint gives other graphs
log = logging.getLogger("captioner.openvino")


@functools.cache
def core() -> openvino.Core:
    """One for as long as the process lives.

    OpenVINO gives the thread that makes the first one another alternate signal stack, and with the last one
    unmaps it, whichever thread that happens on: the first thread's next signal would end the process.
    """
    return openvino.Core()


def _names(config: Config) -> tuple[str, ...]:
    return _GRAPHS_OF_STEPS if config.decoding.predicts_start else _GRAPHS


def load_graphs(config: Config, network: Callable[[], CaptionNetwork]) -> dict[str, openvino.Model]:
    """By name, see :func:`model.openvino_trace.trace`.

    :param network: builds the network, in eval mode on the CPU; called only if there are no graphs yet
    """
    if WEIGHTS not in config.files:  # of no checkpoint: nothing tells these weights from others
        return _trace(network, config)
    for folder in (_cache_folder, _installed_folder):
        try:
            return _kept(folder(), config)
        except Exception as error:  # absent, cut off, of another make; RuntimeError: this user has no home
            log.debug("no graphs kept: %s", error)
    graphs = _trace(network, config)
    try:
        _keep(graphs, _cache_folder() / _key(config))
        return _kept(_cache_folder(), config)  # of a file, weights are memory that can be given up
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        log.debug("graphs are not kept for the next start: %s", error)
    return graphs


def _kept(folder: Path, config: Config) -> dict[str, openvino.Model]:
    kept = folder / _key(config)
    return {name: core().read_model(kept / f"{name}.xml") for name in _names(config)}


def _trace(network: Callable[[], CaptionNetwork], config: Config) -> dict[str, openvino.Model]:
    from model.openvino_trace import trace  # what it needs takes a second to import

    return trace(network(), config)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "captioner"


def _installed_folder() -> Path:
    """Where an installation keeps graphs that were made with it (:mod:`model.ahead`)."""
    return Path(sys.prefix) / "share" / "captioner"


def _key(config: Config) -> str:
    """Changes with whatever the graphs depend on: weights, sizes, normalisation, and who made them."""
    config = replace(config, activation_ranges={})  # int8 comes in when they are loaded
    made_of = f"{config.identity} {_LAYOUT} {openvino.__version__} {version('torch')}".encode()
    return hashlib.sha256(made_of).hexdigest()[:24]


def _keep(graphs: dict[str, openvino.Model], folder: Path) -> None:
    """Write them so that nobody ever reads a half of them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name, graph in graphs.items():
            openvino.save_model(graph, unfinished / f"{name}.xml", compress_to_fp16=False)
        shutil.rmtree(folder, ignore_errors=True)  # what could not be read
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
