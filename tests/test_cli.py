"""The program as a person meets it: help, answers, mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from neuroiou_study.spec.parse import parse
from tests.conftest import REPOSITORY
from tests.studies import call, made, report, write_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study that has run in this process's place, without Ray: its file and its store."""
    folder = tmp_path_factory.mktemp("study")
    study, store = write_study(folder), folder / "runs"
    done = call("run", study, "--store", store, "--backend", "local")
    assert done.returncode == 0, done.stderr
    assert "Best trial of each arm" in done.stdout
    return study, store


def test_help_teaches() -> None:
    done = call("--help")
    assert done.returncode == 0
    for name in ("validate", "schema", "plan", "run", "status", "report", "export", "sync"):
        assert name in done.stdout
    assert "Exit codes" in done.stdout


def test_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("neuroiou-study")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == call("--version").stdout != ""


def test_schema_is_json_with_descriptions() -> None:
    schema = json.loads(call("schema").stdout)
    assert schema["properties"]["search"]["description"]


@pytest.mark.parametrize("kind", ["study", "cluster", "prices"])
def test_the_schema_of_each_kind_of_file_accepts_the_shipped_one(kind: str) -> None:
    shipped = {"study": "search_spaces/quickstart.yaml", "cluster": "cluster/cluster.yaml"}
    document = parse((REPOSITORY / shipped.get(kind, "cluster/prices.yaml")).read_text())
    allows = Draft202012Validator(json.loads(call("schema", kind).stdout))
    plain = json.loads(json.dumps(document, default=str))  # JSON has no dates
    assert not list(allows.iter_errors(plain))
    (mistake,) = allows.iter_errors({**plain, "serach": 1})
    assert "serach" in mistake.message


def test_there_is_no_schema_of_anything_else() -> None:
    done = call("schema", "bananas")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_validate_says_what_it_read(tmp_path: Path) -> None:
    done = call("validate", write_study(tmp_path))
    assert done.returncode == 0
    assert "neuroiou 3, ce 3, soft_iou 3" in done.stdout


def test_plan_knows_a_screening(tmp_path: Path) -> None:
    study = write_study(tmp_path, screen={"surrogates": 6, "top": 2}, controls={}, seeds=[0, 1])
    done = call("plan", study, "--store", tmp_path / "runs")
    assert "trials: neuroiou 3, of 6 screened surrogates each: neuroiou." in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if "fit_surrogate" in line]
    assert [cell.strip() for cell in row.split("│")[3:5]] == ["12", "0"]
    wrong = call("validate", write_study(tmp_path, screen={"surrogates": 6, "top": 7}))
    assert wrong.returncode == 2
    assert "study.yaml: screen.top: 7: is more than the 6 that are fitted: lower it" in wrong.stderr


def test_plan_counts_what_is_in_the_store(finished: tuple[Path, Path], tmp_path: Path) -> None:
    study, store = finished
    before = call("plan", study, "--store", tmp_path / "empty")
    after = call("plan", study, "--store", store)
    assert [row(before, "pretrain"), row(before, "finetune")] == [["1", "0"], ["9", "0"]]
    assert [row(after, "pretrain"), row(after, "finetune")] == [["1", "1"], ["9", "9"]]
    assert not (tmp_path / "empty").exists()


def row(done: "subprocess.CompletedProcess[str]", stage: str) -> list[str]:
    """The numbers of a stage's line."""
    [line] = [line for line in done.stdout.splitlines() if f" {stage} " in line]
    return [cell.strip() for cell in line.split("│") if cell.strip().isdigit()]


def test_status(finished: tuple[Path, Path]) -> None:
    study, store = finished
    status = json.loads(call("status", study, "--store", store, "--json").stdout)
    assert status["driver"] is None
    assert {arm["arm"]: (arm["complete"], arm["wanted"]) for arm in status["arms"]} == {
        "neuroiou": (3, 3),
        "ce": (3, 3),
        "soft_iou": (3, 3),
    }


def test_eight_trials_pretrain_once(finished: tuple[Path, Path]) -> None:
    assert len(made(finished[1], "pretrain")) == 1
    assert len(made(finished[1], "finetune")) == 9


def test_running_again_repeats_nothing(finished: tuple[Path, Path]) -> None:
    study, store = finished
    before = {path: path.stat().st_mtime_ns for path in (store / "stages").glob("*/*/manifest.json")}
    assert call("run", study, "--store", store, "--backend", "local").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (store / "stages").glob("*/*/manifest.json")} == before


def test_report_compares_with_the_ce_control(finished: tuple[Path, Path]) -> None:
    board = report(*finished)
    arms: dict[str, Any] = {arm["arm"]: arm for arm in board["arms"]}
    assert board["ce_control"] == "ce"
    for arm in arms.values():
        assert arm["difference_to_ce"] == pytest.approx(arm["val_miou"] - arms["ce"]["val_miou"])
    scores = [arm["val_miou"] for arm in board["arms"]]
    assert scores == sorted(scores, reverse=True)


TRAIN = """
import sys
import torch
from neuroiou_study.core import NeuroIoULoss

loss_fn = NeuroIoULoss.load(sys.argv[1])
model = torch.nn.Conv2d(3, 6, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
torch.manual_seed(0)
labels = torch.randint(0, 6, (2, 16, 16))
images = torch.nn.functional.one_hot(labels // 2, 3).permute(0, 3, 1, 2).float()
losses = []
for step in range(10):
    loss = loss_fn(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(losses[0], losses[-1])
assert losses[-1] < losses[0]
loaded = {"ray", "mlflow", "optuna", "pydantic", "yaml", "boto3"} & set(sys.modules)
assert not loaded, loaded
"""


