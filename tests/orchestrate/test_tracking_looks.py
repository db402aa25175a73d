"""What a person looks at in MLflow: colours, descriptions, data sets, figures, the card of the best loss."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image

from neuroiou_study.orchestrate import study_files
from neuroiou_study.orchestrate.tracking import Tracker
from neuroiou_study.orchestrate.uris import public
from neuroiou_study.spec import load_study
from neuroiou_study.stages.made_with import revision
from neuroiou_study.stages.mlflow_runs import MlflowRuns, mlflow_runs
from tests.orchestrate.tracked import CONTROL, SURROGATE, Played, Shown, shown, shown_after_telling, tell

NOTE = "mlflow.note.content"


def test_trials_have_the_colour_of_their_arm(view: Shown) -> None:
    colours = {name: run.tags["mlflow.runColor"] for name, run in view.runs.items() if name != "summary"}
    assert colours[SURROGATE] == "#1f6fb4" and colours[CONTROL] == "#8c8c8c"
    assert len(set(colours.values())) == 2


def test_a_trial_says_what_it_is_and_leads_to_its_study(one: Played, view: Shown) -> None:
    note = view.runs[SURROGATE].tags[NOTE]
    assert "arm **neuroiou** (`neuroiou`): `fit_surrogate.depth` 2" in note.replace("`finetune.lr` 0.001, ", "")
    assert f"(#/experiments/{view.experiment}/runs/{view.runs['summary'].id})" in note
    for address in one.record(SURROGATE).runs[0].stages.values():
        assert f"- `{address}`" in note
    assert "fit_surrogate" not in view.runs[CONTROL].tags[NOTE]


def test_the_experiment_says_what_was_found(one: Played, uri: str) -> None:
    view = shown_after_telling(one, uri)
    experiment = MlflowClient(uri).get_experiment(view.experiment)
    assert "# tiny\n\nNot confirmed on fresh seeds" in experiment.tags[NOTE]
    assert view.runs["summary"].id in experiment.tags[NOTE]


def test_every_run_has_the_data_as_inputs_once(one: Played, uri: str) -> None:
    tracker = Tracker(one.study, one.store, uri)
    tell(one, tracker)
    tell(one, Tracker(one.study, one.store, uri))
    for run in MlflowClient(uri).search_runs([shown(one, uri).experiment]):
        inputs = run.inputs.dataset_inputs if run.inputs else []
        found = {each.dataset.name: each for each in inputs}
        assert sorted(found) == ["shapes-select", "shapes-train", "shapes-val"] and len(inputs) == 3
        assert [tag.value for tag in found["shapes-val"].tags if tag.key == "mlflow.data.context"] == ["val: decides"]
        assert '"num_train": 8' in found["shapes-train"].dataset.source


def test_the_summary_has_the_study_the_report_and_every_figure_as_picture_and_table(
    one: Played, view: Shown, tmp_path: Path
) -> None:
    files = view.runs["summary"].files
    assert load_study(files["study.yaml"]).identity == one.study.identity
    assert "<!doctype html>" in files["report.html"].read_text().lower()
    figures = sorted(name for name in files if name.startswith("figures/"))
    charts = {name.removesuffix(".csv") for name in figures if name.endswith(".csv")}
    assert {"figures/search-history", "figures/search-curves", "figures/surrogate-surrogate_fit"} <= charts
    assert {f"{name}.png" for name in charts} < set(figures), "the pictures of examples have no table"
    for name in figures:
        if name.endswith((".png", ".jpeg")):
            assert Image.open(files[name]).width > 10
    header, *rows = files["figures/search-history.csv"].read_text().splitlines()
    assert header.startswith("trial,arm,number,state,score") and len(rows) == len(one.records)


def test_the_summary_names_the_code(view: Shown) -> None:
    assert view.runs["summary"].tags.get("mlflow.source.git.commit") == revision()
    assert view.runs["summary"].tags["mlflow.source.name"] == "neuroiou-study"


def test_the_store_knows_the_run_of_every_trial_for_reports(one: Played, uri: str) -> None:
    view = shown_after_telling(one, uri)
    noted = MlflowRuns(uri=uri, experiment=view.experiment, runs={name: run.id for name, run in view.runs.items()})
    assert mlflow_runs(one.study, one.store) == noted
    Tracker(one.study, one.store, uri).conclude(one.records)  # a driver that ran none of the trials
    assert mlflow_runs(one.study, one.store) == noted
    report = view.runs["summary"].files["report.html"].read_text()
    assert all(f"<td>{run.id}</td>" in report for name, run in view.runs.items() if name != "summary")


def test_nobodys_password_is_in_the_store() -> None:
    assert public("https://me:secret@mlflow.example.org:5000/x") == "https://mlflow.example.org:5000/x"
    assert public("https://mlflow.example.org/?token=secret") == "https://mlflow.example.org/?token=***"


def test_the_card_of_the_champion_says_how_to_use_it_and_where_it_holds(one: Played, view: Shown) -> None:
    (version,) = view.versions
    card = version.description or ""
    for part in (f"trial `{SURROGATE}`", "3 features (prob3)", "`image`", "NeuroIoULoss.load", "models:/tiny@champion"):
        assert part in card
    assert "Training images of `shapes`" in card and "three deviations beyond" in card and "Apache-2.0" in card
    assert "of each output\nno perturbed copies" in card
    fidelity = one.document(one.record(SURROGATE), "fit_surrogate", "fidelity.json")
    for name in ("r2", "sign_tp", "sign_fn", "gradient_cosine"):
        assert f"`{name}` {fidelity[name]:.4f}" in card
    assert "on `val` against cross-entropy trained as long" in card


def test_a_figure_that_cannot_be_drawn_does_not_end_a_study(
    one: Played, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(chart: object) -> bytes:
        raise ValueError("no font")

    monkeypatch.setattr(study_files, "as_png", broken)
    tracker = Tracker(one.study, one.store, uri)
    tell(one, tracker)
    assert list(tracker.behind) == ["summary"]
    monkeypatch.undo()
    tracker.conclude(one.records)
    assert not tracker.behind


def test_the_best_of_each_arm_shows_what_it_makes_of_the_same_images_epoch_by_epoch(one: Played, uri: str) -> None:
    view = shown_after_telling(one, uri)
    tell(one, Tracker(one.study, one.store, uri))
    assert shown(one, uri).runs[SURROGATE].files.keys() == view.runs[SURROGATE].files.keys(), "once, however often told"
    pictures = {name: path for name, path in view.runs[SURROGATE].files.items() if name.endswith(".png")}
    steps = sorted(name.partition("+timestamp")[0] for name in pictures)
    assert steps == [f"images/select_{image}+step+{epoch}" for image in (0, 2, 3) for epoch in (1, 2)]
    assert {Image.open(path).size for path in pictures.values()} == {(3 * 16, 16)}
    assert any(name.startswith("images/") for name in view.runs[CONTROL].files)
