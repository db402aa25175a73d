"""FCN on VGG-16 (Long, Shelhamer and Darrell 2015), as their reference implementation has it.

*Cited* below is the authors' repository, shelhamer/fcn.berkeleyvision.org: ``voc-fcn*/net.py`` and ``surgery.py``.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroiou_study.core.models.vgg import feature_layers, he_initialise, vgg16_blocks

Stride = Literal[8, 16, 32]

_PADDING = 100
"""Zeros around the image, so that any size leaves something for fc6. *Cited*: of the first convolution."""

_DROPOUT = 0.5
"""After fc6 and fc7. *Cited*."""

_SKIPS = ((8, 5), (4, 9))
"""Channels, in widths, of pool4 and pool3, and where their scores are cropped. *Cited*: the reference computes the
offsets with Caffe's ``coord_map``; they are those that keep a mirrored image's logits mirrored."""

_OFFSETS = {32: 19, 16: 27, 8: 31}
"""Where the logits are cropped. *Cited*, as above."""


class FCN(nn.Module):
    """Images ``(B, 3, H, W)`` → logits ``(B, num_classes, H, W)``; the paper's networks have ``width`` 64.

    ``stride`` 32 is FCN-32s; 16 and 8 add scores of pool4 and pool3. The finer ones are to be trained from VGG-16 in
    one go, without the reference's intermediate networks, and without the small factors on skip scores that its
    "at-once" variant has (*assumed*: they answer inputs of ±128, ours are about ±2).
    """

    def __init__(self, num_classes: int, stride: Stride = 8, width: int = 64) -> None:
        super().__init__()
        self.blocks = vgg16_blocks(width)
        self.head = nn.Sequential(
            *(nn.Conv2d(8 * width, 64 * width, 7), nn.ReLU(inplace=True), nn.Dropout(_DROPOUT)),
            *(nn.Conv2d(64 * width, 64 * width, 1), nn.ReLU(inplace=True), nn.Dropout(_DROPOUT)),
        )
        # VGG's own start is the file's; He's, where there is none, is assumed.
        he_initialise(self)
        self.score = _zero_score(64 * width, num_classes)
        self.skips = _SKIPS[: {32: 0, 16: 1, 8: 2}[stride]]
        self.skip_scores = nn.ModuleList(_zero_score(multiple * width, num_classes) for multiple, _ in self.skips)
        self.upscore2, self.upscore = Upscore(2), Upscore(stride)

    def forward(self, images: Tensor) -> Tensor:
        # The first convolution, which keeps the size, adds the last zero.
        pools = [F.pad(images, [_PADDING - 1] * 4)]
        for block in self.blocks:
            pools.append(F.max_pool2d(block(pools[-1]), 2, ceil_mode=True))  # Caffe rounds up
        scores: Tensor = self.score(self.head(pools.pop()))
        for skip_score, (_, offset) in zip(self.skip_scores, self.skips, strict=True):
            scores = self.upscore2(scores)
            scores = scores + _cropped(skip_score(pools.pop()), offset, scores)
        return _cropped(self.upscore(scores), _OFFSETS[self.upscore.factor], images)

    def vgg16_layers(self) -> dict[str, nn.Module]:
        """VGG-16's layers under torchvision's names; fc6 and fc7 are its first two connected ones."""
        return {**feature_layers(self.blocks), "classifier.0": self.head[0], "classifier.3": self.head[3]}


class Upscore(nn.Module):
    """Scores ``(B, C, H, W)`` → ``(B, C, factor (H + 1), factor (W + 1))``, interpolated bilinearly, class by class.

    A transposed convolution without bias whose kernel is fixed: the reference's learning rate for it is 0, and its
    README reports no difference to learned ones. *Cited*.
    """

    kernel: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        distances = (torch.arange(2 * factor) - (factor - 0.5)).abs()
        line = 1 - distances / factor
        self.register_buffer("kernel", line.outer(line), persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        num_classes = scores.shape[1]
        kernels = self.kernel.expand(num_classes, 1, -1, -1)
        return F.conv_transpose2d(scores, kernels, stride=self.factor, groups=num_classes)


def _zero_score(inputs: int, num_classes: int) -> nn.Conv2d:
    """A score layer that begins at 0. *Cited*: the paper, on optimisation; Caffe's filler where net.py names none."""
    layer = nn.Conv2d(inputs, num_classes, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _cropped(scores: Tensor, offset: int, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return scores[..., offset : offset + height, offset : offset + width]