def test_exported_loss_trains_in_a_plain_program(finished: tuple[Path, Path], tmp_path: Path) -> None:
    study, store = finished
    done = call("export", study, "--store", store, "--to", tmp_path / "loss")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loss" / "README.md").read_text().startswith("# A learned IoU loss")
    (tmp_path / "train.py").write_text(TRAIN)
    trained = subprocess.run(
        [sys.executable, "train.py", "loss"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr


def test_sync_rebuilds_mlflow(finished: tuple[Path, Path], tmp_path: Path) -> None:
    study, store = finished
    told = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = call("sync", study, "--store", store, "--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", env=told)
    assert done.returncode == 0, done.stderr
    assert "9 trial runs" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "mlflow.pytorch" in imported and "pytorch_lightning" not in imported, "it takes seconds, for nothing"


def test_export_without_a_trial_fails(tmp_path: Path) -> None:
    done = call("export", write_study(tmp_path), "--store", tmp_path / "runs", "--to", tmp_path / "loss")
    assert done.returncode == 1
    assert "run the study first" in done.stderr
    assert not (tmp_path / "loss").exists()


def test_a_study_whose_trials_all_fail_has_failed(tmp_path: Path) -> None:
    study = write_study(
        tmp_path,
        finetune={"epochs": 4, "optimizer": {"name": "sgd", "weight_decay": 1e12}},
        controls={},
        budget={"max_trials": 1},
    )
    done = call("run", study, "--store", tmp_path / "runs", "--backend", "local")
    assert done.returncode == 1
    assert "no trial of neuroiou is complete" in done.stderr


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt key": ({"finetune": {"epoch": 3}}, "finetune.epoch: unknown key: did you mean"),
    "bound outside the rule": ({"search": {"fit_surrogate.depth": {"int": [0, 3]}}}, "fit_surrogate.depth: 0: "),
    "text in a list of numbers": ({"search": {"finetune.lr": {"choice": [1e-3, "1e-4"]}}}, "'1e-4'"),
    "missing data folder": ({"data": {"name": "camvid", "root": "/nowhere"}}, "data.root: /nowhere: "),
    "batch larger than the data": ({"pretrain": {"batch_size": 64}}, "pretrain.batch_size: 64: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_with_2_before_anything_starts(tmp_path: Path, mistake: str) -> None:
    changes, message = MISTAKES[mistake]
    done = call("run", write_study(tmp_path, **changes), "--store", tmp_path / "runs")
    assert_refused(done, message, tmp_path / "runs")


def assert_refused(done: "subprocess.CompletedProcess[str]", message: str, store: Path) -> None:
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not store.exists()


def test_1e_minus_4_in_a_choice_is_a_number(tmp_path: Path) -> None:
    done = call("validate", write_study(tmp_path), "--set", "search.finetune.lr={choice: [1e-4, 1e-3]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def tiny_camvid(tmp_path: Path) -> Path:
    """Twelve training and two validation images in the CamVid layout."""
    root = tmp_path / "camvid"
    rng = np.random.default_rng(0)
    for split, number in (("train", 12), ("val", 2)):
        lines = []
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for index in range(number):
            Image.fromarray(rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)).save(root / split / f"{index}.png")
            Image.fromarray(rng.integers(0, 12, (16, 24), dtype=np.uint8)).save(root / f"{split}annot" / f"{index}.png")
            lines.append(f"/SegNet/CamVid/{split}/{index}.png /SegNet/CamVid/{split}annot/{index}.png")
        (root / f"{split}.txt").write_text("\n".join(lines))
    return root


def run_on(root: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    study = write_study(tmp_path, data={"name": "camvid", "root": str(root)})
    return call("run", study, "--store", tmp_path / "runs")


def test_a_corrupt_image_is_named(tiny_camvid: Path, tmp_path: Path) -> None:
    image = tiny_camvid / "train" / "3.png"
    image.write_bytes(image.read_bytes()[:100])
    assert_refused(run_on(tiny_camvid, tmp_path), str(image), tmp_path / "runs")


def test_a_label_that_is_no_class_is_named(tiny_camvid: Path, tmp_path: Path) -> None:
    path = tiny_camvid / "trainannot" / "5.png"
    labels = np.array(Image.open(path))
    labels[2, 7] = 37
    Image.fromarray(labels).save(path)
    done = run_on(tiny_camvid, tmp_path)
    assert_refused(done, str(path), tmp_path / "runs")
    assert "label 37" in done.stderr


def test_a_missing_image_is_named(tiny_camvid: Path, tmp_path: Path) -> None:
    (tiny_camvid / "val" / "1.png").unlink()
    assert_refused(run_on(tiny_camvid, tmp_path), "1.png", tmp_path / "runs")


def test_a_wrong_file_is_refused_without_importing_ray(tmp_path: Path) -> None:
    study = write_study(tmp_path, finetune={"epoch": 3})
    program = (
        "import sys\nfrom neuroiou_study.cli import app\n"
        f"try: app(['run', {str(study)!r}])\n"
        "except SystemExit as end: code = end.code\n"
        "assert not {'ray', 'mlflow', 'torch'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr


def test_a_bucket_that_cannot_be_reached_is_refused_before_anything_runs(tmp_path: Path) -> None:
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = call("run", write_study(tmp_path), "--store", "s3://bucket/prefix", env={**os.environ, **nowhere})
    assert done.returncode == 2
    assert "s3://bucket/prefix" in done.stderr and "127.0.0.1:9" in done.stderr


def test_readme_commands_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for target in ("make demo", "make test", "make ui"):
        assert target in readme
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
