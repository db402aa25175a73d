"""A fine-tuning step with NeuroIoU over the same step with cross-entropy; on a GPU with half precision too."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuroiou_study.core.data.loading import Batch
from neuroiou_study.core.losses import CrossEntropyLoss
from neuroiou_study.core.models.fcn import FCN
from neuroiou_study.core.models.unet import UNet
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.training import Precision, train_epoch
from tests.benchmarks.figures import Figure, in_turns
from tests.benchmarks.loss import steep_surrogate


class Case(NamedTuple):
    """A network and the batch of one step."""

    name: str
    network: Callable[[], nn.Module]
    size: tuple[int, int, int]  # images, height, width
    classes: int


def measure(quick: bool) -> Iterator[Figure]:
    """U-Net and FCN-8s; one thread of the CPU, or the GPU."""
    torch.set_num_threads(1)
    on_gpu = torch.cuda.is_available()
    unet = Case("U-Net 32, 11 classes", lambda: UNet(11, width=32, levels=4), (8, 96, 128), 11)
    fcn = Case("FCN-8s, 21 classes", lambda: FCN(21, 8), (1, 128, 128), 21)
    if on_gpu:
        unet, fcn = unet._replace(size=(8, 360, 480)), fcn._replace(size=(4, 384, 512))
    for case, rounds in ((unet, 5 if quick else 15), (fcn, 2 if quick else 15)):
        for precision in ("float32", "bfloat16") if on_gpu else ("float32",):
            yield from _of_case(case, precision, rounds)


def _of_case(case: Case, precision: Precision, rounds: int) -> Iterator[Figure]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = case.network().to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    batch = _batch(case, device)
    losses: dict[str, SegmentationLoss] = {
        "cross-entropy": CrossEntropyLoss(),
        "NeuroIoU": NeuroIoULoss(steep_surrogate().to(device)),
    }

    def step(name: str) -> Callable[[], object]:
        return lambda: train_epoch(network, [batch], losses[name], optimizer, device, precision=precision)

    seconds = in_turns({name: step(name) for name in losses}, rounds, warm_up=2)
    images, height, width = case.size
    label = f"{case.name}, {images}×{height}×{width}" + ("" if precision == "float32" else f", {precision}")
    yield Figure(label, "step with cross-entropy, milliseconds", 1e3 * seconds["cross-entropy"], "ms")
    yield Figure(
        label, "step with NeuroIoU ÷ with cross-entropy", seconds["NeuroIoU"] / seconds["cross-entropy"], at_most=1.03
    )


def _batch(case: Case, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images, height, width = case.size
    pictures = torch.randn(images, 3, height, width, generator=generator)
    labels: Tensor = torch.randint(case.classes, (images, height, width), generator=generator)
    return Batch(pictures.to(device), labels.to(device), torch.arange(images), tuple(map(str, range(images))))
