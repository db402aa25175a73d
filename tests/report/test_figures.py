"""What is drawn and written: pictures of a sane size, and the numbers that went in."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroiou_study.core.data.dataset import Sample
from neuroiou_study.report.draw_examples import draw_examples
from neuroiou_study.report.examples import BEST, SECOND, TYPICAL, WORST, Example, choose
from neuroiou_study.report.figures import draw_bars, draw_table
from neuroiou_study.report.make_bars import MEAN, Panel, Scores, above_ce
from neuroiou_study.report.make_figure2 import make_figure2
from neuroiou_study.report.make_table1 import Line
from neuroiou_study.report.palette import palette
from neuroiou_study.report.paper import TABLE1, TABLE1_MEANS, VOC_CLASSES
from neuroiou_study.report.reproduced import OURS, PAPER, SMOKE, Reproduction, Row, Setting

SETTING = Setting("fig6", "CamVid (the paper: PASCAL VOC 2011)", "camvid", False, True)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height; it opens, and is neither empty nor all of one colour."""
    with Image.open(path) as image:
        image.load()
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
        return image.size


def panel(arms: tuple[str, ...], classes: tuple[str, ...], **paper: dict[str, float | None]) -> Panel:
    ours: dict[str, Scores] = {
        arm: {name: 10.0 * (i + j) for j, name in enumerate((*classes, MEAN))} for i, arm in enumerate(arms)
    }
    return Panel("U-Net", "U-Net", classes, ours, paper)


@pytest.mark.parametrize("num_panels", [1, 3])
def test_bars(tmp_path: Path, num_panels: int) -> None:
    panels = [panel(("ce", "neuroiou"), VOC_CLASSES[:5], ce={MEAN: 66.06})] * num_panels
    draw_bars(tmp_path / "a.png", "title", panels, "fig3")
    width, height = picture_size(tmp_path / "a.png")
    assert 1000 < width < 3000
    assert height == pytest.approx(150 * (1.4 + 3.1 * num_panels), abs=2)


def test_bars_without_a_single_number(tmp_path: Path) -> None:
    draw_bars(tmp_path / "a.png", "title", [Panel("U-Net", "U-Net", ("car",), {"ce": {"car": None}}, {})], "fig4")
    picture_size(tmp_path / "a.png")


def test_above_ce_counts_classes_that_both_have() -> None:
    ours: dict[str, Scores] = {"ce": {"a": 1.0, "b": 2.0, "c": None}, "neuroiou": {"a": 1.5, "b": 2.0, "c": 9.0}}
    assert above_ce(Panel("", "", ("a", "b", "c"), ours, {}), "neuroiou") == 1


@pytest.mark.parametrize("num_classes", [5, 20])
def test_table(tmp_path: Path, num_classes: int) -> None:
    lines = [Line(arm, source, TABLE1[arm], TABLE1_MEANS[arm]) for arm in TABLE1 for source in (PAPER, OURS)]
    draw_table(tmp_path / "a.png", "title", lines, VOC_CLASSES[:num_classes])
    width, height = picture_size(tmp_path / "a.png")
    assert width >= 1200
    assert height == pytest.approx(150 * (0.9 + (6.4 if num_classes > 11 else 3.2)), abs=2)


def test_examples(tmp_path: Path) -> None:
    labels = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16) % 6
    sample = Sample(np.repeat(labels[..., None] * 40, 3, axis=2), labels, "val-00000")
    examples = [Example(BEST, sample, {"ce": labels, "neuroiou": labels}, {"ce": 1.0, "neuroiou": 2.0})] * 2
    draw_examples(tmp_path / "a.png", "title", examples, ["a", "b", "c", "d", "e", "f"], "shapes", 255)
    width, height = picture_size(tmp_path / "a.png")
    assert width > height > 500


def test_choice_of_examples() -> None:
    assert choose(np.array([0.0, 3.0, -2.0, 1.0, 2.0])) == {BEST: 1, SECOND: 4, TYPICAL: 3, WORST: 2}
    assert choose(np.array([1.0])) == {BEST: 0}
    assert choose(np.array([1.0, 2.0])) == {BEST: 1, WORST: 0}


def test_palettes() -> None:
    voc = palette("voc", 21, 255)
    assert voc[:3].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert voc[20].tolist() == [0, 64, 128]
    assert palette("camvid", 11, 11)[[0, 11]].tolist() == [[128, 128, 128], [255, 255, 255]]
    assert len({tuple(row) for row in palette("cityscapes", 19, 255)[:19].tolist()}) == 19
    # Binary mode: two classes of a data set that has a palette for more.
    assert palette("camvid", 2, 11)[1].tolist() == [128, 0, 0]


def test_figure_2(tmp_path: Path) -> None:
    made = make_figure2(Setting("fig2", "none needed", "", True, is_smoke=True))
    png, table, document = made.write(tmp_path / "new")
    assert picture_size(png) == (1650, 750)
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 201
    middle = rows[100]
    assert (float(middle["x"]), float(middle["f"]), middle["f'"]) == (1, 1.1, "")
    assert {row["smoke"] for row in rows} == {"true"}
    ours = json.loads(document.read_text())["ours"]
    errors = ours["ReLU, 10 units"]
    assert errors["rmse"] < 0.01
    assert errors["claim_holds"] == (-1 <= errors["derivative_at_1"] <= 1)


def test_files_say_what_they_are_of(tmp_path: Path) -> None:
    rows: list[Row] = [{"class": "car", "iou_percent": 12.5}, {"class": "bus", "iou_percent": None}]
    made = Reproduction(SETTING, "a line", rows, {"mean": 12.5}, {"mean": 60.0}, Path.touch, ["neuroiou6"])
    files = made.write(tmp_path)
    assert [path.name for path in files] == ["fig6.png", "fig6.csv", "fig6.json"]
    assert files[1].read_text().splitlines() == [
        "class,iou_percent,data,smoke",
        "car,12.5,CamVid (the paper: PASCAL VOC 2011),true",
        "bus,,CamVid (the paper: PASCAL VOC 2011),true",
    ]
    document = json.loads(files[2].read_text())
    assert document["data"] == SETTING.data
    assert document["paper"] | {"claim": ""} == {"source": "cited", "claim": "", "mean": 60.0}
    assert document["missing"] == ["neuroiou6"]


def test_title_says_data_and_smoke() -> None:
    assert SETTING.title("Figure 6") == f"Figure 6\ndata: {SETTING.data} · {SMOKE}"
