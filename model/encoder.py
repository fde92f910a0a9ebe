"""The CNN encoders, picture → feature map: any torchvision ResNet by name, and MobileNet-EdgeTPU.

torchvision and timm take two seconds to import, so only who builds an encoder of theirs imports them.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.utils.fusion import fuse_conv_bn_weights

MOBILENET_EDGETPU = "mobilenet_edgetpu"


class ResNetEncoder(nn.Module):
    """A torchvision ResNet (He et al. 2015) without its classifier: [B, 3, S, S] → [B, C, S/32, S/32]."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import torchvision

        resnet = torchvision.models.get_model(name, weights=None)
        self.feature_size: int = resnet.fc.in_features
        self.resnet = nn.Sequential(*list(resnet.children())[:-2])

    def forward(self, images: Tensor) -> Tensor:
        return self.resnet(images)

    def stages(self) -> list[nn.Module]:
        """Parts in order from the picture to the features, for training that releases the last ones first."""
        return [self.resnet[:4], *list(self.resnet)[4:]]

    def units(self) -> list[nn.Module]:
        """The same in the smallest parts that nothing goes around."""
        return [self.resnet[:4], *(block for stage in list(self.resnet)[4:] for block in stage.children())]


class MobileNetEdgeTPUEncoder(nn.Module):
    """MobileNet-EdgeTPU 1.0 (Howard, Gupta 2019): [B, 3, S, S] → [B, 1280, S/32, S/32]."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        # "same": TensorFlow pads after the picture first, which moves every stride-2 grid.
        net: Any = timm.create_model("mobilenet_edgetpu_100", pad_type="same", act_layer=nn.ReLU)
        # The published network has no activation inside its first block; timm's has one there.
        net.blocks[0][0].bn1.act = nn.Identity()
        self.feature_size: int = net.num_features
        self.stem = nn.Sequential(net.conv_stem, net.bn1)
        self.blocks = net.blocks
        self.head = nn.Sequential(net.conv_head, net.bn2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)))

    def stages(self) -> list[nn.Module]:
        """Parts in order from the picture to the features, for training that releases the last ones first."""
        return [self.stem, *self.blocks, self.head]

    def units(self) -> list[nn.Module]:
        """The same in the smallest parts that nothing goes around."""
        return [self.stem, *(block for stage in self.blocks for block in stage), self.head]


def build_encoder(name: str) -> ResNetEncoder | MobileNetEdgeTPUEncoder:
    """An encoder with random weights.

    :raises ValueError: ``name`` is neither ``mobilenet_edgetpu`` nor a torchvision ResNet
    """
    if name == MOBILENET_EDGETPU:
        return MobileNetEdgeTPUEncoder()
    import torchvision

    known = torchvision.models.list_models(
        torchvision.models, include=["resnet*", "resnext*", "wide_resnet*"]
    )
    if name not in known:
        raise ValueError(f"unknown encoder {name!r}; known: {MOBILENET_EDGETPU}, {', '.join(known)}")
    return ResNetEncoder(name)


@torch.no_grad()
def to_bfloat16_values(encoder: ResNetEncoder | MobileNetEdgeTPUEncoder) -> None:
    """Fold each BatchNorm into the convolution before it and round weights and biases to values that bfloat16
    has: who computes in bfloat16 then has exactly these.

    A BatchNorm stays as an identity that carries the bias: mean 0, variance 1 - eps, weight 1.

    :param encoder: changed in place; it is one for inference then
    """
    convolution: nn.Conv2d | None = None
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            assert convolution is None, "a convolution without BatchNorm"
            assert module.bias is None
            convolution = module
        elif isinstance(module, nn.BatchNorm2d):
            assert convolution is not None
            assert module.running_mean is not None
            assert module.running_var is not None
            weight, bias = fuse_conv_bn_weights(
                convolution.weight,
                None,
                module.running_mean,
                module.running_var,
                module.eps,
                module.weight,
                module.bias,
            )
            convolution.weight.copy_(weight.bfloat16())
            module.bias.copy_(bias.bfloat16())
            module.weight.fill_(1.0)
            module.running_mean.zero_()
            module.running_var.fill_(1.0 - module.eps)
            convolution = None


def convolutions_to_bfloat16(encoder: nn.Module) -> None:
    """In place. BatchNorm stays in float32: an identity's variance, 1 - eps, is no bfloat16."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.bfloat16()


class Bfloat16Encoder(nn.Module):
    """An encoder for inference that computes in bfloat16: float images [B, 3, S, S] → a float feature map.

    BatchNorm is folded into a ResNet's convolutions; elsewhere it stays in float32.
    """

    def __init__(self, encoder: ResNetEncoder | MobileNetEdgeTPUEncoder) -> None:
        super().__init__()
        encoder = copy.deepcopy(encoder).eval()
        if isinstance(encoder, ResNetEncoder):
            encoder.resnet = nn.Sequential(fuse(encoder.resnet))
        convolutions_to_bfloat16(encoder)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images.to(torch.bfloat16)).float()


def channels_last(module: nn.Module) -> nn.Module:
    """Lay 4-d weights out as NHWC, which convolutions run fastest on; values do not change."""
    return module.to(memory_format=torch.channels_last)
