"""The table of a study's data, from files of which every pixel is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from neuroiou_study.report.data_table import data_table
from neuroiou_study.spec import StudySpec
from tests.core.data.made import HEIGHT, WIDTH, filled, make_folder, noise, truncate, write
from tests.studies import TINY


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images to train on, two to select with, one of another size to decide with."""
    make_folder(tmp_path, ["a", "b", "c", "d"], ["e"])
    for name, label in (("a", 0), ("b", 1), ("c", 2), ("d", 255)):
        write(tmp_path / "masks" / f"{name}.png", filled(label))
    half = filled(0)
    half[:, WIDTH // 4 :] = 2
    write(tmp_path / "masks" / "e.png", half)
    return tmp_path


def study(root: Path, **changes: Any) -> StudySpec:
    data = {"name": "folder", "root": str(root), "class_names": ["sky", "road", "traffic light"]}
    return StudySpec.model_validate({**TINY, "data": {**data, "select_fraction": 0.5, **changes}})


def rows(root: Path, **changes: Any) -> dict[str, list[str]]:
    """The cells of each row by its first, as they are printed."""
    columns = [list(column.cells) for column in data_table(study(root, **changes)).columns]
    return {str(name): [str(cell) for cell in cells] for name, *cells in zip(*columns, strict=True)}


def test_rows_are_classes_with_shares_and_images_of_each_split(root: Path) -> None:
    assert rows(root) == {
        "sky": ["50.000", "1", "0.000", "0", "25.000", "1"],
        "road": ["0.000", "0", "100.000", "1", "0.000", "0"],
        "traffic light": ["50.000", "1", "0.000", "0", "75.000", "1"],
        "void, of all": ["0.000", "", "50.000", "", "0.000", ""],
    }


def test_a_category_has_two_rows_and_void(root: Path) -> None:
    assert rows(root, category="sky") == {
        "rest": ["50.000", "1", "100.000", "1", "75.000", "1"],
        "sky": ["50.000", "1", "0.000", "0", "25.000", "1"],
        "void, of all": ["0.000", "", "50.000", "", "0.000", ""],
    }


def test_the_title_has_counts_and_sizes(root: Path) -> None:
    write(root / "images" / "c.png", np.zeros((4, 5, 3)))
    write(root / "masks" / "c.png", np.zeros((4, 5)))
    title = str(data_table(study(root)).title)
    assert title.splitlines()[:4] == [
        "Data folder",
        f"train: 2 images of {WIDTH}×{HEIGHT} and 1 other size",
        f"select: 2 images of {WIDTH}×{HEIGHT}",
        f"val: 1 image of {WIDTH}×{HEIGHT}",
    ]


def test_every_sample_is_heard_of_once(root: Path) -> None:
    heard: list[str] = []
    data_table(study(root), heard.append)
    assert heard == ["a.png", "c.png", "b.png", "d.png", "e.png"]


def test_the_first_damaged_file_is_named(root: Path) -> None:
    write(root / "images" / "b.png", noise(1))
    truncate(root / "images" / "b.png")
    with pytest.raises(ValueError, match=r"images/b\.png: .*must be a readable image"):
        data_table(study(root))


def test_the_table_fits_a_terminal(root: Path) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(data_table(study(root)))
    assert "│ traffic light │" in capture.get()
    assert "100.000" in capture.get()
    assert "…" not in capture.get()
