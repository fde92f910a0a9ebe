"""The ancestor's ``.pkl`` and ``.ckpt`` files: reading them, and the architecture that their shapes tell."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

from model.config import Architecture
from training.legacy.errors import LegacyError, described, quoted

Weights = dict[str, Tensor]

# By whether the blocks are bottlenecks, and their number in layer1 to layer4 (He et al. 2015, table 1).
_RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}


class Part(NamedTuple):
    """Half of the ancestor's network: what marks its files, and our prefixes of its tensor names."""

    title: str
    marker: str
    prefixes: dict[str, str]

    def renamed(self, name: str) -> str | None:
        """The ancestor's name of one of our tensors; None where it belongs to the other half."""
        for legacy, ours in self.prefixes.items():
            if name.startswith(ours):
                return legacy + name.removeprefix(ours)
        return None


ENCODER = Part("encoder", "resnet.", {"resnet.": "encoder.resnet.", "linear.": "project.", "bn.": "norm."})
DECODER = Part("decoder", "lstm.", {"embed.": "embed.", "lstm.": "lstm.", "linear.": "output."})


def read_weights(path: Path, part: Part) -> Weights:
    """All tensors of a file under the ancestor's names, on the CPU.

    :raises LegacyError: it cannot be read, asks for more than tensors, or is not the ``part``'s
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            weights = _check_tensors(_load(file, size), size)
        _check_part(weights, part)
    except OSError as error:
        raise LegacyError(f"{path} cannot be read: {error.strerror or error}") from None
    except LegacyError as error:
        raise LegacyError(f"{path} {error}") from None
    return weights


def _check_tensors(value: object, size: int) -> Weights:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise LegacyError(f"holds {type(value).__name__} where tensors by name were expected")
    total = 0
    for name, tensor in value.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise LegacyError(f"holds {quoted(name)}, which is not a plain tensor")
        total += tensor.nbytes
    # A pickle can call four bytes a tensor of terabytes, which nobody could copy.
    if total > size:
        raise LegacyError(f"declares tensors of {total:,} bytes, which is more than the file has")
    return value


def _check_part(weights: Weights, part: Part) -> None:
    for other in (ENCODER, DECODER):
        if any(name.startswith(other.marker) for name in weights):
            if other is not part:
                raise LegacyError(f"was given as the {part.title} and holds the {other.title}")
            return
    names = ", ".join(quoted(name) for name in list(weights)[:3]) or "nothing"
    raise LegacyError(f"holds no {part.title} of the ancestor's: no name begins with {part.marker} ({names})")


def _load(file: BinaryIO, size: int) -> object:
    """:raises LegacyError: what is wrong, to be read after the file's name"""
    try:
        if zipfile.is_zipfile(file) and _inflated_size(file) > size:
            raise LegacyError("is compressed, which PyTorch's files never are")
        file.seek(0)
        with warnings.catch_warnings(action="ignore"):  # of the format's age
            return torch.load(file, map_location="cpu", weights_only=True)
    except LegacyError:
        raise
    except Exception as error:  # a damaged file can raise anything
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            what = f"asks for {quoted(refused[1])}, and only tensors are read; nothing was run"
        else:
            file.seek(0)
            found = described(file.read(24), size)
            what = f"is damaged, cut off or no file of PyTorch weights: {found}"
        raise LegacyError(what) from None


def _inflated_size(file: BinaryIO) -> int:
    with zipfile.ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def read_architecture(encoder: Weights, decoder: Weights) -> tuple[Architecture, int]:
    """The network's sizes and the number of words, from shapes alone.

    :raises LegacyError: a tensor that tells a size is missing or of another rank, the ResNet is none of
        torchvision's five, or encoder and decoder do not fit each other; the message is a whole sentence
    """
    embed_size, _ = _matrix(encoder, "linear.weight", ENCODER)
    words, taken = _matrix(decoder, "embed.weight", DECODER)
    _, hidden_size = _matrix(decoder, "lstm.weight_hh_l0", DECODER)
    if embed_size != taken:
        raise LegacyError(f"the encoder gives {embed_size} numbers a picture and the decoder takes {taken}")
    layers = sum(re.fullmatch(r"lstm\.weight_hh_l\d+", name) is not None for name in decoder)
    return Architecture(_resnet(encoder), embed_size, hidden_size, layers), words


def _matrix(weights: Weights, name: str, part: Part) -> tuple[int, int]:
    if name not in weights:
        raise LegacyError(f"the {part.title} lacks {name}")
    if weights[name].dim() != 2 or not weights[name].numel():
        raise LegacyError(
            f"the {part.title}'s {name} has shape {list(weights[name].shape)}, expected a matrix"
        )
    rows, columns = weights[name].shape
    return rows, columns


def _resnet(encoder: Weights) -> str:
    blocks = [re.findall(rf"(?m)^resnet\.{layer}\.(\d+)\.", "\n".join(encoder)) for layer in range(4, 8)]
    counts = tuple(len(set(found)) for found in blocks)
    name = _RESNETS.get(("resnet.4.0.conv3.weight" in encoder, counts))
    if name is None:
        shown = ", ".join(map(str, counts))
        raise LegacyError(
            f"the encoder's layers have {shown} blocks, which is none of {', '.join(_RESNETS.values())}"
        )
    return name


def fit(weights: Weights, part: Part, expected: Weights) -> Weights:
    """A part's tensors under our names, checked one by one.

    :param expected: state of a network of the same architecture; only its shapes matter
    :raises LegacyError: a tensor is missing, unknown, or of another shape or type, or not finite; the message
        is a whole sentence
    """
    names = {legacy: ours for ours in expected if (legacy := part.renamed(ours))}
    # Counters of training steps, which files older than torch 0.4.1 lack and captioning never reads.
    counters = {name for name in names if name.endswith(".num_batches_tracked")}
    missing = sorted(names.keys() - counters - weights.keys())
    unknown = sorted(weights.keys() - names.keys())
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"holds an unknown {quoted(unknown[0])}"
        raise LegacyError(f"the {part.title} {what}")
    fitted = {names[name]: torch.zeros((), dtype=torch.int64) for name in counters}
    for name, tensor in weights.items():
        model = expected[names[name]]
        if tensor.shape != model.shape or tensor.dtype != model.dtype:
            raise LegacyError(
                f"the {part.title}'s {name} has shape {list(tensor.shape)} of {tensor.dtype}, "
                f"expected {list(model.shape)} of {model.dtype}"
            )
        if not torch.isfinite(tensor).all():
            raise LegacyError(f"the {part.title}'s {name} holds values that are not finite")
        # Tensors trained on a GPU may be views of one buffer; safetensors writes each by itself.
        fitted[names[name]] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return fitted
