import numpy as np
import pytest
import torch

from neuroiou_study.core.data.dataset import Sample
from neuroiou_study.core.data.transforms import Augment, resize, to_tensors

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
LABELS = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6)
SAMPLE = Sample(IMAGE, LABELS, "x")
VOID = 255
EVERYTHING = Augment(scale=(0.5, 2.0), crop=(3, 7), colour=0.5)


def equal(first: Sample, second: Sample) -> bool:
    return np.array_equal(first.image, second.image) and np.array_equal(first.labels, second.labels)


def test_tensors_are_channels_first_and_roughly_standardised() -> None:
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[1, 2] = [255, 51, 0]
    tensor, labels = to_tensors(Sample(image, np.full((2, 3), 255, dtype=np.uint8), "x"))
    assert tensor.shape == (3, 2, 3)
    torch.testing.assert_close(tensor[:, 1, 2], torch.tensor([2.0, -1.2, -2.0]))
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == [255]


def test_every_second_seed_mirrors_image_and_labels_together() -> None:
    mirrored = 0
    for seed in range(200):
        image, labels, name = Augment()(SAMPLE, (seed, 1), VOID)
        is_mirrored = not np.array_equal(labels, LABELS)
        assert np.array_equal(labels, LABELS[:, ::-1] if is_mirrored else LABELS)
        assert np.array_equal(image, IMAGE[:, ::-1] if is_mirrored else IMAGE)
        assert name == "x"
        # Results of earlier versions are comparable as long as this is so.
        assert is_mirrored == (np.random.default_rng((seed, 1)).random() >= 0.5)
        mirrored += is_mirrored
    assert 70 < mirrored < 130


def test_without_any_option_a_sample_stays_as_it_is() -> None:
    for seed in range(20):
        assert equal(Augment(flip=False)(SAMPLE, (seed,), VOID), SAMPLE)


@pytest.mark.parametrize("augment", [Augment(), EVERYTHING, Augment(colour=1.0), Augment(crop=(3, 3))])
def test_a_seed_decides_what_is_done(augment: Augment) -> None:
    results = [augment(SAMPLE, (seed, 2), VOID) for seed in range(20)]
    assert all(equal(augment(SAMPLE, (seed, 2), VOID), result) for seed, result in enumerate(results))
    assert not all(equal(result, results[0]) for result in results)


def test_the_stored_sample_is_not_written_to() -> None:
    sample = Sample(IMAGE.copy(), LABELS.copy(), "x")
    for seed in range(20):
        image, labels, _ = EVERYTHING(sample, (seed,), VOID)
        image[:], labels[:] = 0, 0
    assert equal(sample, SAMPLE)


def test_a_crop_is_a_part_of_image_and_labels_anywhere_in_it() -> None:
    places = set()
    for seed in range(300):
        image, labels, _ = Augment(flip=False, crop=(3, 4))(SAMPLE, (seed,), VOID)
        row, column = divmod(int(labels[0, 0]), 6)
        assert np.array_equal(labels, LABELS[row : row + 3, column : column + 4])
        assert np.array_equal(image, IMAGE[row : row + 3, column : column + 4])
        places.add((row, column))
    assert places == {(row, column) for row in range(2) for column in range(3)}


def test_a_smaller_image_lies_anywhere_in_void() -> None:
    places = set()
    for seed in range(300):
        sample = Augment(flip=False, crop=(5, 8))(SAMPLE, (seed,), VOID)
        row, column = (int(place) for place in np.argwhere(sample.labels != VOID)[0])
        inside = np.s_[row : row + 4, column : column + 6]
        assert np.array_equal(sample.labels[inside], LABELS)
        assert np.array_equal(sample.image[inside], IMAGE)
        assert (sample.labels == VOID).sum() == 40 - 24
        padding = to_tensors(sample)[0][:, torch.from_numpy(sample.labels == VOID)]
        assert padding.abs().max() < 0.01
        places.add((row, column))
    assert places == {(row, column) for row in range(2) for column in range(3)}


def test_one_side_may_be_cut_and_the_other_padded() -> None:
    image, labels, _ = Augment(flip=False, crop=(3, 7))(SAMPLE, (0,), VOID)
    assert image.shape == (3, 7, 3)
    assert (labels != VOID).sum() == 3 * 6


def test_scale_resizes_between_its_ends_and_moves_labels_with_the_image() -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[10:30, 30:] = 200
    labels = (image[..., 0] // 100).astype(np.uint8)
    heights = set()
    for seed in range(100):
        scaled = Augment(scale=(0.5, 2.0))(Sample(image, labels, "x"), (seed,), VOID)
        height, width = scaled.labels.shape
        assert abs(width / height - 1.5) < 0.1
        assert set(np.unique(scaled.labels)) == {0, 2}
        # Nearest neighbour and bilinear disagree at the edge only.
        assert ((scaled.image[..., 0] > 100) != (scaled.labels == 2)).mean() < 0.06
        heights.add(height)
    assert 20 <= min(heights) < 24
    assert 76 < max(heights) <= 80


def test_a_fixed_scale_has_one_size_and_keeps_shares() -> None:
    labels = np.repeat(np.repeat(LABELS, 4, 0), 4, 1)
    image = np.repeat(np.repeat(IMAGE, 4, 0), 4, 1)
    scaled = Augment(flip=False, scale=(0.25, 0.25))(Sample(image, labels, "x"), (0,), VOID)
    assert np.array_equal(scaled.labels, LABELS)


def test_colour_changes_the_image_within_its_strength_and_labels_not_at_all() -> None:
    grey = np.full((4, 6, 3), 100, dtype=np.uint8)
    values = []
    for seed in range(200):
        image, labels, _ = Augment(flip=False, colour=0.4)(Sample(grey, LABELS, "x"), (seed,), VOID)
        assert np.array_equal(labels, LABELS)
        assert len(np.unique(image)) == 1
        values.append(int(image[0, 0, 0]))
    # Contrast and saturation do not move an even grey: what is left is brightness.
    assert 60 <= min(values) < 65
    assert 135 < max(values) <= 140


def test_colour_changes_contrast_and_saturation_too() -> None:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    image[:, :2], image[:, 2:4], image[:, 4:] = 60, 140, (130, 90, 90)
    contrasts, saturations = [], []
    for seed in range(200):
        varied = Augment(flip=False, colour=0.4)(Sample(image, LABELS, "x"), (seed,), VOID).image.astype(float)
        dark, light, coloured = varied[0, 0, 0], varied[0, 2, 0], varied[0, 4]
        # Brightness keeps the first ratio, brightness and contrast the second.
        contrasts.append(light / dark)
        saturations.append((coloured[0] - coloured[1]) / (light - dark))
    assert min(contrasts) < 1.7 < 140 / 60 < 3.3 < max(contrasts)
    assert min(saturations) == pytest.approx(0.5 * 0.6, abs=0.05)
    assert max(saturations) == pytest.approx(0.5 * 1.4, abs=0.05)


def test_an_option_leaves_the_random_numbers_of_the_others_as_they_are() -> None:
    for seed in range(20):
        coloured = Augment(crop=(3, 4), colour=0.5)(SAMPLE, (seed,), VOID)
        assert np.array_equal(coloured.labels, Augment(crop=(3, 4))(SAMPLE, (seed,), VOID).labels)
        unflipped = Augment(flip=False, crop=(3, 6))(SAMPLE, (seed,), VOID).labels
        flipped = Augment(crop=(3, 6))(SAMPLE, (seed,), VOID).labels
        assert np.array_equal(np.sort(flipped), np.sort(unflipped))


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
