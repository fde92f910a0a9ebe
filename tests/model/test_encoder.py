from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from model.captioner import Captioner
from model.checkpoint import load
from model.config import BUNDLED
from model.encoder import Bfloat16Encoder, MobileNetEdgeTPUEncoder, build_encoder, channels_last
from model.preprocessing import load_pixels
from training.pretrained import load_pretrained

WEIGHTS = Path(__file__).parents[3] / "shared/weights/mobilenet_edgetpu_1.0"
SAFETENSORS = WEIGHTS / "mobilenet_edgetpu_1.0.safetensors"


SAMPLES = Path(__file__).parents[2] / "service" / "static" / "samples"


@pytest.mark.skipif(not SAFETENSORS.exists(), reason=f"the published weights are not at {WEIGHTS}")
def test_edgetpu_equals_the_published_graph() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    encoder = build_encoder("mobilenet_edgetpu").eval()
    load_pretrained(encoder, "mobilenet_edgetpu", str(SAFETENSORS))
    with torch.inference_mode():
        expected = _run_graph(images)
        assert expected.shape == (2, 1280, 7, 7)
        torch.testing.assert_close(encoder(images), expected, rtol=0, atol=1e-3)
        torch.testing.assert_close(channels_last(encoder)(images), expected, rtol=0, atol=1e-3)


def _run_graph(images: Tensor) -> Tensor:
    """``layers.json`` word for word, up to the features before pooling."""
    tensors = safetensors.torch.load_file(SAFETENSORS)
    values = {"input": images}
    for layer in json.loads((WEIGHTS / "layers.json").read_text()):
        if layer["op"] == "add":
            values[layer["layer"]] = values[layer["input"][0]] + values[layer["input"][1]]
        elif layer["op"] == "conv" and not layer["layer"].startswith("Logits"):
            values[layer["layer"]] = _convolve(values[layer["input"]], layer, tensors)
    return values["Conv_1"]


def _convolve(value: Tensor, layer: dict, tensors: dict[str, Tensor]) -> Tensor:
    """TensorFlow's SAME convolution: of an odd padding, the greater part comes after."""
    kernel, stride = layer["kernel"], layer["stride"]
    size = value.shape[-1]
    padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before, after = padding // 2, padding - padding // 2
    value = functional.conv2d(
        functional.pad(value, (before, after, before, after)),
        tensors[layer["layer"] + ".weight"],
        tensors[layer["layer"] + ".bias"],
        stride=stride,
        groups=layer["groups"],
    )
    return value.relu() if layer["activation"] == "relu" else value


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 512), ("resnet50", 2048)])
def test_resnet_shapes(name: str, channels: int) -> None:
    encoder = build_encoder(name).eval()
    assert encoder.feature_size == channels
    with torch.inference_mode():
        assert encoder(torch.zeros(2, 3, 64, 96)).shape == (2, channels, 2, 3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_edgetpu"])
@pytest.mark.parametrize("parts", ["stages", "units"])
def test_parts_hold_every_parameter_once_and_in_order(name: str, parts: str) -> None:
    encoder = build_encoder(name).eval()
    modules = getattr(encoder, parts)()
    parameters = [p for module in modules for p in module.parameters()]
    assert [id(p) for p in parameters] == [id(p) for p in encoder.parameters()]
    images = torch.rand(1, 3, 64, 64)
    value = images
    with torch.inference_mode():
        for module in modules:
            value = module(value)
        torch.testing.assert_close(value, encoder(images))


def test_unknown_encoder_is_named() -> None:
    with pytest.raises(ValueError, match="unknown encoder 'vgg16'"):
        build_encoder("vgg16")


def test_edgetpu_has_no_activation_in_its_first_block() -> None:
    encoder = MobileNetEdgeTPUEncoder().eval()
    seen: list[Tensor] = []
    encoder.blocks[0].register_forward_hook(lambda module, given, result: seen.append(result))
    encoder(torch.rand(1, 3, 64, 64))
    assert (seen[0] < 0).any()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_edgetpu"])
def test_bfloat16_rounds_and_changes_nothing_else(name: str) -> None:
    encoder = build_encoder(name)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training: no mean is 0, no variance 1
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    encoder.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected, rounded = encoder(images), Bfloat16Encoder(encoder)(images)
    assert rounded.dtype == torch.float32
    error = (rounded - expected).norm() / expected.norm()
    assert 0 < error < 0.05


def test_bfloat16_leaves_batch_norm_its_values() -> None:
    encoder = load(BUNDLED).network.encoder
    before, after = (
        [module.running_var for module in each.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for each in (encoder, Bfloat16Encoder(encoder))
    )
    assert before
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_bundled_model_says_the_same_in_bfloat16() -> None:
    preprocessing = load(BUNDLED).config.preprocessing
    pixels = np.stack([load_pixels(path, preprocessing) for path in sorted(SAMPLES.iterdir())])
    exact, rounded = (
        Captioner.on_torch(load(BUNDLED), precision=precision).caption(pixels, [1] * len(pixels))
        for precision in ("float32", "bfloat16")
    )
    for one, other in zip(exact, rounded, strict=True):
        assert isinstance(one, list)
        assert isinstance(other, list)
        assert one[0].text == other[0].text
        assert one[0].log_probability != other[0].log_probability
