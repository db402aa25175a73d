import numpy as np
import pytest

from neuroiou_study.core.data.shapes import ShapesDataset


def test_a_seed_decides_the_pixels() -> None:
    first, again, other = (ShapesDataset("train", 3, 24, 32, seed).load(1) for seed in (0, 0, 1))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


def test_the_pixels_do_not_depend_on_the_number_of_images() -> None:
    few, many = ShapesDataset("val", 2, 24, 32).load(1), ShapesDataset("val", 50, 24, 32).load(1)
    assert np.array_equal(few.image, many.image)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (17, 90)])
def test_images_have_the_size_asked_for(height: int, width: int) -> None:
    assert ShapesDataset("train", 1, height, width).load(0).image.shape == (height, width, 3)


def test_every_class_occurs_and_poles_and_dots_are_rare() -> None:
    dataset = ShapesDataset("train", 96, 48, 64)
    pixels = dataset.pixels_per_class().sum(0)[:-1]
    share = pixels / pixels.sum()
    assert float(share[:4].min()) > 0.03
    assert 0.003 < float(share[4:].min()) <= float(share[4:].max()) < 0.02


def test_objects_have_a_void_border() -> None:
    labels = ShapesDataset("train", 1, 48, 64).load(0).labels
    objects = (labels != 0) & (labels != 255)
    inside = np.pad(objects, 1)
    above, below, left, right = inside[:-2, 1:-1], inside[2:, 1:-1], inside[1:-1, :-2], inside[1:-1, 2:]
    beside_an_object = (above | below | left | right) & ~objects
    assert objects.any()
    assert beside_an_object.any()
    assert (labels[beside_an_object] == 255).all()
