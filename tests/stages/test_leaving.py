"""A machine that is told to go: what it keeps, and that whoever goes on from there ends as if nothing had happened."""

import json
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.spec import TrialSpec
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.backend import GroupWorker, Leaving, LocalWorker, Worker
from neuroiou_study.stages.checkpoint import load_checkpoint
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.train_network import HISTORY_FILE, MODEL_FILE, read_history
from tests.stages.groups import member
from tests.stages.processes import run_together
from tests.stages.tiny import Heard, tiny_study

STEPS = 4


def dropping(**pretraining: Any) -> TrialSpec:
    """Two epochs of four steps of a network with dropout; images are cropped, scaled, mirrored and coloured."""
    data = {"name": "shapes", "num_train": 8, "num_select": 4, "num_val": 4, "size": [16, 24]}
    augment = {"scale": [0.5, 2.0], "crop": [16, 16], "colour": 0.2}
    study = tiny_study(
        data={**data, "augment": augment},
        model={"name": "fcn32s", "width": 1},
        pretrain={"epochs": 2, "batch_size": 2, "lr": 1e-2, "schedule": {"name": "cosine"}, **pretraining},
    )
    return study.sample({})


ADAM = dropping(optimizer={"name": "adam"})
SGD = dropping(optimizer={"name": "sgd"})
SPECS = pytest.mark.parametrize("spec", [ADAM, SGD], ids=["adam", "sgd"])


class Notice:
    """Told to go when it asks for the ``step``-th time; 0: never."""

    def __init__(self, step: int) -> None:
        self.step, self.asked = step, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked == self.step


def train(spec: TrialSpec, folder: Path, worker: Worker) -> Path:
    pretrain(spec, {}, folder, worker)
    return folder


def leave(spec: TrialSpec, folder: Path, worker: Worker) -> Path:
    with pytest.raises(Leaving):
        pretrain(spec, {}, folder, worker)
    assert not (folder / MODEL_FILE).exists()
    return folder


def result(folder: Path) -> tuple[bytes, bytes]:
    return (folder / HISTORY_FILE).read_bytes(), (folder / MODEL_FILE).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bytes]]:
    """What an undisturbed training leaves, by its optimiser."""
    specs = {"adam": ADAM, "sgd": SGD}
    return {name: result(train(spec, tmp_path_factory.mktemp(name), LocalWorker())) for name, spec in specs.items()}


@SPECS
@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("step", [1, STEPS, STEPS + 2])
def test_a_training_left_after_a_step_ends_as_if_it_had_not_been(
    spec: TrialSpec, loader_workers: int, step: int, whole: dict[str, tuple[bytes, bytes]], tmp_path: Path
) -> None:
    resources = ResourcesSpec(loader_workers=loader_workers)
    leave(spec, tmp_path, LocalWorker(resources=resources, is_leaving=Notice(step)))
    assert len(read_history(tmp_path)) == (step - 1) // STEPS
    heard = Heard()
    train(spec, tmp_path, LocalWorker(resources=resources, listener=heard))
    assert result(tmp_path) == whole[spec.pretrain.optimizer.name]
    assert heard.names == ["pretrain 1", "pretrain 2"]


def test_a_training_that_is_left_at_every_step_comes_to_its_end(
    whole: dict[str, tuple[bytes, bytes]], tmp_path: Path
) -> None:
    for _ in range(2 * STEPS):
        leave(ADAM, tmp_path, LocalWorker(is_leaving=Notice(1)))
    notice = Notice(0)
    train(ADAM, tmp_path, LocalWorker(is_leaving=notice))
    assert result(tmp_path) == whole["adam"] and notice.asked == 0  # no step was left


def test_dropout_and_the_order_of_steps_show_so_that_the_tests_above_can_fail(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(leave(ADAM, tmp_path, LocalWorker(is_leaving=Notice(2))))
    assert checkpoint is not None
    assert len(checkpoint["losses"]) == 2 and len(set(checkpoint["losses"])) == 2
    assert checkpoint["history"] == [] and len(checkpoint["random"]) == 1


def test_what_is_kept_is_kept_before_it_is_told(tmp_path: Path) -> None:
    said: list[str] = []

    def keep() -> None:
        checkpoint = load_checkpoint(tmp_path)
        assert checkpoint is not None and len(read_history(tmp_path)) == len(checkpoint["history"])
        said.append(f"keep {len(checkpoint['history'])}.{len(checkpoint['losses'])}")

    def listener(progress: Any) -> bool:
        said.append(f"tell {progress.epoch}")
        return False

    leave(ADAM, tmp_path, LocalWorker(listener=listener, keep=keep, is_leaving=Notice(STEPS + 1)))
    assert said == ["keep 1.0", "tell 1", "keep 1.1"]


def in_a_group(index: int, barrier: Any, root: Path) -> None:
    kept: list[str] = []
    with member(index, root):
        train(ADAM, root / "whole", GroupWorker())
        notice = Notice(STEPS + 2 if index == 1 else 0)  # the machine of the second worker alone
        leave(ADAM, root / "left", GroupWorker(is_leaving=notice, keep=lambda: kept.append("kept")))
        train(ADAM, root / "left", GroupWorker())
        (root / f"told-{index}.json").write_text(json.dumps([notice.asked, kept]))


def test_all_of_a_group_leave_with_one_and_end_as_if_they_had_not(tmp_path: Path) -> None:
    for name in ("whole", "left"):
        (tmp_path / name).mkdir()
    run_together(in_a_group, 2, tmp_path)
    assert result(tmp_path / "left") == result(tmp_path / "whole")
    told = [json.loads((tmp_path / f"told-{index}.json").read_text()) for index in (0, 1)]
    assert told == [[STEPS + 2, ["kept", "kept"]], [STEPS + 2, []]]
