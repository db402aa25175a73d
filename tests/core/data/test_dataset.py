"""Counting over a split, and the check of labels. What every data set promises is in test_contract."""

import numpy as np
import pytest
import torch

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset, Summary, check_labels
from tests.core.data.made import noise

LABELS = ([[0, 0, 1], [2, 9, 9]], [[0, 1, 1], [1, 1, 9]], [[0, 0], [0, 0]])


class Listed(SegmentationDataset):
    """The labels given."""

    class_names = ("a", "b", "c", "d")
    ignore_index = 9

    def __init__(self, *labels: list[list[int]]) -> None:
        self.labels = [np.array(rows, dtype=np.uint8) for rows in labels]
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int) -> Sample:
        self.loaded.append(index)
        return Sample(noise(index), self.labels[index], f"{index}.png")


def test_pixels_are_counted_by_image_and_class_with_void_last() -> None:
    pixels = Listed(*LABELS).pixels_per_class()
    assert pixels.tolist() == [[2, 1, 1, 0, 2], [1, 4, 0, 0, 1], [4, 0, 0, 0, 0]]
    assert pixels.dtype == torch.int64


def test_class_frequencies_are_shares_of_the_valid_pixels() -> None:
    torch.testing.assert_close(
        Listed(*LABELS).class_frequencies(), torch.tensor([7 / 13, 5 / 13, 1 / 13, 0], dtype=torch.float64)
    )


def test_a_summary_counts_images_sizes_and_pixels_and_reads_each_sample_once() -> None:
    dataset, heard = Listed(*LABELS), list[str]()
    summary = dataset.summary(heard.append)
    assert (summary.num_images, summary.sizes) == (3, {(2, 3): 2, (2, 2): 1})
    assert summary.class_fractions == pytest.approx((7 / 13, 5 / 13, 1 / 13, 0))
    assert summary.images_with_class == (3, 2, 1, 0)
    assert summary.void_fraction == pytest.approx(3 / 16)
    assert dataset.loaded == [0, 1, 2]
    assert heard == ["0.png", "1.png", "2.png"]


def test_without_images_or_valid_pixels_there_are_no_shares() -> None:
    assert Listed().summary() == Summary(0, {}, (0, 0, 0, 0), (0, 0, 0, 0), 0)
    assert Listed([[9, 9]]).summary() == Summary(1, {(1, 2): 1}, (0, 0, 0, 0), (0, 0, 0, 0), 1)


def test_a_label_out_of_range_is_named_with_its_place() -> None:
    labels = np.zeros((3, 4), dtype=np.uint8)
    labels[2, 1] = 7
    with pytest.raises(ValueError, match=r"x\.png: label 7 at row 2, column 1: classes are 0 to 5 and 255 is void"):
        check_labels("x.png", labels, 6, 255)
    check_labels("x.png", labels, 8, 255)
    check_labels("x.png", labels, 6, 7)
