"""The network as OpenVINO graphs: PyTorch's values on a CPU in half of its time and less.

Tracing takes seconds, so the graphs are kept in the user's cache folder, by all that they depend on. Without
a folder that can be written they are made anew at every start.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.config import WEIGHTS, Config, Precision
from model.decoding import Decoded, greedy
from model.network import CaptionNetwork, Seen, State

# Importing OpenVINO reports that to its makers over the internet, from a forked process that may hang;
# it does without where this package is not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

_GRAPHS = ("early", "late", "start", "first", "step", "greedy")
_LAYOUT = 4  # of the graphs; another whenever what one of them takes or gives changes
_HINTS: dict[Precision, dict[str, str]] = {
    "float32": {},
    "mixed": {"early": "bf16"},
    "bfloat16": {"early": "bf16", "late": "bf16"},
}

log = logging.getLogger("captioner.openvino")


class OpenVinoNetwork:
    """A :class:`model.network.CaptionNetwork` for inference, as graphs. Lives on one thread.

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
        requests = [_compile(graphs[name], _HINTS[precision].get(name, "f32")) for name in _names(config)]
        self._early, self._late, self._start, self._first, self._step, *greedy = requests
        self._greedy = greedy[0] if greedy else None
        self._limits = config.decoding

    def encode(self, pixels: Tensor) -> Seen:
        """uint8 pixels [B, S, S, 3] → what the decoder knows of the pictures."""
        self._early.infer([pixels.numpy()], share_inputs=True)
        self._late.set_input_tensor(self._early.get_output_tensor())
        embedding, *regions = _tensors(self._late.infer())
        return Seen(embedding, regions[0] if regions else None)

    def start(self, seen: Seen) -> State:
        """The decoder's state after it has seen the pictures."""
        h, c = _run(self._start, seen.embedding)
        return State(h, c, seen.regions)

    def first(self, state: State) -> Tensor:
        """Logits [B, vocabulary_size] of what the picture alone brings forth, before any word."""
        (logits,) = _run(self._first, state.h, *_regions(state))
        return logits

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further: tokens int64 [B] → logits [B, vocabulary_size] and the next state."""
        logits, h, c = _run(self._step, tokens, state.h, state.c, *_regions(state))
        return logits, State(h, c, state.regions)

    def greedy(self, seen: Seen) -> Decoded:
        """What :func:`model.decoding.greedy` gives; where there is a graph of it, in one run."""
        if self._greedy is None:
            return greedy(self, seen, self._limits)
        state = self.start(seen)
        tokens, log_probs = _run(self._greedy, state.h, state.c, *_regions(state))  # [B, t] each
        return Decoded(tokens[:, None], log_probs[:, None])


def _regions(state: State) -> list[Tensor]:
    return [] if state.regions is None else [state.regions]


def _run(request: Any, *inputs: Tensor) -> list[Tensor]:
    return _tensors(request.infer([tensor.contiguous().numpy() for tensor in inputs], share_inputs=True))


def _tensors(outputs: Any) -> list[Tensor]:
    # Results are copied: the next step would be written over the state that it reads.
    return [torch.from_numpy(np.asarray(output)) for output in outputs.values()]


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
    made_of = f"{config.identity} {_LAYOUT} {openvino.__version__} {torch.__version__}".encode()
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
