"""What every network promises, at a width that a small machine takes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neuroiou_study.core.models.fcn import FCN
from neuroiou_study.core.models.segnet import SegNet
from neuroiou_study.core.models.unet import UNet

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: UNet(5, width=4, levels=2),
    "fcn32s": lambda: FCN(5, 32, width=2),
    "fcn16s": lambda: FCN(5, 16, width=2),
    "fcn8s": lambda: FCN(5, 8, width=2),
    "segnet": lambda: SegNet(5, width=2),
}


@pytest.fixture(params=NETWORKS)
def make(request: pytest.FixtureRequest) -> Callable[[int], nn.Module]:
    """A function from a seed to a network."""

    def seeded(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return NETWORKS[request.param]()

    return seeded


Make = Callable[[int], nn.Module]


def _step(network: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """One step on an image of two halves and its mirror image; returns the loss before it."""
    left = (torch.arange(96) // 48).expand(40, 96)
    labels = torch.stack([left, 1 - left])
    images = F.one_hot(labels, 3).float().movedim(-1, 1) * 4 - 1
    optimizer.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("size", [(32, 64), (17, 23), (1, 1), (3, 70), (33, 32)])
def test_logits_have_the_size_of_the_images(make: Make, size: tuple[int, int]) -> None:
    logits = make(0).eval()(torch.rand(2, 3, *size))
    assert logits.shape == (2, 5, *size)
    assert logits.isfinite().all()


def test_the_seed_decides_the_weights(make: Make) -> None:
    one, same, other = (make(seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_gradients_reach_every_parameter(make: Make) -> None:
    """After two steps: FCN's scores begin at 0, and pass nothing on before they have moved."""
    network = make(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(3):
        _step(network, optimizer)
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_some_steps_lower_the_loss(make: Make) -> None:
    network = make(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = [_step(network, optimizer) for _ in range(24)]
    assert losses[-1] < 0.8 * losses[0]


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(make: Make) -> None:
    network, images = make(0), torch.randn(3, 3, 20, 24)
    _step(network, torch.optim.Adam(network.parameters(), lr=3e-3))
    network.eval()
    torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-5)
