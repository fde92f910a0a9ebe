"""Pooled encoder features of a whole split, computed once and kept on disk while they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from model.config import Preprocessing
from model.network import CaptionNetwork
from training.augment import view
from training.dataset import Example, Pixels
from training.files import write_atomically

BATCH = 32
SEED = 0  # of the random crops: one network and one list of pictures always give the same features


@torch.inference_mode()
def compute(
    network: CaptionNetwork,
    examples: Sequence[Example],
    preprocessing: Preprocessing,
    views: int = 1,
    bfloat16: bool = False,
) -> Tensor:
    """Features float32 [views, N, C] on the CPU, by the network as it stands (in eval mode)."""
    device = network.mean.device
    result = torch.empty(views, len(examples), network.encoder.feature_size)
    generator = torch.Generator().manual_seed(SEED)
    network.eval()
    for rows, pixels in DataLoader(Pixels(examples, preprocessing), BATCH, num_workers=1):
        for number in range(views):
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                images = network.normalise(view(pixels, number, generator).to(device))
                result[number, rows] = network.features(images).float().cpu()
    return result


def cached(
    path: Path,
    network: CaptionNetwork,
    examples: Sequence[Example],
    preprocessing: Preprocessing,
    views: int = 1,
    bfloat16: bool = False,
) -> Tensor:
    """As :func:`compute`, but read from ``path`` when what lies there is of the same encoder, pictures
    and settings; otherwise ``path`` is written anew."""
    key = _key(network, examples, preprocessing, views, bfloat16)
    try:
        with safetensors.safe_open(path, "pt") as file:
            if file.metadata() == {"key": key}:
                return file.get_tensor("features")
    except (FileNotFoundError, safetensors.SafetensorError):
        pass  # none yet, or cut off
    features = compute(network, examples, preprocessing, views, bfloat16)
    write_atomically(path, safetensors.torch.save({"features": features}, {"key": key}))
    return features


def _key(
    network: CaptionNetwork,
    examples: Sequence[Example],
    preprocessing: Preprocessing,
    views: int,
    bfloat16: bool,
) -> str:
    """Whatever changes the features changes this; pictures count by path, size and time of change."""
    digest = hashlib.sha256(msgspec.json.encode([preprocessing, views, bfloat16]))
    for name, tensor in network.encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for example in examples:
        status = example.path.stat()
        digest.update(f"{example.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
