"""The network as OpenVINO graphs: PyTorch's values on a CPU in half of its time and less.

Tracing takes seconds, so the graphs are kept in the user's cache folder, by all that they depend on. Without
a folder that can be written they are made anew at every start. Once they are there, nothing needs PyTorch but
networks that predict ``<start>``.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from model.config import WEIGHTS, Config, Precision
from model.vocabulary import END_ID, PAD_ID, START_ID
from model.words import Pixels, Rows, by_beam_width

if TYPE_CHECKING:
    from model.network import CaptionNetwork

# Importing OpenVINO reports that to its makers over the internet, from a forked process that may hang;
# it does without where this package is not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

_GRAPHS = ("early", "late", "start", "greedy", "beam")
_GRAPHS_OF_STEPS = ("early", "late", "start", "first", "step")  # where <start> is predicted
_LAYOUT = 9  # of the graphs; another whenever what one of them takes or gives changes
_HINTS: dict[Precision, dict[str, str]] = {
    "float32": {},
    "mixed": {"early": "bf16"},
    "bfloat16": {"early": "bf16", "late": "bf16"},
}

log = logging.getLogger("captioner.openvino")


Values = list[NDArray[Any]]


class OpenVinoNetwork:
    """A :class:`model.captioner.Network`: PyTorch's one as graphs. Lives on one thread.

    The precision is that of the encoder, where the time goes; the decoder stays in float32. ``mixed`` is
    bfloat16 in the first four fifths of the encoder's work, where rounding costs the captions least.
    ``int8`` has 8-bit integers in the convolutions of its first three quarters, and in the rest bfloat16
    where the CPU computes in it. ``auto`` is ``mixed`` on such a CPU, else ``float32``.
    """

    overlaps = False
    batch_size = 16

    def __init__(
        self, config: Config, network: Callable[[], CaptionNetwork], precision: Precision = "auto"
    ) -> None:
        """
        :param network: builds the network, in eval mode on the CPU; called only if there are no graphs yet
        :raises CheckpointError: ``int8`` is wanted of a checkpoint without activation ranges
        """
        has_bfloat16 = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._graphs = _graphs(config, network)
        self._requests: dict[str, Any] = {}
        if precision == "auto":
            precision = "mixed" if has_bfloat16 else "float32"
        if precision == "int8":
            from model.openvino_int8 import to_int8

            to_int8(self._graphs["early"], config.activation_ranges)
            precision = "bfloat16" if has_bfloat16 else "float32"
        self._hints = _HINTS[precision]
        self.limits = config.decoding
        self._vocabulary_size = config.vocabulary_size

    def record(self, batch: int) -> None:
        """See :class:`model.captioner.Network`: the graphs take any size."""

    def encode(self, pixels: Pixels) -> Values:
        """What the decoder knows of the pictures: the embedding and, where there are any, the regions."""
        stacked = pixels if isinstance(pixels, np.ndarray) else np.stack(pixels)
        early, late = self._request("early"), self._request("late")
        early.infer([stacked], share_inputs=True)
        late.set_input_tensor(early.get_output_tensor())
        return _values(late.infer())

    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Rows]]:
        """See :class:`model.captioner.Network`."""
        seen = self.encode(pixels)
        if self.limits.predicts_start:
            from model.openvino_search import search_by_steps

            rows = search_by_steps(self, seen, beams)
        else:
            rows = by_beam_width(beams, lambda beam, pictures: self._search(seen, beam, pictures))
        return lambda: rows

    def _search(self, seen: Values, beam: int, pictures: list[int]) -> list[Rows]:
        chosen = seen if len(pictures) == len(seen[0]) else [part[pictures] for part in seen]
        return self.greedy(chosen) if beam == 1 else self.beam(chosen, beam)

    def greedy(self, seen: Values) -> list[Rows]:
        """What :func:`model.decoding.greedy` gives, in one run."""
        tokens, log_probs = self.run("greedy", *seen)  # [B, t] each
        return _rows(tokens[:, None], log_probs[:, None])

    def beam(self, seen: Values, width: int) -> list[Rows]:
        """What :func:`model.decoding.beam_search` gives, in a run for each word."""
        embedding, *regions = seen
        batch = len(embedding)
        h, c = (np.repeat(part, width, axis=1) for part in self.run("start", embedding))  # [L, B · K, hidden]
        regions = [np.repeat(part, width, axis=0) for part in regions]
        word = np.full(batch * width, START_ID)  # [B · K]
        said = np.full((batch * width, self.limits.max_length + 1), PAD_ID)  # [B · K, T]
        ended = np.zeros(batch * width, dtype=np.bool_)  # [B · K]
        total = np.full((batch, width), -np.inf, dtype=np.float32)
        total[:, 0] = 0.0  # all beams begin alike: only the first may branch
        first_row = width * np.arange(batch)[:, None]  # [B, 1]
        tokens, log_probs = np.empty((batch * width, 0), dtype=np.int64), np.empty((batch * width, 0))
        for position in range(said.shape[1]):
            state = (word, h, c, said, ended, total)
            h, c, best_total, best = self.run("beam", np.array(position), *state, *regions)
            of_beam, word = np.divmod(best[:, :width], self._vocabulary_size)  # [B, K]
            word = word.reshape(-1)  # [B · K]
            rows = (first_row + of_beam).reshape(-1)  # [B · K]: the beam that each continues
            with np.errstate(invalid="ignore"):  # captions that do not exist: minus infinity from itself
                gained = best_total[:, :width].reshape(-1) - total.reshape(-1)[rows]
            tokens = np.concatenate([tokens[rows], word[:, None]], axis=1)
            log_probs = np.concatenate([log_probs[rows], gained[:, None]], axis=1)
            h, c, total = h[:, rows], c[:, rows], np.ascontiguousarray(best_total[:, :width])
            said = np.concatenate([said[rows, 1:], word[:, None]], axis=1)
            ended = ended[rows] | (word == END_ID)
            if ended.all():
                break
        return _rows(tokens.reshape(batch, width, -1), log_probs.reshape(batch, width, -1))

    def run(self, graph: str, *inputs: NDArray[Any]) -> Values:
        """One of the graphs of :func:`model.openvino_trace.trace`."""
        return _values(self._request(graph).infer(list(inputs), share_inputs=True))

    def _request(self, graph: str) -> Any:
        # Compiled when first wanted: most never ask for beams, and theirs take 60 MB and a tenth of a second.
        if graph not in self._requests:
            self._requests[graph] = _compile(self._graphs[graph], self._hints.get(graph, "f32"))
            del self._graphs[graph]
        return self._requests[graph]


def _rows(tokens: NDArray[Any], log_probs: NDArray[Any]) -> list[Rows]:
    """Of tokens and log-probabilities [B, K, t]."""
    pairs = zip(tokens.tolist(), log_probs.tolist(), strict=True)
    return [Rows(ids, scores) for ids, scores in pairs]


def _values(outputs: Any) -> Values:
    # Results are copied: the next step would be written over the state that it reads.
    return [np.asarray(output) for output in outputs.values()]


@functools.cache
def _core() -> openvino.Core:
    """One for as long as the process lives.

    OpenVINO gives the thread that makes the first one another alternate signal stack, and with the last one
    unmaps it, whichever thread that happens on: the first thread's next signal would end the process.
    """
    return openvino.Core()


def _compile(graph: openvino.Model, precision: str) -> Any:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        # Pinned, two processes on one machine would choose the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return _core().compile_model(graph, "CPU", options).create_infer_request()


def _names(config: Config) -> tuple[str, ...]:
    return _GRAPHS_OF_STEPS if config.decoding.predicts_start else _GRAPHS


def _graphs(config: Config, network: Callable[[], CaptionNetwork]) -> dict[str, openvino.Model]:
    if WEIGHTS not in config.files:  # of no checkpoint: nothing tells these weights from others
        return _trace(network, config)
    for folder in (_cache_folder, _installed_folder):
        try:
            kept = folder() / _key(config)
            return {name: _core().read_model(kept / f"{name}.xml") for name in _names(config)}
        except Exception as error:  # absent, cut off, of another make; RuntimeError: this user has no home
            log.debug("no graphs kept: %s", error)
    graphs = _trace(network, config)
    try:
        _keep(graphs, _cache_folder() / _key(config))
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        log.debug("graphs are not kept for the next start: %s", error)
    return graphs


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
