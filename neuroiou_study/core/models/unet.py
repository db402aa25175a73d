"""U-Net (Ronneberger et al. 2015) with a width factor, for images of any size."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GROUPS = 4
"""Group normalisation, where the original has none: batch statistics make N workers differ from one. *Assumed*."""


class UNet(nn.Module):
    """Images ``(B, 3, H, W)`` → logits ``(B, num_classes, H, W)``; the paper's U-Net has ``width`` 64, ``levels`` 4.

    Each level halves the resolution and doubles the channels. ``width`` must be a multiple of 4.
    """

    def __init__(self, num_classes: int, width: int = 16, levels: int = 4) -> None:
        super().__init__()
        if width % _GROUPS:
            raise ValueError(f"model.width: {width}: a multiple of {_GROUPS}: round it")
        channels = [width * 2**level for level in range(levels + 1)]
        self.levels = levels
        self.stem = _double_conv(3, width)
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(_double_conv(shallow, deep) for shallow, deep in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in reversed(pairs))
        self.merge = nn.ModuleList(_double_conv(2 * shallow, shallow) for shallow, _ in reversed(pairs))
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        features = [self.stem(_padded(images, 2**self.levels))]
        for down in self.down:
            features.append(down(F.max_pool2d(features[-1], 2)))
        hidden = features.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            hidden = merge(torch.cat([features.pop(), up(hidden)], dim=1))
        logits: Tensor = self.head(hidden)
        return logits[..., :height, :width]


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_conv(inputs, outputs), *_conv(outputs, outputs))


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, outputs), nn.ReLU(inplace=True)]


def _padded(images: Tensor, multiple: int) -> Tensor:
    """``images`` continued at the right and the bottom until both sides are multiples of ``multiple``."""
    height, width = images.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images
