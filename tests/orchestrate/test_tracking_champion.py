"""The best surrogate in MLflow's registry."""

import mlflow.pyfunc
import mlflow.pytorch
import pytest
import torch
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.surrogate import Surrogate
from neuroiou_study.orchestrate.tracking import Tracker
from tests.orchestrate.tracked import CONTROL, FAILED, PRUNED, SURROGATE, Played, Shown, shown, shown_after_telling


def test_the_champion_computes_what_the_surrogate_does(one: Played, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_after_telling(one, uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    surrogate = Surrogate.load(one.folder(one.record(SURROGATE), "fit_surrogate"))
    features = torch.rand(7, surrogate.config.inputs.num_features)
    expected = surrogate.net(features).detach()
    assert expected.std() > 0
    model = "models:/tiny@champion"
    torch.testing.assert_close(mlflow.pytorch.load_model(model)(features), expected)
    assert mlflow.pyfunc.load_model(model).predict(features.numpy()) == pytest.approx(expected.numpy(), abs=1e-6)
    with pytest.raises(MlflowException, match="schema"):
        mlflow.pyfunc.load_model(model).predict(torch.rand(7, 5).numpy())
    loss = NeuroIoULoss.load(download_artifacts(f"{model}/extra_files"))
    torch.testing.assert_close(loss.surrogate.net(features), expected)


def test_the_champion_says_where_it_is_from(one: Played, view: Shown) -> None:
    record = one.record(SURROGATE)
    (version,) = view.versions
    assert version.tags == {
        "neuroiou.trial": SURROGATE,
        "neuroiou.surrogate": record.runs[0].stages["fit_surrogate"],
        "neuroiou.score": repr(record.score),
    }
    assert version.run_id == view.runs["summary"].id
    assert view.champion == str(version.version)


def test_of_several_seeds_the_one_that_ended_best_is_the_champion(two: Played, view_of_two: Shown) -> None:
    (version,) = view_of_two.versions
    best = max(two.record(SURROGATE).runs, key=lambda run: run.history[-1]["select_miou"])
    assert version.tags["neuroiou.surrogate"] == best.stages["fit_surrogate"]


def test_another_winner_is_another_version_and_the_first_may_win_again(one: Played, uri: str) -> None:
    tracker = Tracker(one.study, one.store, uri)
    winner, other = one.record(SURROGATE), one.record(PRUNED)
    champions = []
    for score in (-1.0, 2.0, -1.0):
        rival = other.model_copy(update={"state": "complete", "score": score})
        tracker.conclude([winner, rival])
        champions.append(shown(one, uri).champion)
    assert champions == ["1", "2", "1"]
    assert len(shown(one, uri).versions) == 2


def test_a_study_without_a_complete_surrogate_has_no_champion(one: Played, uri: str) -> None:
    Tracker(one.study, one.store, uri).conclude([one.record(CONTROL), one.record(FAILED)])
    view = shown(one, uri)
    assert (view.champion, view.runs["summary"].status) == (None, "FINISHED")
