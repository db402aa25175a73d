"""What torchvision's files of VGG-16 hold, written down from torchvision and not from the code under test."""

import torch
from torch import Tensor

CHANNELS = [1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8]
"""Of the convolutions, in widths of 64."""
CONVOLUTIONS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
"""Their numbers in vgg16 …"""
BN_CONVOLUTIONS = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
"""… and in vgg16_bn, …"""
BN_NORMS = [1, 4, 8, 11, 15, 18, 21, 25, 28, 31, 35, 38, 41]
"""… where each has a normalisation after it."""


def vgg16_tensors(batch_norm: bool = False, width: int = 2) -> dict[str, Tensor]:
    """The tensors of vgg16 or vgg16_bn with ``width`` for 64, random, but so that activations stay about 1."""
    torch.manual_seed(0)
    outputs = [multiple * width for multiple in CHANNELS]
    tensors: dict[str, Tensor] = {}
    numbers = BN_CONVOLUTIONS if batch_norm else CONVOLUTIONS
    for number, inputs, channels in zip(numbers, [3, *outputs[:-1]], outputs, strict=True):
        tensors |= _layer(f"features.{number}", channels, inputs, 3, 3)
    for number, channels in zip(BN_NORMS if batch_norm else [], outputs, strict=batch_norm):
        tensors |= {f"features.{number}.{key}": 0.5 + torch.rand(channels) for key in ("weight", "running_var")}
        tensors |= {f"features.{number}.{key}": torch.rand(channels) - 0.5 for key in ("bias", "running_mean")}
    tensors |= _layer("classifier.0", 64 * width, 8 * width * 7 * 7)
    tensors |= _layer("classifier.3", 64 * width, 64 * width)
    return tensors | _layer("classifier.6", 10, 64 * width)


def _layer(name: str, *shape: int) -> dict[str, Tensor]:
    fan_in = torch.Size(shape[1:]).numel()
    return {
        f"{name}.weight": torch.randn(shape) * (2 / fan_in) ** 0.5,
        f"{name}.bias": 0.2 * torch.rand(shape[0]),
    }
