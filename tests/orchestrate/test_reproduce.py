"""The paper's figures and tables: all of them made in this process, on shapes, with a real MLflow; what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from typer.testing import CliRunner, Result

from neuroiou_study.cli import app
from neuroiou_study.orchestrate.paper_data import find_data
from neuroiou_study.orchestrate.paper_studies import MODELS, TARGETS, Wish, find_search_space, make_setting
from neuroiou_study.orchestrate.reproduce_view import EXPERIMENT
from neuroiou_study.report.paper import TABLE1_MEANS
from neuroiou_study.stages.build import dataset

SHAPES = ["disc", "square", "triangle", "pole", "dot"]


def call(folder: Path, *arguments: str) -> Result:
    fixed = ["--store", str(folder / "runs"), "--out", str(folder / "out"), "--backend", "local"]
    return CliRunner().invoke(app, ["reproduce", *arguments, *fixed])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything reproduced, smoke, in ``out`` and ``runs``."""
    folder = tmp_path_factory.mktemp("reproduced")
    done = call(folder, "all", "--smoke")
    assert done.exit_code == 0, done.output
    for target in TARGETS:
        assert f"{target}, data: " in done.output
    return folder


def document(folder: Path, target: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / f"{target}.json").read_text())
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_three_files_of_each_target(made: Path, target: str) -> None:
    with Image.open(made / "out" / f"{target}.png") as image:
        assert min(image.size) > 400
    rows = list(csv.DictReader((made / "out" / f"{target}.csv").open()))
    assert {row["smoke"] for row in rows} == {"true"}
    found = document(made, target)
    assert found["smoke"] is True
    assert found["missing"] == []
    assert found["paper"]["source"] == "cited"
    if target != "fig2":
        assert found["data"].startswith("the embedded shapes (the paper: ")
        assert {row["data"] for row in rows} == {found["data"]}


def test_table_1_has_the_papers_means_beside_ours(made: Path) -> None:
    rows = list(csv.DictReader((made / "out" / "table1.csv").open()))
    assert [row["arm"] for row in rows] == [arm for arm in TABLE1_MEANS for _ in range(2)]
    assert list(rows[0]) == ["arm", "source", *SHAPES, "mean", "mean_with_background", "data", "smoke"]
    for paper, ours in zip(rows[::2], rows[1::2], strict=True):
        assert (paper["source"], ours["source"]) == ("paper (cited)", "ours")
        assert float(paper["mean"]) == TABLE1_MEANS[paper["arm"]]
        values = [float(ours[name]) for name in SHAPES]
        assert float(ours["mean"]) == pytest.approx(sum(values) / 5)


def test_bars_of_three_networks(made: Path) -> None:
    for target in ("fig3", "fig4"):
        found = document(made, target)
        assert list(found["ours"]) == ["FCN-8s", "SegNet", "U-Net"]
        assert [set(panel["mean"]) for panel in found["ours"].values()] == [{"ce", "neuroiou"}] * 3
    assert document(made, "fig3")["ours"] == document(made, "fig4")["ours"]
    assert document(made, "fig3")["paper"]["FCN-8s"] == {"ce": {"mean": 66.06}, "neuroiou": {"mean": 67.9}}


def test_numbers_are_those_of_the_leaderboard(made: Path) -> None:
    (identity,) = document(made, "fig6")["studies"].values()
    (summary,) = (run for run in runs_of(made, identity)[1] if run.data.tags["neuroiou.kind"] == "summary")
    rows = {row["arm"]: row for row in csv.DictReader((made / "out" / "table1.csv").open()) if row["source"] == "ours"}
    assert set(rows) < {name.removeprefix("study/val_miou_") for name in summary.data.metrics}
    for arm, row in rows.items():
        assert float(row["mean_with_background"]) == pytest.approx(100 * summary.data.metrics[f"study/val_miou_{arm}"])


