"""The network as OpenVINO graphs: PyTorch's values on a CPU in half of its time and less.

Tracing takes seconds, so the graphs are kept in the user's cache folder, by all that they depend on. Without
a folder that can be written they are made anew at every start. Once they are there, only beam search needs
PyTorch.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.config import WEIGHTS, Config, Precision
from model.words import Pixels, Rows

if TYPE_CHECKING:
    from model.network import CaptionNetwork

# Importing OpenVINO reports that to its makers over the internet, from a forked process that may hang;
# it does without where this package is not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

_GRAPHS = ("early", "late", "start", "first", "step", "greedy")
_LAYOUT = 5  # of the graphs; another whenever what one of them takes or gives changes
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
    bfloat16 in the first three quarters of the encoder's work, where rounding costs the captions least.
    ``auto`` is ``mixed`` where the CPU computes in bfloat16, else ``float32``.
    """

    def __init__(
        self, config: Config, network: Callable[[], CaptionNetwork], precision: Precision = "auto"
    ) -> None:
        """
        :param network: builds the network, in eval mode on the CPU; called only if there are no graphs yet
        """
        if precision == "auto":
            has_bfloat16 = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            precision = "mixed" if has_bfloat16 else "float32"
        graphs = _graphs(config, network)
        # Beam search alone needs these two, and may come later.
        self._left = {name: graphs.pop(name) for name in ("first", "step") if "greedy" in graphs}
        self._requests = {
            name: _compile(graph, _HINTS[precision].get(name, "f32")) for name, graph in graphs.items()
        }
        self._compiling = threading.Lock()
        self.limits = config.decoding

    overlaps = False
    batch_size = 16

    def record(self, batch: int) -> None:
        """See :class:`model.captioner.Network`: the graphs take any size."""

    def load_rest(self) -> None:
        """See :class:`model.captioner.Network`."""
        import model.openvino_search  # noqa: F401

        for name in ("first", "step"):
            self._request(name)

    def encode(self, pixels: Pixels) -> Values:
        """What the decoder knows of the pictures: the embedding and, where there are any, the regions."""
        stacked = pixels if isinstance(pixels, np.ndarray) else np.stack(pixels)
        early, late = self._requests["early"], self._requests["late"]
        early.infer([stacked], share_inputs=True)
        late.set_input_tensor(early.get_output_tensor())
        return _values(late.infer())

    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Rows]]:
        """See :class:`model.captioner.Network`."""
        seen = self.encode(pixels)
        if set(beams) == {1} and "greedy" in self._requests:
            rows = self.greedy(seen)
        else:
            from model.openvino_search import search_by_steps

            rows = search_by_steps(self, seen, beams)
        return lambda: rows

    def greedy(self, seen: Values) -> list[Rows]:
        """What :func:`model.decoding.greedy` gives, in one run; of networks that have a graph of it."""
        embedding, *regions = seen
        tokens, log_probs = self.run("greedy", *self.run("start", embedding), *regions)  # [B, t] each
        pairs = zip(tokens.tolist(), log_probs.tolist(), strict=True)
        return [Rows([ids], [scores]) for ids, scores in pairs]

    def run(self, graph: str, *inputs: NDArray[Any]) -> Values:
        """One of the graphs of :func:`model.openvino_trace.trace`."""
        return _values(self._request(graph).infer(list(inputs), share_inputs=True))

    def _request(self, name: str) -> Any:
        if name not in self._requests:
            with self._compiling:  # the thread that loads the rest may be at it
                if name in self._left:
                    self._requests[name] = _compile(self._left.pop(name), "f32")
        return self._requests[name]


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
    return _GRAPHS[:-1] if config.decoding.predicts_start else _GRAPHS


def _graphs(config: Config, network: Callable[[], CaptionNetwork]) -> dict[str, openvino.Model]:
    if WEIGHTS not in config.files:  # of no checkpoint: nothing tells these weights from others
        return _trace(network, config)
    try:
        folder = _cache_folder() / _key(config)
        return {name: _core().read_model(folder / f"{name}.xml") for name in _names(config)}
    except Exception as error:  # absent, cut off, of another make
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


def _key(config: Config) -> str:
    """Changes with whatever the graphs depend on: weights, sizes, normalisation, and who made them."""
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
