"""A loaded checkpoint on a device: pixels in, captions out. The one way to run the network.

Importing this loads no PyTorch, which takes longer than all else of a start: OpenVINO does without.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from model.caption import Caption, Word
from model.config import Config, EngineName, Precision
from model.contents import Contents, read
from model.errors import CaptionerError, InferenceError
from model.vocabulary import END_ID, PAD_ID, Vocabulary, detokenize
from model.words import Pixels, Rows

if TYPE_CHECKING:
    from model.checkpoint import Checkpoint

Result = list[Caption] | InferenceError
"""Captions of one picture, best first, or why there are none."""
# NVIDIA's, that of its boards with a CPU, Windows's for Linux, AMD's
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


class Network(Protocol):
    """A checkpoint's network on a device: :class:`model.torch_network.TorchNetwork` or
    :class:`model.openvino_network.OpenVinoNetwork`."""

    @property
    def overlaps(self) -> bool:
        """Whether a batch that was begun is computed while the host goes on."""

    @property
    def in_parts(self) -> bool:
        """Whether a batch is run in parts of powers of two, so that sizes between them gain nothing."""

    @property
    def batch_size(self) -> int:
        """Of batches that suit the device: larger ones gain nothing."""

    def record(self, batches: Sequence[int]) -> None:
        """Make whatever batches of these sizes are run fastest by, if it is not there yet."""

    def encode(self, pixels: Pixels) -> Any:
        """The encoder alone: what the decoder knows of the pictures."""

    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Rows]]:
        """Start a batch; what it gives waits for the captions of each picture."""


def resolve_device(name: str, precision: Precision = "auto") -> str:
    """``auto`` is a GPU where PyTorch finds one and the precision can be had there, else the CPU; any other
    name stays as it is."""
    if name != "auto":
        return name
    if precision == "int8":
        return "cpu"
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in _GPU_DRIVERS):
        return "cpu"  # PyTorch would say the same, two seconds later
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_engine(name: EngineName, device: str) -> EngineName:
    """``auto`` is OpenVINO on a CPU where it is installed, else PyTorch; any other name stays as it is."""
    if name == "auto":
        return "openvino" if device == "cpu" and find_spec("openvino") else "torch"
    return name


def needed_for(precision: Precision, engine: EngineName, device: str) -> str:
    """What this precision needs and cannot have; empty where all is there.

    :param engine: of :func:`resolve_engine`
    """
    if engine == "openvino" or precision in ("auto", "float32"):
        return ""
    if precision == "bfloat16" and device != "cpu":
        return ""
    where = "OpenVINO, or a GPU" if precision == "bfloat16" else "OpenVINO on a CPU"
    return where if find_spec("openvino") else f"{where}: pip install 'captioner[openvino]'"


class Captioner:
    """Runs a checkpoint on one device. Not thread-safe: keep it on one thread."""

    def __init__(self, config: Config, vocabulary: Vocabulary, network: Network) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self.network = network

    @classmethod
    def on_torch(
        cls, checkpoint: Checkpoint, device: str = "cpu", precision: Precision = "auto"
    ) -> Captioner:
        """The checkpoint run by PyTorch; its network is moved to the device, and is the captioner's then.

        :param precision: see :class:`model.torch_network.TorchNetwork`
        """
        from model.torch_network import TorchNetwork

        network = TorchNetwork(checkpoint.network, checkpoint.config, device, precision)
        return cls(checkpoint.config, checkpoint.vocabulary, network)

    @classmethod
    def on_openvino(cls, contents: Contents, precision: Precision = "auto") -> Captioner:
        """The checkpoint run by OpenVINO on the CPU; PyTorch's network is built only to make graphs.

        :param precision: see :class:`model.openvino_network.OpenVinoNetwork`
        :raises CheckpointError: see :func:`model.checkpoint.build`
        :raises ImportError: OpenVINO is not installed
        """
        from model.openvino_network import OpenVinoNetwork

        network = OpenVinoNetwork(contents.config, lambda: _built(contents), precision)
        return cls(contents.config, contents.vocabulary, network)

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", engine: EngineName = "torch", precision: Precision = "auto"
    ) -> Captioner:
        """
        :raises CheckpointError: see :func:`model.checkpoint.load`
        :raises CaptionerError: the precision cannot be had with this engine and device
        """
        engine = resolve_engine(engine, device)
        if needed := needed_for(precision, engine, device):
            raise CaptionerError(f"precision {precision} needs {needed}")
        if engine == "openvino":
            return cls.on_openvino(read(folder), precision)
        from model import checkpoint

        return cls.on_torch(checkpoint.load(folder), device, precision)

    @property
    def overlaps(self) -> bool:
        """See :class:`Network`."""
        return self.network.overlaps

    @property
    def in_parts(self) -> bool:
        """See :class:`Network`."""
        return self.network.in_parts

    @property
    def batch_size(self) -> int:
        """See :class:`Network`."""
        return self.network.batch_size

    def record(self, batches: Sequence[int]) -> None:
        """See :class:`Network`."""
        self.network.record(batches)

    def warm_up(self, batch_sizes: Iterable[int]) -> None:
        """Run every batch size once, greedily, so that no user waits for a first time; graphs of each are
        kept. Beam search has its first time under OpenVINO when it is first asked for.

        The largest comes first: in the memory that it leaves the others find room, which the other way round
        would each take their own.
        """
        size = self.config.preprocessing.image_size
        batches = sorted(batch_sizes, reverse=True)
        self.record(batches)
        for batch in batches:
            self.caption(np.zeros((batch, size, size, 3), dtype=np.uint8), [1] * batch)

    def caption(self, pixels: Pixels, beams: Sequence[int]) -> list[Result]:
        """Caption a batch; pictures with different beam widths share one pass through the encoder.

        :param beams: beam width of each picture, 1 (greedy) to :data:`model.caption.MAX_BEAM`
        :returns: for each picture its ``beam`` captions, best first, or why there are none
        """
        return self.begin(pixels, beams)()

    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Result]]:
        """Start a batch: :meth:`caption` in two parts, of which the second waits for the captions.

        Where the device :attr:`overlaps`, the next batch may be begun before the second part: it is copied
        to the device while this one is computed.
        """
        wait = self.network.begin(pixels, beams)
        return lambda: [self._to_result(rows) for rows in wait()]

    def _to_result(self, rows: Rows) -> Result:
        pairs = zip(rows.tokens, rows.log_probs, strict=True)
        captions = [self._to_caption(ids, log_probs) for ids, log_probs in pairs]
        usable = [c for c in captions if c.words and np.isfinite(c.log_probability)]
        return usable or InferenceError("the network gave no finite caption for this picture")

    def _to_caption(self, ids: list[int], log_probs: list[float]) -> Caption:
        words = tuple(
            Word(self.vocabulary.words[i], p)
            for i, p in zip(ids, log_probs, strict=True)
            if i not in (END_ID, PAD_ID)
        )
        return Caption(detokenize(w.text for w in words), sum(log_probs), words)


def _built(contents: Contents) -> Any:
    from model import checkpoint

    return checkpoint.build(contents.config, contents.weights)
