"""A loaded checkpoint on a device: pixels in, captions out. The one way to run the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from model import checkpoint as checkpoints
from model.caption import Caption, Word
from model.config import Config, EngineName, Precision
from model.cuda_graphs import GreedyGraphs
from model.decoding import Decoded, beam_search, greedy
from model.encoder import Bfloat16Encoder, channels_last
from model.errors import InferenceError
from model.network import CaptionNetwork, Seen
from model.vocabulary import END_ID, PAD_ID, Vocabulary, detokenize

if TYPE_CHECKING:
    from model.openvino_network import OpenVinoNetwork


Pixels = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""uint8 [B, S, S, 3], or [S, S, 3] each, as :func:`model.preprocessing.load_pixels` gives them."""
Result = list[Caption] | InferenceError
"""Captions of one picture, best first, or why there are none."""


def resolve_device(name: str) -> str:
    """``auto`` is a GPU where PyTorch finds one, else the CPU; any other name stays as it is."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def resolve_engine(name: EngineName, device: str) -> EngineName:
    """``auto`` is OpenVINO on a CPU where it is installed, else PyTorch; any other name stays as it is."""
    if name == "auto":
        return "openvino" if device == "cpu" and find_spec("openvino") else "torch"
    return name


def _gpu_with_bfloat16(device: str) -> bool:
    if not device.startswith("cuda"):
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


class Captioner:
    """Runs a checkpoint on one device. Not thread-safe: keep it on one thread."""

    def __init__(
        self, config: Config, vocabulary: Vocabulary, network: CaptionNetwork | OpenVinoNetwork, device: str
    ) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self.network = network
        self.device = torch.device(device)
        self._graphs: GreedyGraphs | None = None
        if self.device.type == "cuda" and isinstance(network, CaptionNetwork):
            self._graphs = GreedyGraphs(network, config)

    @classmethod
    def on_torch(
        cls, checkpoint: checkpoints.Checkpoint, device: str = "cpu", precision: Precision = "auto"
    ) -> Captioner:
        """The checkpoint run by PyTorch; its network is moved to the device, and is the captioner's then.

        :param precision: of the encoder: float32, bfloat16, or auto, which is bfloat16 on a GPU that has it
        """
        network = checkpoint.network.eval().to(device)
        if precision == "bfloat16" or (precision == "auto" and _gpu_with_bfloat16(device)):
            network.encoder = Bfloat16Encoder(network.encoder)  # type: ignore[assignment]
        channels_last(network.encoder)
        return cls(checkpoint.config, checkpoint.vocabulary, network, device)

    @classmethod
    def on_openvino(cls, contents: checkpoints.Contents, precision: Precision = "auto") -> Captioner:
        """The checkpoint run by OpenVINO on the CPU; PyTorch's network is built only to make graphs.

        :param precision: see :class:`model.openvino_network.OpenVinoNetwork`
        :raises CheckpointError: see :func:`model.checkpoint.build`
        :raises ImportError: OpenVINO is not installed
        """
        from model.openvino_network import OpenVinoNetwork

        config = contents.config
        network = OpenVinoNetwork(config, lambda: checkpoints.build(config, contents.weights), precision)
        return cls(config, contents.vocabulary, network, "cpu")

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", engine: EngineName = "torch", precision: Precision = "auto"
    ) -> Captioner:
        """:raises CheckpointError: see :func:`model.checkpoint.load`"""
        if resolve_engine(engine, device) == "torch":
            return cls.on_torch(checkpoints.load(folder), device, precision)
        # What is left for PyTorch is small: a second thread would only get in the way of OpenVINO's.
        torch.set_num_threads(1)
        return cls.on_openvino(checkpoints.read(folder), precision)

    def warm_up(self, batch_sizes: Iterable[int]) -> None:
        """Run every batch size once, so that no user waits for a first time; a GPU keeps a graph of each."""
        size = self.config.preprocessing.image_size
        for batch in batch_sizes:
            self.record(batch)
            self.caption(np.zeros((batch, size, size, 3), dtype=np.uint8), [1] * batch)

    def record(self, batch: int) -> None:
        """Make a graph for batches of up to this size, on a GPU, if there is none yet."""
        if self._graphs:
            self._graphs.add(batch)

    @property
    def overlaps(self) -> bool:
        """Whether a batch that was begun is computed while the host goes on."""
        return self._graphs is not None

    @property
    def batch_size(self) -> int:
        """Of batches that suit the device: larger ones gain nothing."""
        return 128 if self.overlaps else 16

    def caption(self, pixels: Pixels, beams: Sequence[int]) -> list[Result]:
        """Caption a batch; pictures with different beam widths share one pass through the encoder.

        :param beams: beam width of each picture, 1 (greedy) to :data:`model.caption.MAX_BEAM`
        :returns: for each picture its ``beam`` captions, best first, or why there are none
        """
        return self.begin(pixels, beams)()

    @torch.inference_mode()
    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Result]]:
        """Start a batch: :meth:`caption` in two parts, of which the second waits for the captions.

        Where the device :attr:`overlaps`, the next batch may be begun before the second part: it is copied
        to the device while this one is computed.
        """
        if self._graphs and set(beams) == {1} and (wait := self._graphs.begin(pixels)):
            return lambda: self._to_captions(wait(), len(pixels))
        results = self._caption_now(pixels if isinstance(pixels, np.ndarray) else np.stack(pixels), beams)
        return lambda: results

    def _caption_now(self, pixels: NDArray[np.uint8], beams: Sequence[int]) -> list[Result]:
        images = torch.from_numpy(pixels).to(self.device)  # [B, S, S, 3]
        seen = self.network.encode(images)
        results: list[Result] = [InferenceError("no caption")] * len(beams)
        for beam in set(beams):
            rows = [row for row, wanted in enumerate(beams) if wanted == beam]
            chosen = seen if len(rows) == len(beams) else seen.rows(rows)
            for row, result in zip(rows, self._decode(chosen, beam), strict=True):
                results[row] = result
        return results

    def _decode(self, seen: Seen, beam: int) -> list[Result]:
        network, limits = self.network, self.config.decoding
        if beam > 1:
            decoded = beam_search(network, seen, limits, beam)
        elif isinstance(network, CaptionNetwork):
            decoded = greedy(network, seen, limits)
        else:
            decoded = network.greedy(seen)
        return self._to_captions(decoded, len(decoded.tokens))

    def _to_captions(self, decoded: Decoded, count: int) -> list[Result]:
        """Of the first ``count`` rows."""
        results: list[Result] = []
        for token_rows, log_prob_rows in zip(
            decoded.tokens[:count].tolist(), decoded.log_probs[:count].tolist(), strict=True
        ):
            captions = [
                self._to_caption(ids, log_probs)
                for ids, log_probs in zip(token_rows, log_prob_rows, strict=True)
            ]
            usable = [c for c in captions if c.words and np.isfinite(c.log_probability)]
            results.append(usable or InferenceError("the network gave no finite caption for this picture"))
        return results

    def _to_caption(self, ids: list[int], log_probs: list[float]) -> Caption:
        words = tuple(
            Word(self.vocabulary.words[i], p)
            for i, p in zip(ids, log_probs, strict=True)
            if i not in (END_ID, PAD_ID)
        )
        return Caption(detokenize(w.text for w in words), sum(log_probs), words)
