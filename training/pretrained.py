"""Weights that someone else trained, into an encoder of ours."""

from __future__ import annotations

import pickle
from http.client import HTTPException
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from model.encoder import MobileNetEdgeTPUEncoder, ResNetEncoder
from training.errors import TrainingError


def load_pretrained(encoder: ResNetEncoder | MobileNetEdgeTPUEncoder, name: str, weights: str) -> None:
    """Fill an encoder.

    :param name: the encoder's name, as :func:`model.encoder.build_encoder` takes it
    :param weights: path of a ``.safetensors`` file; for a ResNet also a name of torchvision's
        (``IMAGENET1K_V2``), which is downloaded unless it is in torch's cache
    :raises TrainingError: no such file or name, or it holds another network
    """
    if weights.endswith(".safetensors"):
        tensors = _read(Path(weights))
    elif isinstance(encoder, ResNetEncoder):
        try:
            tensors = torchvision.models.get_model_weights(name)[weights].get_state_dict(check_hash=True)
        except KeyError:
            raise TrainingError(f"torchvision has no weights {weights!r} for {name}") from None
        except (
            OSError,
            HTTPException,
            RuntimeError,
            pickle.UnpicklingError,
        ) as error:  # or cut off, or altered
            raise TrainingError(f"the weights {weights} of {name} cannot be downloaded: {error}") from None
    else:
        raise TrainingError(f"encoder weights for {name} must be a .safetensors file, not {weights!r}")
    try:
        if isinstance(encoder, ResNetEncoder):
            load_resnet(encoder, name, tensors)
        else:
            load_edgetpu(encoder, tensors)
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrainingError(f"{weights} does not hold the weights of {name}: {error}") from None


def load_resnet(encoder: ResNetEncoder, name: str, tensors: dict[str, Tensor]) -> None:
    """Torchvision's own tensor names, classifier included, into a :class:`ResNetEncoder`."""
    resnet = torchvision.models.get_model(name, weights=None)
    resnet.load_state_dict(tensors)
    trunk = nn.Sequential(*list(resnet.children())[:-2])
    encoder.resnet.load_state_dict(trunk.state_dict())


@torch.no_grad()
def load_edgetpu(encoder: MobileNetEdgeTPUEncoder, tensors: dict[str, Tensor]) -> None:
    """TensorFlow's layer names, with BatchNorm folded in, into a :class:`MobileNetEdgeTPUEncoder`.

    Each BatchNorm stays as an identity that carries the folded bias: running mean 0, variance 1, and
    weight sqrt(1 + eps), which undoes its division.
    """
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    for layer, convolution, norm in zip(_edgetpu_layers(), convolutions, norms, strict=True):
        weight, bias = tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
        if weight.shape != convolution.weight.shape:
            raise ValueError(f"{layer} has shape {list(weight.shape)}")
        convolution.weight.copy_(weight)
        norm.bias.copy_(bias)
        norm.weight.fill_((1 + norm.eps) ** 0.5)


def _edgetpu_layers() -> list[str]:
    """TensorFlow's names of the 58 convolutions, in the order in which the picture meets them."""
    names = ["Conv", "expanded_conv/project"]
    for block in range(1, 9):  # fused blocks: one full convolution in place of expand and depthwise
        names += [f"expanded_conv_{block}/{part}" for part in ("expand", "project")]
    for block in range(9, 22):
        names += [f"expanded_conv_{block}/{part}" for part in ("expand", "depthwise", "project")]
    return [*names, "Conv_1"]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise TrainingError(f"the encoder weights {path} are missing") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(f"the encoder weights {path} cannot be read: {error}") from None
