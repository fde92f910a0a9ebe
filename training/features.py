"""Encoder outputs of a whole split, computed once and kept on disk while they hold.

Whatever of the encoder rests during a phase need not run again in every epoch: its output is cached at the
first stage that learns, or at the end where none does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.config import Preprocessing
from model.network import CaptionNetwork
from training.augment import view
from training.dataset import Example, Pixels
from training.files import replace_atomically
from training.precision import autocast

BATCH = 32
SEED = 0  # of the random crops: one network and one list of pictures always give the same features
FORMAT = 2  # of the files; another one makes older files stale


class Recipe(msgspec.Struct, frozen=True):
    """How cached features come about.

    ``depth`` stages of the encoder have run; ``views`` of each picture are kept (whole, mirrored, then random
    crops), in float16 if ``half``, half the room and enough to learn from; ``bfloat16`` is the arithmetic.
    """

    depth: int
    views: int = 1
    half: bool = False
    bfloat16: bool = False


def run_stages(network: CaptionNetwork, inputs: Tensor, first: int, last: int | None = None) -> Tensor:
    """The encoder's stages ``first`` to ``last`` (exclusive), and what the decoder needs of the last one.

    :param inputs: images [B, 3, S, S], or what the stages before ``first`` made of them
    :returns: the map after stage ``last``, or after all of them features [B, C, H, W]
    """
    stages = network.encoder.stages()
    reached = nn.Sequential(*stages[first:last])(inputs)
    return network.features(reached) if first < len(stages) and last in (None, len(stages)) else reached


@torch.inference_mode()
def compute(
    network: CaptionNetwork, examples: Sequence[Example], preprocessing: Preprocessing, recipe: Recipe
) -> Tensor:
    """Features [views, N, C, H, W] on the CPU, by the network as it stands (in eval mode)."""
    device = network.mean.device
    generator = torch.Generator().manual_seed(SEED)
    network.eval()
    result = torch.empty(0)
    for rows, pixels in DataLoader(Pixels(examples, preprocessing), BATCH, num_workers=1):
        for number in range(recipe.views):
            with autocast(device, recipe.bfloat16):
                images = network.normalise(view(pixels, number, generator).to(device))
                found = run_stages(network, images, 0, recipe.depth)
            if not result.numel():
                kind = torch.float16 if recipe.half else torch.float32
                result = torch.empty(recipe.views, len(examples), *found.shape[1:], dtype=kind)
            result[number, rows] = found.to(result)
    return result


def cached(
    path: Path,
    network: CaptionNetwork,
    examples: Sequence[Example],
    preprocessing: Preprocessing,
    recipe: Recipe,
) -> Tensor:
    """As :func:`compute`, but read from ``path`` when what lies there is of the same encoder, pictures
    and settings; otherwise ``path`` is written anew."""
    key = _key(network, examples, preprocessing, recipe)
    try:
        with safetensors.safe_open(path, "pt") as file:
            if file.metadata() == {"key": key}:
                return file.get_tensor("features")
    except (FileNotFoundError, safetensors.SafetensorError):
        pass  # none yet, or cut off
    features = compute(network, examples, preprocessing, recipe)
    with replace_atomically(path) as partial:
        safetensors.torch.save_file({"features": features}, partial, {"key": key})
    return features


def _key(
    network: CaptionNetwork, examples: Sequence[Example], preprocessing: Preprocessing, recipe: Recipe
) -> str:
    """Whatever changes the features changes this; pictures count by path, size and time of change."""
    pooled = recipe.depth == len(network.encoder.stages()) and network.attention is None
    digest = hashlib.sha256(msgspec.json.encode([FORMAT, preprocessing, recipe, pooled]))
    for number, stage in enumerate(network.encoder.stages()[: recipe.depth]):
        for name, tensor in stage.state_dict().items():
            digest.update(f"{number}.{name}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for example in examples:
        status = example.path.stat()
        digest.update(f"{example.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
