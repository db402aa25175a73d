"""One class against the rest."""

import numpy as np
import pytest

from neuroiou_study.core.data.category import CategoryDataset
from neuroiou_study.core.data.dataset import Sample, SegmentationDataset
from neuroiou_study.core.data.shapes import ShapesDataset

SHAPES = ShapesDataset("train", 4, 24, 32)


class Rows(SegmentationDataset):
    """One image with each class and void."""

    class_names = ("rest", "b", "c")
    ignore_index = 3
    background = None

    def __len__(self) -> int:
        return 1

    def load(self, index: int) -> Sample:
        return Sample(np.zeros((2, 3, 3), dtype=np.uint8), np.array([[0, 1, 2], [2, 3, 0]], dtype=np.uint8), "x")


@pytest.mark.parametrize(
    ("category", "expected"),
    [("b", [[0, 1, 0], [0, 3, 0]]), ("c", [[0, 0, 1], [1, 3, 0]]), ("rest", [[1, 0, 0], [0, 3, 1]])],
)
def test_the_class_is_1_the_rest_0_and_void_stays(category: str, expected: list[list[int]]) -> None:
    sample = CategoryDataset(Rows(), category).load(0)
    assert sample.labels.tolist() == expected
    assert sample.labels.dtype == np.uint8
    assert sample.name == "x"


def test_there_are_two_classes_of_which_the_rest_is_background() -> None:
    dataset = CategoryDataset(SHAPES, "pole")
    assert dataset.class_names == ("rest", "pole")
    assert (dataset.num_classes, dataset.background, dataset.ignore_index) == (2, 0, 255)
    assert CategoryDataset(Rows(), "rest").class_names == ("others", "rest")


def test_images_are_those_of_the_data_set() -> None:
    dataset = CategoryDataset(SHAPES, "disc")
    assert len(dataset) == len(SHAPES)
    assert np.array_equal(dataset.load(2).image, SHAPES.load(2).image)
    assert (SHAPES.load(2).labels <= 5).any()
    assert SHAPES.load(2).labels.max() == 255


def test_a_class_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(
        ValueError, match=r"data\.category: unicorn: must be a class of the data set \(background, disc,"
    ):
        CategoryDataset(SHAPES, "unicorn")
