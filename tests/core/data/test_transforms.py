import numpy as np
import torch

from neuroiou_study.core.data.dataset import Sample
from neuroiou_study.core.data.transforms import flip_half, resize, to_tensors

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
LABELS = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6)


def test_tensors_are_channels_first_and_roughly_standardised() -> None:
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[1, 2] = [255, 51, 0]
    tensor, labels = to_tensors(Sample(image, np.full((2, 3), 255, dtype=np.uint8), "x"))
    assert tensor.shape == (3, 2, 3)
    torch.testing.assert_close(tensor[:, 1, 2], torch.tensor([2.0, -1.2, -2.0]))
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == [255]


def test_every_second_seed_mirrors_image_and_labels_together() -> None:
    sample = Sample(IMAGE, LABELS, "x")
    mirrored = 0
    for seed in range(200):
        image, labels, name = flip_half(sample, (seed, 1))
        is_mirrored = not np.array_equal(labels, LABELS)
        assert np.array_equal(labels, LABELS[:, ::-1] if is_mirrored else LABELS)
        assert np.array_equal(image, IMAGE[:, ::-1] if is_mirrored else IMAGE)
        assert name == "x"
        mirrored += is_mirrored
    assert 70 < mirrored < 130


def test_resize_averages_colours_and_keeps_labels_labels() -> None:
    labels = np.repeat(np.repeat(np.array([[0, 9], [255, 3]], dtype=np.uint8), 2, 0), 3, 1)
    image, small = resize(IMAGE, labels, 2, 2)
    assert small.tolist() == [[0, 9], [255, 3]]
    assert image.shape == (2, 2, 3)
    assert abs(float(image[0, 0, 0]) - IMAGE[:2, :3, 0].mean()) <= 0.5


def test_resize_to_the_same_size_changes_nothing() -> None:
    image, labels = resize(IMAGE, LABELS, 4, 6)
    assert np.array_equal(image, IMAGE)
    assert np.array_equal(labels, LABELS)
