"""The reference is the authors' repository, shelhamer/fcn.berkeleyvision.org: ``voc-fcn{32,16,8}s/net.py``."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from neuroiou_study.core.models.fcn import FCN, Stride, Upscore

STRIDES: tuple[Stride, ...] = (32, 16, 8)

LEARNED = {
    32: {
        "conv1_1": (3, 64, 3),
        "conv1_2": (64, 64, 3),
        "conv2_1": (64, 128, 3),
        "conv2_2": (128, 128, 3),
        "conv3_1": (128, 256, 3),
        "conv3_2": (256, 256, 3),
        "conv3_3": (256, 256, 3),
        "conv4_1": (256, 512, 3),
        "conv4_2": (512, 512, 3),
        "conv4_3": (512, 512, 3),
        "conv5_1": (512, 512, 3),
        "conv5_2": (512, 512, 3),
        "conv5_3": (512, 512, 3),
        "fc6": (512, 4096, 7),
        "fc7": (4096, 4096, 1),
        "score_fr": (4096, 21, 1),
    },
    16: {"score_pool4": (512, 21, 1)},
    8: {"score_pool3": (256, 21, 1)},
}
"""Inputs, outputs and kernel of the reference's layers with a learning rate, each with a bias; 16s and 8s add theirs.

The upscore layers are not in it: they have no bias, and learning rate 0.
"""


def _fcn(stride: Stride, width: int = 2, seed: int = 0) -> FCN:
    """A network in evaluation whose scores are not 0."""
    torch.manual_seed(seed)
    network = FCN(3, stride, width).eval()
    for score in (network.score, *network.skip_scores):
        nn.init.normal_(score.weight)
        nn.init.normal_(score.bias)
    return network


@pytest.mark.parametrize(("stride", "total"), [(32, 134_346_581), (16, 134_357_354), (8, 134_362_751)])
def test_the_network_has_as_many_weights_as_the_reference_learns(stride: Stride, total: int) -> None:
    with torch.device("meta"):
        network = FCN(21, stride)
    tables = [table for of, table in LEARNED.items() if of >= stride]
    layers = [layer for table in tables for layer in table.values()]
    assert sum(inputs * outputs * kernel**2 + outputs for inputs, outputs, kernel in layers) == total
    assert sum(parameter.numel() for parameter in network.parameters()) == total


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(26, 58), (58, 26)])
def test_a_mirrored_image_has_mirrored_logits(stride: Stride, size: tuple[int, int]) -> None:
    """Only with the reference's offsets: each crop must leave as much on both sides, or one more on the far one.

    With padding, these sizes are multiples of 32, so that pooling has no side either.
    """
    network = _fcn(stride)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = (
                layer.weight + layer.weight.flip(2) + layer.weight.flip(3) + layer.weight.flip(2, 3)
            ) / 2
    images = torch.randn(1, 3, *size)
    logits = network(images)
    assert logits.std() > 0.01
    torch.testing.assert_close(network(images.flip(2)), logits.flip(2), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(network(images.flip(3)), logits.flip(3), rtol=1e-3, atol=1e-4)


def test_pooling_rounds_up() -> None:
    """27 + 198 = 225 pixels: 113, 57, 29, 15 and 8 after the poolings, and 2 after fc6; rounded down, 7 and 1."""
    network, seen = _fcn(32), []
    network.head.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[-2:]))
    network(torch.rand(1, 3, 26, 27))
    assert seen == [(1, 2)]


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_upscore_is_bilinear_interpolation(factor: int) -> None:
    scores = torch.randn(2, 3, 4, 5)
    interpolated = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    half = factor // 2
    inner = Upscore(factor)(scores)[..., half:-half, half:-half]
    # At the border the one continues with zeros and the other with the last value.
    torch.testing.assert_close(inner[..., half:-half, half:-half], interpolated[..., half:-half, half:-half])


def test_skip_scores_are_added_where_they_are() -> None:
    """Logits are sums of each source's, which is why the coarse network is a special case of the fine one."""
    fine, coarse = _fcn(8), _fcn(32)
    coarse.load_state_dict(fine.state_dict(), strict=False)
    images = torch.randn(1, 3, 40, 40)
    alone = [_only(fine, source, images) for source in range(3)]
    torch.testing.assert_close(fine(images), sum(alone[1:], alone[0]), rtol=1e-4, atol=1e-5)
    assert all(logits.std() > 0.01 for logits in alone)


def _only(network: FCN, source: int, images: Tensor) -> Tensor:
    """The logits with the scores of one of score, pool4 and pool3 only."""
    kept = (network.score, *network.skip_scores)[source]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for score in (network.score, *network.skip_scores):
        for parameter in score.parameters():
            parameter.data *= float(score is kept)
    logits: Tensor = network(images)
    network.load_state_dict(state)
    return logits


@pytest.mark.parametrize("stride", STRIDES)
def test_scores_begin_at_zero(stride: Stride) -> None:
    assert not FCN(3, stride, width=1)(torch.rand(1, 3, 20, 20)).any()


def test_dropout_is_for_training_only() -> None:
    network, images = _fcn(8, width=4), torch.randn(1, 3, 20, 20)
    torch.testing.assert_close(network(images), network(images))
    network.train()
    assert (network(images) - network(images)).abs().max() > 1e-3


def test_a_saved_network_is_the_same(tmp_path: Path) -> None:
    network, other, images = _fcn(8), _fcn(8, seed=1), torch.randn(1, 3, 20, 20)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other(images), network(images))
