"""Pictures of a network's progress."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from neuroiou_study.core.data.dataset import Sample
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.stages.epoch_examples import (
    EPOCHS,
    WIDEST,
    example_epochs,
    example_positions,
    read_examples,
    write_examples,
)


@pytest.mark.parametrize(("epochs", "expected"), [(1, {1}), (3, {1, 2, 3}), (16, {2, 4, 6, 8, 10, 12, 14, 16})])
def test_few_epochs_are_looked_at_and_the_last_is_one(epochs: int, expected: set[int]) -> None:
    assert example_epochs(epochs) == expected
    assert all(max(example_epochs(n)) == n and len(example_epochs(n)) <= EPOCHS for n in range(1, 200))


@pytest.mark.parametrize(("num_images", "expected"), [(1, [0]), (2, [0, 1]), (73, [0, 36, 72])])
def test_the_images_are_always_the_same(num_images: int, expected: list[int]) -> None:
    assert example_positions(num_images) == expected


class Brightness(torch.nn.Module):
    """Class 1 where an image is brighter than its mean."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.mean(1) > images.mean()
        return torch.stack([~bright, bright], dim=1).float()


def test_what_is_written_is_what_the_network_says(tmp_path: Path) -> None:
    dataset = ShapesDataset("select", 5, 48, 64)
    for epoch in (1, 10):
        write_examples(Brightness(), dataset, epoch, tmp_path, torch.device("cpu"))
    found = read_examples(tmp_path)
    assert [(position, epoch) for position, epoch, _ in found] == [(0, 1), (0, 10), (2, 1), (2, 10), (4, 1), (4, 10)]
    sample = dataset.load(2)
    written = np.array(Image.open(found[2][2]))
    assert written.shape == sample.labels.shape and set(np.unique(written)) == {0, 1}
    bright = sample.image.mean(-1)
    assert bright[written == 1].mean() > bright[written == 0].mean()


def test_a_large_image_is_kept_small(tmp_path: Path) -> None:
    class Large(ShapesDataset):
        def load(self, index: int) -> Sample:
            pixels: NDArray[np.uint8] = np.zeros((600, 2 * WIDEST + 1, 3), dtype=np.uint8)
            return Sample(pixels, pixels[..., 0], "large")

    write_examples(Brightness(), Large("select", 1, 48, 64), 1, tmp_path, torch.device("cpu"))
    [(_, _, path)] = read_examples(tmp_path)
    assert Image.open(path).size == (171, 200)