def test_weighted_ce_is_over_the_rare_classes(made: Path) -> None:
    found = document(made, "weighted-ce")
    ((title, panel),) = found["ours"].items()
    assert panel["classes"] == ["dot"]
    assert title == "U-Net, 1 rare class: < 1% of training pixels"
    assert found["paper"][title] == {"weighted_ce": {"mean": 58.4}, "neuroiou": {"mean": 60.2}}


def test_mlflow_has_a_run_with_the_files_of_each_target(made: Path) -> None:
    runs = shown(made)
    assert sorted(runs) == sorted(TARGETS)
    for target, files in runs.items():
        assert files == [f"{target}.{kind}" for kind in ("csv", "json", "png")]


def runs_of(folder: Path, name: str) -> tuple[MlflowClient, list[Run]]:
    """The runs of the experiment ``name``, and a client to ask about them."""
    client = MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return client, list(client.search_runs([experiment.experiment_id]))


def shown(folder: Path) -> dict[str, list[str]]:
    """Target → the files of its run in MLflow; each has one run."""
    client, runs = runs_of(folder, EXPERIMENT)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["neuroiou.smoke"] for run in runs} == {"true"}
    found = {run.data.tags["neuroiou.target"]: run.info.run_id for run in runs}
    assert len(found) == len(runs)
    return {target: sorted(file.path for file in client.list_artifacts(run_id)) for target, run_id in found.items()}


def test_once_more_runs_nothing_and_adds_no_run(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (made / "runs" / "stages").glob("*/*/manifest.json")}
    (made / "out" / "fig6.png").unlink()
    done = call(made, "fig6", "--smoke")
    assert done.exit_code == 0, done.output
    assert (made / "out" / "fig6.png").is_file()
    assert {path: path.stat().st_mtime_ns for path in (made / "runs" / "stages").glob("*/*/manifest.json")} == before
    assert sorted(shown(made)) == sorted(TARGETS)


def test_a_gated_arm_is_missing_and_fails_the_command(made: Path) -> None:
    done = call(made, "fig6", "--smoke", "--set", "gate={enabled: true, min_r2: 1.0}", "--set", "name=gated")
    assert done.exit_code == 1
    assert "fig6: U-Net neuroiou6: no complete trial" in done.output
    assert document(made, "fig6")["missing"] == ["U-Net neuroiou", "U-Net neuroiou6"]


def test_a_target_that_cannot_be_made_does_not_keep_the_others(made: Path) -> None:
    done = call(made, "fig5", "--smoke", "--set", "gate={enabled: true, min_r2: 1.0}", "--set", "name=gated")
    assert done.exit_code == 1
    assert "neuroiou: must have a complete trial to be drawn" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["fig7"],
            "reproduce: fig7: must be one of fig2, table1, fig3, fig4, fig5, fig6, weighted-ce, all: choose one",
        ),
        (["fig3", "--data", "nowhere"], "nowhere: must be a folder: correct the path"),
        (["fig3", "--data", "."], "must hold VOCdevkit (with VOC2011 or VOC2012), cityscapes or camvid, or be one of"),
        (["fig2", "--tracking-uri", "mlruns"], "--tracking-uri: mlruns: must be http(s)://… or sqlite:////absolute"),
        (["fig2", "--store", "http://bucket"], "must be a folder or s3://bucket/prefix"),
        (["fig3", "--set", "finetune.epochs=0"], "finetune.epochs: 0: "),
    ],
)
def test_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["reproduce", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match=r"search_spaces/nothing\.yaml: not in .*: change to the repository"):
        find_search_space("nothing")


def test_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "quickstart.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_search_space("quickstart") == tmp_path / "search_spaces" / "quickstart.yaml"
    assert find_search_space("camvid_unet").is_file()


