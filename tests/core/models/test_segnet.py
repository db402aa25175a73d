"""The reference is the authors' repository, alexgkendall/SegNet-Tutorial: ``Models/segnet_train.prototxt``."""

import pytest
import torch
from torch import nn

from neuroiou_study.core.models.segnet import SegNet

ENCODER = {
    "conv1_1": (3, 64),
    "conv1_2": (64, 64),
    "conv2_1": (64, 128),
    "conv2_2": (128, 128),
    "conv3_1": (128, 256),
    "conv3_2": (256, 256),
    "conv3_3": (256, 256),
    "conv4_1": (256, 512),
    "conv4_2": (512, 512),
    "conv4_3": (512, 512),
    "conv5_1": (512, 512),
    "conv5_2": (512, 512),
    "conv5_3": (512, 512),
}
DECODER = {
    "conv5_3_D": (512, 512),
    "conv5_2_D": (512, 512),
    "conv5_1_D": (512, 512),
    "conv4_3_D": (512, 512),
    "conv4_2_D": (512, 512),
    "conv4_1_D": (512, 256),
    "conv3_3_D": (256, 256),
    "conv3_2_D": (256, 256),
    "conv3_1_D": (256, 128),
    "conv2_2_D": (128, 128),
    "conv2_1_D": (128, 64),
    "conv1_2_D": (64, 64),
}
"""Inputs and outputs of the reference's 3 × 3 convolutions, each with a bias and a normalisation (scale and shift)."""


@pytest.mark.parametrize(("num_classes", "total"), [(11, 29_449_355), (21, 29_455_125)])
def test_the_network_has_the_reference_s_layers(num_classes: int, total: int) -> None:
    with torch.device("meta"):
        network = SegNet(num_classes)
    pairs = [*ENCODER.values(), *DECODER.values()]
    convs = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == [*pairs, (64, num_classes)]
    normalised = sum(inputs * outputs * 9 + outputs + 2 * outputs for inputs, outputs in pairs)
    assert normalised + 64 * num_classes * 9 + num_classes == total
    assert sum(parameter.numel() for parameter in network.parameters()) == total


@pytest.mark.parametrize("size", [(360, 480), (37, 50)])
def test_sizes_are_the_reference_s(size: tuple[int, int]) -> None:
    """Rounded up at each pooling (360 × 480: 23 × 30 before pool5), and the same way back."""
    network, seen = SegNet(2, width=1).eval(), []
    for block in (*network.encoder, *network.decoder):
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape[-2:])))
    network(torch.rand(1, 3, *size))
    sizes = [size]
    for _ in range(4):
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    assert size != (360, 480) or sizes[-1] == (23, 30)
    assert seen == sizes + sizes[::-1]


def test_a_maximum_returns_to_where_it_was() -> None:
    """One bright pixel, kept as it is by every convolution, comes out of five poolings at its place, alone."""
    network = SegNet(1, width=1).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            layer.weight.data[0, 0, 1, 1] = 1
    images = torch.zeros(1, 3, 37, 50)
    images[0, 0, 36, 13] = 1
    logits = network(images)[0, 0]
    assert logits.nonzero().tolist() == [[36, 13]]
    torch.testing.assert_close(logits[36, 13], torch.tensor(1.0), rtol=1e-3, atol=0)
