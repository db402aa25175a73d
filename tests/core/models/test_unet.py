import pytest
import torch

from neuroiou_study.core.losses import CrossEntropyLoss
from neuroiou_study.core.models.unet import UNet


def _unet(num_classes: int = 5, width: int = 4, levels: int = 3) -> UNet:
    torch.manual_seed(0)
    return UNet(num_classes, width, levels)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (17, 23), (1, 1), (3, 40), (8, 9)])
def test_logits_have_the_size_of_the_images(height: int, width: int) -> None:
    logits = _unet()(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 5, height, width)


def test_an_odd_image_is_continued_at_the_right_and_the_bottom() -> None:
    network, images = _unet(levels=2), torch.rand(1, 3, 7, 10)
    rows, columns = torch.arange(8).clamp(max=6), torch.arange(12).clamp(max=9)
    continued = images[:, :, rows][..., columns]
    torch.testing.assert_close(network(images), network(continued)[..., :7, :10])


def test_backward_reaches_every_parameter() -> None:
    network = _unet()
    network(torch.rand(2, 3, 17, 23)).square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_one_step_lowers_the_loss() -> None:
    network, loss_fn = _unet(), CrossEntropyLoss()
    images, labels = torch.rand(2, 3, 16, 16), torch.randint(5, (2, 16, 16))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        losses.append(loss_fn(network(images), labels))
        losses[-1].backward()
        optimizer.step()
    assert float(losses[1].detach()) < float(losses[0].detach())


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    network, images = _unet().train(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(network(images)[:1], network(images[:1]))


def test_each_level_doubles_the_channels() -> None:
    network = UNet(2, width=8, levels=3)
    assert [stage[0].out_channels for stage in network.down] == [16, 32, 64]  # type: ignore[index]


def test_a_width_that_cannot_be_normalised_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.width: 6: a multiple of 4"):
        UNet(2, width=6)
