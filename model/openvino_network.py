"""The network as OpenVINO graphs: PyTorch's values in about half of its time on a CPU.

Tracing takes seconds, so the graphs are kept in the user's cache folder, by all that they depend on. Without
a folder that can be written they are made anew at every start.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from model.config import WEIGHTS, Config, Precision
from model.network import CaptionNetwork, Seen, State

# Importing OpenVINO reports that to its makers over the internet, from a forked process that may hang;
# it does without where this package is not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_TRACED_BATCH = 2  # any but 1, which traces would take for a constant

log = logging.getLogger("captioner.openvino")


class OpenVinoNetwork:
    """A :class:`model.network.CaptionNetwork` for inference: encoder and decoder step as graphs.

    ``bfloat16`` is for the encoder, where the time goes; the decoder stays in float32. Lives on one thread.
    """

    def __init__(self, network: CaptionNetwork, config: Config, precision: Precision = "float32") -> None:
        self._network = network
        graphs = _graphs(network, config)
        core = openvino.Core()
        self._encode = _compile(core, graphs["encode"], precision)
        self._step = _compile(core, graphs["step"], "float32")

    def encode(self, pixels: Tensor) -> Seen:
        """uint8 pixels [B, S, S, 3] → what the decoder knows of the pictures."""
        embedding, *regions = _run(self._encode, pixels)
        return Seen(embedding, regions[0] if regions else None)

    def start(self, seen: Seen) -> State:
        """The decoder's state after it has seen the pictures."""
        return self._network.start(seen)

    def first(self, state: State) -> Tensor:
        """Logits [B, vocabulary_size] of what the picture alone brings forth, before any word."""
        return self._network.first(state)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further: tokens int64 [B] → logits [B, vocabulary_size] and the next state."""
        inputs = [tokens, state.h, state.c, *([] if state.regions is None else [state.regions])]
        logits, h, c = _run(self._step, *inputs)
        return logits, State(h, c, state.regions)


class _Encode(nn.Module):
    """:meth:`CaptionNetwork.encode` with a plain tuple for its result."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        seen = self.network.encode(pixels)
        return (seen.embedding,) if seen.regions is None else (seen.embedding, seen.regions)


class _Step(nn.Module):
    """:meth:`CaptionNetwork.step` with plain tensors in and out."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, tokens: Tensor, h: Tensor, c: Tensor, regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits, state = self.network.step(tokens, State(h, c, regions))
        return logits, state.h, state.c


def _run(request: Any, *inputs: Tensor) -> list[Tensor]:
    # Results are copied: the next step would be written over the state that it reads.
    outputs = request.infer([tensor.contiguous().numpy() for tensor in inputs], share_inputs=True)
    return [torch.from_numpy(np.asarray(output)) for output in outputs.values()]


def _compile(core: openvino.Core, graph: openvino.Model, precision: Precision) -> Any:
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
    return core.compile_model(graph, "CPU", options).create_infer_request()


def _graphs(network: CaptionNetwork, config: Config) -> dict[str, openvino.Model]:
    if WEIGHTS not in config.files:  # of no checkpoint: nothing tells these weights from others
        return _trace(network, config)
    try:
        folder = _cache_folder() / _key(config)
        core = openvino.Core()
        return {name: core.read_model(folder / f"{name}.xml") for name in ("encode", "step")}
    except Exception as error:  # absent, cut off, of another make
        log.debug("no graphs kept: %s", error)
    graphs = _trace(network, config)
    try:
        _keep(graphs, _cache_folder() / _key(config))
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        log.debug("graphs are not kept for the next start: %s", error)
    return graphs


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "captioner"


def _key(config: Config) -> str:
    """Changes with whatever the graphs depend on: weights, sizes, normalisation, and who made them."""
    made_of = msgspec.json.encode(config) + f"{openvino.__version__} {torch.__version__}".encode()
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


@torch.no_grad()
def _trace(network: CaptionNetwork, config: Config) -> dict[str, openvino.Model]:
    size = config.preprocessing.image_size
    pixels = torch.zeros(_TRACED_BATCH, size, size, 3, dtype=torch.uint8)  # [B, S, S, 3]
    seen = network.encode(pixels)
    state = network.start(seen)
    tokens = torch.zeros(_TRACED_BATCH, dtype=torch.int64)  # [B]
    regions = () if seen.regions is None else (seen.regions,)
    encode = _convert(_Encode(network), (pixels,))
    encode.reshape([-1, size, size, 3])
    step = _convert(_Step(network), (tokens, state.h, state.c, *regions))
    layers, _, hidden = state.h.shape
    shapes = [[-1], [layers, -1, hidden], [layers, -1, hidden], *([-1, *r.shape[1:]] for r in regions)]
    step.reshape(dict(enumerate(shapes)))
    return {"encode": encode, "step": step}


def _convert(module: nn.Module, inputs: tuple[Tensor, ...]) -> openvino.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that checks of sizes are traced once, and that tracing is old
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), inputs, check_trace=False))
    decoder = TorchScriptPythonDecoder(traced, example_input=inputs)  # OpenVINO holds no reference to it
    front_end = FrontEndManager().load_by_framework("pytorch")
    graph = front_end.convert(front_end.load(decoder))
    for parameter, tensor in zip(graph.get_parameters(), inputs, strict=True):
        parameter.set_element_type(openvino.Type(tensor.numpy().dtype))
    graph.validate_nodes_and_infer_types()
    return graph
