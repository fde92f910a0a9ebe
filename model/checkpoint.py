"""The checkpoint folder: ``model.safetensors``, ``config.json``, ``vocabulary.json``, ``README.md``.

Nothing in it is executable. Weights are read by safetensors, so a pickle can do no more than be refused, and
used in float32. Unless they must stay exact they are stored in 16 bits: the encoder's convolutions in
bfloat16 with BatchNorm folded in, so that computing in bfloat16 rounds none of them, the rest in float16, of
which the matrices of the decoder's step have 255 values a row, so that a byte each can stand for them.
"""

from __future__ import annotations

import copy
import hashlib
import os
import tempfile
from pathlib import Path

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from model.config import CARD, CONFIG, VOCABULARY, WEIGHTS, Config, load_config
from model.contents import Contents, load_vocabulary, read
from model.encoder import convolutions_to_bfloat16, to_bfloat16_values
from model.errors import CheckpointError
from model.network import CaptionNetwork
from model.vocabulary import Vocabulary

__all__ = ["Checkpoint", "Contents", "build", "load", "load_vocabulary", "read", "save", "save_ranges"]


class Checkpoint(msgspec.Struct):
    """A network with all that is needed to run and describe it."""

    config: Config
    vocabulary: Vocabulary
    network: CaptionNetwork


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint in eval mode, in float32, on the CPU.

    :raises CheckpointError: a file is missing or altered, or the files do not agree; the message names which
    """
    contents = read(folder)
    return Checkpoint(contents.config, contents.vocabulary, build(contents.config, contents.weights))


def build(config: Config, weights: bytes) -> CaptionNetwork:
    """The network in eval mode, in float32, on the CPU.

    :param weights: a safetensors file
    :raises CheckpointError: it is none, or the two do not agree
    """
    try:
        tensors = safetensors.torch.load(weights)
    except Exception as error:  # its own, unexported types for the ways a file can be wrong
        raise CheckpointError(f"{WEIGHTS} is not a safetensors file: {error}") from None
    try:
        network = CaptionNetwork(config)
    except (ValueError, RuntimeError) as error:  # an unknown encoder; a size that no layer can have
        raise CheckpointError(f"{CONFIG} is not usable: {error}") from None
    _check_shapes(tensors, network.state_dict())
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network.eval()


def save(folder: Path, checkpoint: Checkpoint, card: str = "", *, exact: bool = False) -> None:
    """Write a checkpoint folder; an older one at the same place stays whole until the new one is complete.

    Its activation ranges are not written: nothing says that they are those of these weights.

    :param exact: keep every bit of the weights, in a file of twice the size
    :raises OSError: the disk is full or not writable; nothing that stood in ``folder`` is lost
    """
    network = checkpoint.network if exact else _in_16_bits(checkpoint.network)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    contents = {
        WEIGHTS: safetensors.torch.save(tensors),
        VOCABULARY: msgspec.json.format(msgspec.json.encode(checkpoint.vocabulary.words), indent=0),
        CARD: card.encode(),
    }
    hashed = (WEIGHTS, VOCABULARY)
    config = msgspec.structs.replace(
        checkpoint.config,
        vocabulary_size=len(checkpoint.vocabulary),
        activation_ranges={},
        files={name: hashlib.sha256(contents[name]).hexdigest() for name in hashed},
    )
    contents[CONFIG] = _text(config)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder, contents)


def save_ranges(folder: Path, config: Config, ranges: dict[str, tuple[float, float]]) -> None:
    """Write activation ranges into the ``config.json`` of the checkpoint that they were measured with.

    :param config: as that checkpoint had it
    :raises CheckpointError: another one lies there by now, or none
    :raises OSError: the folder is not writable, or the disk full
    """
    if load_config(folder).files != config.files:
        raise CheckpointError(f"{folder} holds another checkpoint by now: nothing was written")
    _replace(folder, {CONFIG: _text(msgspec.structs.replace(config, activation_ranges=ranges))})


def _in_16_bits(network: CaptionNetwork) -> CaptionNetwork:
    """A copy with the weights that are stored: rounded, and of 16 bits."""
    network = copy.deepcopy(network)
    encoder = network.encoder
    to_bfloat16_values(encoder)
    network.round_step()
    for part in network.children():
        if part is not encoder:
            part.half()
    convolutions_to_bfloat16(encoder)
    return network


def _text(config: Config) -> bytes:
    return msgspec.json.format(msgspec.json.encode(config), indent=2)


def _replace(folder: Path, contents: dict[str, bytes]) -> None:
    # Written in full beside the old files before any of those is replaced. The folder itself stays: it may
    # be a mount point, and training keeps its own files in it.
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming:
        for name, raw in contents.items():
            with (Path(incoming) / name).open("wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
        for name in contents:
            (Path(incoming) / name).replace(folder / name)


def _check_shapes(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"holds an unknown {unknown[0]}"
        raise CheckpointError(f"{WEIGHTS} does not fit the architecture in {CONFIG}: it {what}")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{WEIGHTS} does not fit {CONFIG}: {name} has shape {list(tensors[name].shape)}, "
                f"expected {list(tensor.shape)}"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensors[name]).all():
            raise CheckpointError(f"{WEIGHTS} is not usable: {name} holds values that are not finite")
