"""The main job, as its users run it: `ray job submit` on a cluster, on real images, two workers a trial."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from neuroiou_study.core import NeuroIoULoss
from tests.conftest import REPOSITORY
from tests.ray_head import RayHead, free_and_all_cpus, ray_head
from tests.studies import made, report

pytestmark = pytest.mark.xdist_group("ray")

SHORTER = (
    "pretrain.epochs=3",
    "finetune.epochs=2",
    "model.width=4",
    "fit_surrogate.epochs=20",
    "budget.max_trials=2",
    "controls={ce: {name: cross_entropy}}",
    "pruner={name: none}",
)
STUDY = REPOSITORY / "search_spaces" / "camvid_unet.yaml"


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(dashboard=True) as started:
        yield started


def submit(head: RayHead, *options: str) -> "subprocess.CompletedProcess[str]":
    ray = str(Path(sys.executable).with_name("ray"))
    job = [ray, "job", "submit", "--address", head.dashboard, "--working-dir", str(REPOSITORY)]
    entry = ["python", "jobs/run_study.py", "search_spaces/camvid_unet.yaml", *options]
    return subprocess.run([*job, "--", *entry], env=head.environment, capture_output=True, text=True, check=False)


def as_options(overrides: tuple[str, ...]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def test_submitted_study_on_camvid(head: RayHead, camvid_small: Path, tmp_path: Path) -> None:
    overrides = (f"data.root={camvid_small}", *SHORTER)
    done = submit(head, *as_options(overrides), "--store", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vs ce" in done.stdout
    assert len(made(tmp_path / "runs", "pretrain")) == 1
    check_report(tmp_path / "runs", overrides)
    check_mlflow(tmp_path / "runs", tmp_path / "download")
    assert free_and_all_cpus(head) == (2, 2)


def check_report(store: Path, overrides: tuple[str, ...]) -> None:
    board = report(STUDY, store, *as_options(overrides))
    assert board["ce_control"] == "ce"
    arms = {row["arm"]: row for row in board["arms"]}
    assert arms["ce"]["difference_to_ce"] == 0
    assert arms["neuroiou"]["difference_to_ce"] == pytest.approx(arms["neuroiou"]["val_miou"] - arms["ce"]["val_miou"])
    assert {row["state"] for row in board["trials"]} == {"complete"}
    assert len(board["trials"]) == 4


def check_mlflow(store: Path, download: Path) -> None:
    """A run for each trial; a loadable surrogate in each of the surrogate's arm."""
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiments = [item for item in client.search_experiments() if item.name.startswith("camvid_unet-")]
    runs = client.search_runs([item.experiment_id for item in experiments])
    trials = {run.info.run_name: run for run in runs if run.data.tags.get("neuroiou.trial")}
    assert sorted(trials) == ["ce-000", "ce-001", "neuroiou-000", "neuroiou-001"]
    for name in ("neuroiou-000", "neuroiou-001"):
        folder = download / name
        folder.mkdir(parents=True)
        client.download_artifacts(trials[name].info.run_id, "surrogate", str(folder))
        assert NeuroIoULoss.load(folder / "surrogate").surrogate.config.depth >= 1


def test_a_wrong_file_fails_the_job(head: RayHead, tmp_path: Path) -> None:
    done = submit(head, "--set", "finetune.epoch=3", "--store", str(tmp_path / "runs"))
    assert done.returncode != 0
    assert "did you mean finetune.epochs?" in done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()
