"""What a network makes of a few images of ``select`` while it is fine-tuned, kept to be looked at epoch by epoch."""

from pathlib import Path

import torch
from PIL import Image
from torch import nn

from neuroiou_study.core.counts import predictions
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.transforms import to_tensors
from neuroiou_study.stages.files import write_whole

EPOCHS = 8
"""So many at most, the last among them; *assumed*."""
WIDEST = 256
"""Pixels; of a wider image every second, third, … row and column is kept; *assumed*."""
FILE = "example-{position:06d}-{epoch:06d}.png"
FILES = "example-*.png"


def example_positions(num_images: int) -> list[int]:
    """The images that are looked at: the first, the middle and the last, each once."""
    return sorted({0, num_images // 2, num_images - 1})


def example_epochs(epochs: int) -> set[int]:
    """The epochs that are looked at, evenly spaced."""
    return {-(-epochs * each // EPOCHS) for each in range(1, EPOCHS + 1)}


def step(width: int) -> int:
    """Every how many-th row and column of an image that is so wide is kept."""
    return -(-width // WIDEST)


@torch.no_grad()
def write_examples(
    model: nn.Module, dataset: SegmentationDataset, epoch: int, output: Path, device: torch.device
) -> None:
    """Leave a PNG of class numbers ``(H, W)`` in ``output`` for each of the images of ``dataset``."""
    model.eval()
    for position in example_positions(len(dataset)):
        logits = model(to_tensors(dataset.load(position))[0].unsqueeze(0).to(device))
        classes = predictions(logits)[0].to(torch.uint8).cpu().numpy()
        stride = step(classes.shape[1])
        image = Image.fromarray(classes[::stride, ::stride].copy())
        path = output / FILE.format(position=position, epoch=epoch)
        write_whole(path, lambda temporary, image=image: image.save(temporary, "PNG"))  # type: ignore[misc]


def read_examples(folder: Path) -> list[tuple[int, int, Path]]:
    """Position, epoch and file of each picture in ``folder``, in order; none of a network of an older version."""
    paths = sorted(folder.glob(FILES))
    return [(*map(int, path.stem.split("-")[1:]), path) for path in paths]  # type: ignore[misc]
