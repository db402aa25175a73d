"""The report as a file: what it says, and that nobody's words can break out of it."""

from pathlib import Path

import numpy as np
import pytest

from neuroiou_study.report.charts.chart import Chart, as_png
from neuroiou_study.report.leaderboard import make_leaderboard
from neuroiou_study.report.page.make_page import headline, make_page, render
from neuroiou_study.report.page.pictures import changed
from neuroiou_study.report.page.section import PageTable, Section
from neuroiou_study.report.page.sections import make_sections
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.mlflow_runs import MlflowRuns, note_mlflow_runs
from tests.report.confirmed import MadeUp, make_study, played

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    return played(tmp_path)


def charts_of(made: MadeUp) -> dict[str, Chart]:
    board = make_leaderboard(made.study, made.store, made.records)
    sections = make_sections(made.study, made.store, made.records, board, {"neuroiou": {"finetune.lr": 1.0}})
    return {chart.name: chart for section in sections for chart in section.charts}


def test_the_verdict_comes_first(made: MadeUp) -> None:
    page = make_page(made.study, made.store, made.records)
    assert "better than ce; worse than flip; not different from soft_iou" in page
    assert page.index("better than ce") < page.index("<h2")


def test_a_study_without_confirmation_is_not_believed(tmp_path: Path) -> None:
    made = played(tmp_path, confirm=None)
    said = headline(make_leaderboard(made.study, made.store, made.records))
    assert said.startswith("neuroiou-001 is the best learned loss, with mIoU 0.7000 on select")
    assert said.endswith("Not confirmed on fresh seeds: this may be chance.")


def test_a_study_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    page = make_page(make_study(), FolderStore(tmp_path), [])
    assert "No learned loss has a complete trial yet." in page


def test_charts_have_the_numbers_of_the_leaderboard(made: MadeUp) -> None:
    made.searched("neuroiou", 2, 0.5)  # a later one that is worse: the best stays
    charts = charts_of(made)
    comparison = made.comparison("neuroiou-000", "flip")
    (row,) = (row for row in charts["differences"].rows if row["comparison"] == "neuroiou-000 − flip")
    assert (row["difference"], row["low"], row["high"]) == (comparison.value, comparison.low, comparison.high)
    assert row["verdict"] == comparison.verdict == "worse"
    means = {row["trial"]: row["mean"] for row in charts["seeds"].rows}
    assert means["neuroiou-000"] == pytest.approx(made.miou("neuroiou-000", 1, 2, 3))
    best = [row["best"] for row in charts["history"].rows if row["arm"] == "neuroiou"]
    assert best == [0.6, 0.7, 0.7]


def test_every_chart_can_be_drawn_and_is_a_table_too(made: MadeUp) -> None:
    for chart in charts_of(made).values():
        assert as_png(chart).startswith(b"\x89PNG")
        assert chart.as_csv().count("\n") == 1 + len(chart.rows)
        assert chart.says.endswith(".")


def test_what_has_no_value_is_null() -> None:
    chart = Chart("a", "A", "It is.", [{"x": float("nan"), "y": 1.0}], {"mark": "point"})
    assert chart.as_vega_lite()["data"]["values"] == [{"x": None, "y": 1.0}]
    assert chart.as_csv() == "x,y\n,1.0\n"


def test_nobodys_words_break_out() -> None:
    chart = Chart("a", HOSTILE, HOSTILE, [{"name": HOSTILE}], {"mark": "point", "encoding": {"x": {"field": "name"}}})
    table = PageTable(HOSTILE, (HOSTILE,), ((HOSTILE,),))
    page = render(HOSTILE, HOSTILE, [Section("one", HOSTILE, (HOSTILE,), (chart,), (table,))])
    assert "<script>alert" not in page and "<img src=x" not in page


def test_it_fetches_nothing(made: MadeUp) -> None:
    page = make_page(made.study, made.store, made.records)
    for fetching in ('src="http', 'href="http', "@import", "url(http"):
        assert fetching not in page


def test_a_trial_leads_to_its_run_in_mlflow(made: MadeUp) -> None:
    shown = MlflowRuns(uri="https://mlflow.example.org/", experiment="7", runs={"neuroiou-000": "a1", "summary": "b2"})
    note_mlflow_runs(made.study, made.store, shown)
    page = make_page(made.study, made.store, made.records)
    runs = "https://mlflow.example.org/#/experiments/7/runs"
    assert f'<a href="{runs}/a1">a1</a>' in page
    assert f'<a href="{runs}/b2">experiment {made.study.identity} at https://mlflow.example.org/</a>' in page


def test_runs_in_a_database_are_named_without_a_link(made: MadeUp) -> None:
    shown = MlflowRuns(uri="sqlite:////runs/mlflow.db", experiment="7", runs={"neuroiou-000": "a1"})
    note_mlflow_runs(made.study, made.store, shown)
    page = make_page(made.study, made.store, made.records)
    assert "<td>a1</td>" in page and f"experiment {made.study.identity} at sqlite:////runs/mlflow.db" in page


def test_a_damaged_note_of_runs_is_named(made: MadeUp) -> None:
    made.store.write_json(f"studies/{made.study.identity}/mlflow_runs.json", {"uri": 3})
    with pytest.raises(RuntimeError, match=r"mlflow_runs.json: .*: damaged: remove it, and `neuroiou-study sync`"):
        make_page(made.study, made.store, made.records)


def test_changed_pixels() -> None:
    labels = np.array([[0, 0, 1, 1, 9]], dtype=np.uint8)
    before = np.array([[0, 1, 0, 0, 0]], dtype=np.uint8)
    after = np.array([[1, 0, 1, 0, 0]], dtype=np.uint8)
    picture, words = changed(labels, before, after, void=9)
    worse, better, _, wrong, void = picture[0].tolist()
    assert worse[0] > worse[1] and better[1] > better[0]
    assert wrong[0] < 200 and void == [255, 255, 255]
    assert words == "50.0 % of the pixels became right, 25.0 % became wrong"
