"""The network as OpenVINO graphs: PyTorch's values on a CPU in half of its time and less.

Compiled for batches of one size, a small network's graph is a tenth or more faster than for any: a batch is
run in parts of a few sizes (:mod:`model.parts`), whose graphs are compiled when they are first wanted.

Once there are graphs (:mod:`model.openvino_graphs`), nothing needs PyTorch but networks that predict
``<start>``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.config import Config, Precision
from model.openvino_compiled import ANY, CompiledGraphs, Options, bytes_of_weights, cores
from model.openvino_graphs import core, load_graphs
from model.parts import Part, exact, padded
from model.vocabulary import END_ID, PAD_ID, START_ID
from model.words import Pixels, Rows, by_beam_width

if TYPE_CHECKING:
    from model.network import CaptionNetwork

# Bytes of an encoder's weights. A larger one runs at a matrix product's pace with a graph for any batch, but
# for int8, and each graph would lay its weights out in memory anew.
_LARGE = 64 * 2**20

_IN_BFLOAT16: Options = {"INFERENCE_PRECISION_HINT": "bf16"}
# What goes into matrices that are kept in 8 bits is rounded to 8 bits as well, each 32 values with a scale of
# their own; products are sums of integers.
_INPUTS_IN_8_BITS: Options = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 32}

Values = list[NDArray[Any]]


class OpenVinoNetwork:
    """A :class:`model.captioner.Network`: PyTorch's one as graphs. Lives on one thread.

    The precision is that of the encoder, where the time goes, and of embedding and regions. ``int8`` has
    8-bit integers in the convolutions of the encoder's first three quarters of work, and in the rest bfloat16
    where the CPU computes in it. ``auto`` is ``bfloat16`` on such a CPU, else ``float32``. The LSTM and what
    follows it are in float32, but for what goes into their matrix products: other precisions than ``float32``
    round it to 8 bits where the matrices have no more (:mod:`model.int8_weights`).
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
        has_bfloat16 = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        graphs = load_graphs(config, network)
        self.in_parts = precision == "int8" or bytes_of_weights(graphs["encode"]) <= _LARGE
        # Two pictures a core: larger parts gain nothing on two cores and take more memory.
        self._largest_part = min(self.batch_size, 2 << (cores() - 1).bit_length())
        if precision == "int8":
            from model.openvino_int8 import to_int8

            to_int8(graphs["encode"], config.activation_ranges)
        in_bfloat16 = precision == "bfloat16" or (precision != "float32" and has_bfloat16)
        options = {"encode": _IN_BFLOAT16} if in_bfloat16 else {}
        if in_bfloat16 or precision == "int8":
            options |= {graph: _INPUTS_IN_8_BITS for graph in graphs if graph != "encode"}
        self._compiled = CompiledGraphs(graphs, options)
        self.limits = config.decoding
        self._vocabulary_size = config.vocabulary_size

    def record(self, batches: Sequence[int]) -> None:
        """See :class:`model.captioner.Network`."""
        parts_of = {
            "encode": self._encoder_parts,
            "step" if self.limits.predicts_start else "greedy": self._decoder_parts,
        }
        self._compiled.prepare(
            {(graph, size) for graph, parts in parts_of.items() for n in batches for _, size in parts(n)}
        )

    def encode(self, pixels: Pixels) -> Values:
        """What the decoder knows of the pictures: the embedding and, where there are any, the regions."""
        seen = [self._encode(pixels[rows], size) for rows, size in self._encoder_parts(len(pixels))]
        return [np.concatenate(values) for values in zip(*seen, strict=True)]

    def _encode(self, pixels: Pixels, size: int) -> Values:
        stacked = pixels if isinstance(pixels, np.ndarray) else np.stack(pixels)
        return self.run("encode", stacked, batch=size)

    def _encoder_parts(self, batch: int) -> list[Part]:
        return list(exact(batch, self._largest_part)) if self.in_parts else [(slice(0, batch), ANY)]

    def _decoder_parts(self, batch: int) -> list[Part]:
        by_size = self.in_parts and not self.limits.predicts_start
        return list(padded(batch, self.batch_size)) if by_size else [(slice(0, batch), ANY)]

    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Rows]]:
        """See :class:`model.captioner.Network`."""
        if 1 in beams:  # several graphs are compiled at once, which each by itself would not be
            self.record([len(pixels)])
        seen = self.encode(pixels)
        if self.limits.predicts_start:
            from model.openvino_search import search_by_steps

            rows = search_by_steps(self, seen, beams)
        else:
            rows = by_beam_width(beams, lambda beam, pictures: self._search(seen, beam, pictures))
        # 8 bits hold no NaN: without a look here it would come out as an ordinary caption.
        checked = [
            row if all(np.isfinite(part).all() for part in parts) else _not_finite(row)
            for row, *parts in zip(rows, *seen, strict=True)
        ]
        return lambda: checked

    def _search(self, seen: Values, beam: int, pictures: list[int]) -> list[Rows]:
        chosen = seen if len(pictures) == len(seen[0]) else [part[pictures] for part in seen]
        return self.greedy(chosen) if beam == 1 else self.beam(chosen, beam)

    def greedy(self, seen: Values) -> list[Rows]:
        """What :func:`model.decoding.greedy` gives, in a run for each part of the batch."""
        rows: list[Rows] = []
        for part, size in self._decoder_parts(len(seen[0])):
            values = [_filled(each[part], size) for each in seen]
            tokens, log_probs = self.run("greedy", *values, batch=size)  # [size, t] each
            said = slice(part.stop - part.start)
            rows += _rows(tokens[said, None], log_probs[said, None])
        return rows

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

    def run(self, graph: str, *inputs: NDArray[Any], batch: int = ANY) -> Values:
        """One of the graphs of :func:`model.openvino_trace.trace`."""
        return _values(self._compiled.request(graph, batch).infer(list(inputs), share_inputs=True))


def _filled(values: NDArray[Any], size: int) -> NDArray[Any]:
    """The last row again and again, until there are ``size`` of them."""
    missing = size - len(values)
    return np.concatenate([values, values[-1:].repeat(missing, axis=0)]) if missing > 0 else values


def _rows(tokens: NDArray[Any], log_probs: NDArray[Any]) -> list[Rows]:
    """Of tokens and log-probabilities [B, K, t]."""
    pairs = zip(tokens.tolist(), log_probs.tolist(), strict=True)
    return [Rows(ids, scores) for ids, scores in pairs]


def _not_finite(rows: Rows) -> Rows:
    return Rows(rows.tokens, [[math.nan] * len(ids) for ids in rows.tokens])


def _values(outputs: Any) -> Values:
    # Results are copied: the next step would be written over the state that it reads.
    return [np.asarray(output) for output in outputs.values()]