def papers_data(root: Path) -> Path:
    """Folders as they are where the paper's data is; and VGG-16's weights."""
    for name in ("VOCdevkit/VOC2011", "cityscapes/leftImg8bit", "camvid"):
        (root / name).mkdir(parents=True)
    (root / "camvid" / "train.txt").touch()
    (root / "vgg16-397923af.pth").touch()
    return root


@pytest.mark.parametrize("target", ["table1", "fig3", "fig4", "fig5", "fig6", "weighted-ce"])
def test_the_papers_data_is_taken_where_it_is(tmp_path: Path, target: str) -> None:
    setting = make_setting(target, Wish(find_data(papers_data(tmp_path))))
    kind, title = ("voc", "PASCAL VOC 2011") if target in ("table1", "fig3", "fig6") else ("cityscapes", "Cityscapes")
    assert (setting.data, setting.is_papers_data, setting.palette) == (title, True, kind)
    for study in setting.studies.values():
        assert study.data.name == kind
        assert (study.finetune.lr, study.finetune.optimizer.name) == (1e-5, "sgd")
        weights = str(tmp_path / "vgg16-397923af.pth") if study.model.name == "fcn8s" else None
        assert study.model.model_dump().get("weights") == weights


def test_networks_of_figures_3_and_4(tmp_path: Path) -> None:
    wish = Wish(find_data(papers_data(tmp_path)))
    for target, kind in (("fig3", "voc2011"), ("fig4", "cityscapes")):
        studies = make_setting(target, wish).studies
        assert [study.model.name for study in studies.values()] == list(MODELS)
        assert [study.name for study in studies.values()] == [f"{kind}_{model}" for model in MODELS]


def test_table_1_figure_3_and_figure_6_pretrain_once(tmp_path: Path) -> None:
    wish = Wish(find_data(papers_data(tmp_path)))
    studies = [next(iter(make_setting(target, wish).studies.values())) for target in ("table1", "fig3", "fig6")]
    shared = [(study.data, study.model, study.pretrain, study.seeds) for study in studies]
    assert shared == [shared[0]] * 3


def test_camvid_stands_in(tmp_path: Path) -> None:
    (tmp_path / "train.txt").touch()
    setting = make_setting("fig4", Wish(find_data(tmp_path)))
    assert setting.data == "CamVid (the paper: Cityscapes)"
    assert not setting.is_papers_data
    assert [study.name for study in setting.studies.values()] == [f"camvid_{model}" for model in MODELS]
    assert {study.data.model_dump()["root"] for study in setting.studies.values()} == {str(tmp_path)}


def test_another_year_of_voc_is_named(voc_sample: Path) -> None:
    setting = make_setting("table1", Wish(find_data(voc_sample)))
    assert setting.data == "PASCAL VOC 2012 (the paper: 2011)"
    ((_, study),) = setting.studies.items()
    assert len(dataset(study.data, "val")) == 26


def test_a_binary_study_for_each_category() -> None:
    setting = make_setting("table1", Wish(find_data(None), is_smoke=True, is_by_category=True))
    assert list(setting.studies) == SHAPES
    assert [study.data.category for study in setting.studies.values()] == SHAPES
    assert [study.name for study in setting.studies.values()] == [f"paper_shapes_{name}_smoke" for name in SHAPES]


def test_table_1_by_category(tmp_path: Path) -> None:
    two_arms = ["--set", "controls={ce: {name: cross_entropy}}", "--set", "variants={}"]
    short = ["--set", "data.num_train=8", "--set", "pretrain.epochs=1"]
    done = call(tmp_path, "table1", "--per-category", "--smoke", *two_arms, *short)
    assert done.exit_code == 1
    assert document(tmp_path, "table1")["missing"] == ["soft_iou", "no_int", "hinge"]
    ours = [row for row in csv.DictReader((tmp_path / "out" / "table1.csv").open()) if row["source"] == "ours"]
    there = [row["arm"] for row in ours if all(row[name] for name in SHAPES)]
    assert there == ["ce", "neuroiou"]
