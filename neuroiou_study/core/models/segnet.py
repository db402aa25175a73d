"""SegNet (Badrinarayanan, Kendall and Cipolla 2017) on VGG-16 with batch normalisation.

*Cited* below is the authors' repository, alexgkendall/SegNet-Tutorial: ``Models/segnet_train.prototxt``.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from neuroiou_study.core.models.vgg import convolution, feature_layers, he_initialise, vgg16_blocks, vgg16_channels


class SegNet(nn.Module):
    """Images ``(B, 3, H, W)`` → logits ``(B, num_classes, H, W)``; the paper's SegNet has ``width`` 64.

    The decoder mirrors the encoder and puts each value back where the encoder's pooling took the maximum.
    Its normalisation sees the images of one worker: N workers are not quite one with N times the batch.
    """

    def __init__(self, num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.encoder = vgg16_blocks(width, batch_norm=True)
        first, *others = vgg16_channels(width)
        # Where the encoder's first convolution took the image, the decoder has its head.
        self.decoder = nn.ModuleList(_mirrored(pairs) for pairs in (*reversed(others), first[1:]))
        self.head = nn.Conv2d(width, num_classes, 3, padding=1)
        he_initialise(self)  # cited: Caffe's "msra" filler, everywhere

    def forward(self, images: Tensor) -> Tensor:
        hidden, pooled = images, []
        for block in self.encoder:
            hidden = block(hidden)
            size = hidden.shape[-2:]
            # Cited: Caffe's pooling rounds up, so that the last row of an odd image takes part.
            hidden, indices = F.max_pool2d(hidden, 2, ceil_mode=True, return_indices=True)
            pooled.append((indices, size))
        for block in self.decoder:
            indices, size = pooled.pop()
            hidden = block(F.max_unpool2d(hidden, indices, (2, 2), output_size=size))
        logits: Tensor = self.head(hidden)
        return logits

    def vgg16_layers(self) -> dict[str, nn.Module]:
        """VGG-16's layers under torchvision's names; the connected ones are not used."""
        return feature_layers(self.encoder)


def _mirrored(pairs: list[tuple[int, int]]) -> nn.Sequential:
    """The decoder's block for the encoder's block of ``pairs``."""
    turned = [(outputs, inputs) for inputs, outputs in reversed(pairs)]
    return nn.Sequential(*(layer for pair in turned for layer in convolution(*pair, batch_norm=True)))
