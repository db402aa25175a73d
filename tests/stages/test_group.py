"""Two workers of a torch.distributed group do together what one does alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from neuroiou_study.core.training import NonFiniteLossError
from neuroiou_study.spec import TrialSpec
from neuroiou_study.stages.backend import GroupWorker, LocalWorker, Pruned
from neuroiou_study.stages.checkpoint import load_checkpoint
from neuroiou_study.stages.collect_pairs import PAIRS_FILE
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.fit_surrogate import read_fidelity
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.train_network import Row, read_history
from neuroiou_study.stages.trial import needed, run_trial
from tests.stages.groups import member
from tests.stages.processes import run_together
from tests.stages.tiny import DIVERGING, Heard, tiny_study

STUDY = tiny_study(
    pretrain={"epochs": 2, "batch_size": 4, "snapshots": 1},
    collect_pairs={"snapshots": 1, "perturbed": 1},
    controls={"soft": {"name": "soft_iou", "aggregate": "batch"}},
)
LEARNED = Assignment(arm="neuroiou", number=0, values={"finetune.lr": 1e-3})
CONTROL = Assignment(arm="soft", number=0, values={"finetune.lr": 1e-3})
WAITING = Assignment(arm="soft", number=1, values={"finetune.lr": 3e-3})
STOPPED = Assignment(arm="neuroiou", number=1, values={"finetune.lr": 2e-3})
FAILING = Assignment(arm="ce", number=0, values={})
BASE: TrialSpec = STUDY.sample({})


def run_trials(index: int, barrier: Any, root: Path) -> None:
    """What a worker of the group does; it writes down what it was told."""
    store, heard, stopped, resumed = FolderStore(root / "store"), Heard(), Heard(stop=("finetune", 1)), Heard()
    with member(index, root):
        run_trial(STUDY, LEARNED, store, GroupWorker(listener=heard))
        run_trial(STUDY, CONTROL, store, GroupWorker())
        run_trial(STUDY, STOPPED, store, GroupWorker(listener=stopped))
        with pytest.raises(NonFiniteLossError):
            run_trial(DIVERGING, FAILING, store, GroupWorker())
        run_trial(STUDY, WAITING, store, GroupWorker(), wait=False)
        pretrain(BASE, {}, root / "interrupted", GroupWorker(listener=resumed))
        # The second worker may run on a machine that has neither the folder nor what is in it.
        pretrain(BASE, {}, root / f"seen-by-{index}", GroupWorker(listener=resumed))
        told = [heard.names, stopped.names, resumed.names]
        (root / f"told-{index}.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a group has worked; before that, a lone worker was interrupted in two folders."""
    root = tmp_path_factory.mktemp("group")
    for name in ("interrupted", "seen-by-0"):
        (root / name).mkdir()
        with pytest.raises(Pruned):
            pretrain(BASE, {}, root / name, LocalWorker(listener=Heard(stop=("pretrain", 1))))
        assert load_checkpoint(root / name) is not None
    with FolderStore(root / "store").try_lease(needed(STUDY, WAITING)[1]) or pytest.fail():
        run_together(run_trials, 2, root)
    return root


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A store in which a lone worker has made the same."""
    store = FolderStore(tmp_path_factory.mktemp("alone"))
    for assignment in (LEARNED, CONTROL):
        run_trial(STUDY, assignment, store, LocalWorker())
    return store


def told(root: Path, index: int) -> Any:
    return json.loads((root / f"told-{index}.json").read_text())


def record(store: FolderStore, assignment: Assignment) -> TrialRecord:
    found = StudyRecords(STUDY, store).find(assignment)
    assert found is not None
    return found


def folder(store: FolderStore, assignment: Assignment, stage: str) -> Path:
    found = store.find(record(store, assignment).runs[0].stages[stage])
    assert found is not None
    return found


def assert_near(one: list[Row], other: list[Row]) -> None:
    assert len(one) == len(other) == 2
    for left, right in zip(one, other, strict=True):
        assert left == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("assignment", [LEARNED, CONTROL], ids=lambda assignment: assignment.name)
def test_a_group_s_trial_is_a_lone_worker_s(root: Path, alone: FolderStore, assignment: Assignment) -> None:
    together = FolderStore(root / "store")
    assert record(together, assignment).state == record(alone, assignment).state == "complete"
    assert record(together, assignment).runs[0].stages == record(alone, assignment).runs[0].stages
    for stage in ("pretrain", "finetune"):
        histories = (read_history(folder(store, assignment, stage)) for store in (together, alone))
        assert_near(*histories)
    metrics = [read_metrics(folder(store, assignment, "evaluate")) for store in (together, alone)]
    assert metrics[0]["counts_per_image"] == metrics[1]["counts_per_image"]


def test_a_group_collects_the_pairs_and_fits_the_surrogate_of_a_lone_worker(root: Path, alone: FolderStore) -> None:
    stores = (FolderStore(root / "store"), alone)
    together, one = (load_file(folder(store, LEARNED, "collect_pairs") / PAIRS_FILE) for store in stores)
    sums = {"log", "crammer_singer", "one_vs_rest", "class", "predicted", "complement"}
    assert set(together) == set(one) == {"counts", *sums}
    assert one["counts"].shape == (3, 8, 6, 3)  # the network's own output, a perturbed one, a snapshot's
    assert torch.equal(together["counts"], one["counts"])
    for name, value in one.items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-3)
    for stage in ("fit_surrogate", "finetune"):
        fidelities = [read_fidelity(folder(store, LEARNED, stage)) for store in stores]
        assert fidelities[0] == pytest.approx(fidelities[1], abs=1e-2, nan_ok=True)


def test_the_first_worker_alone_is_told_of_epochs(root: Path) -> None:
    assert told(root, 0)[0] == ["pretrain 1", "pretrain 2", "finetune 1", "finetune 2"]
    assert told(root, 1)[:3] == [[], [], []]


def test_a_pruned_trial_ends_in_every_worker(root: Path) -> None:
    # The second worker has come past it, too: otherwise it would not have ended well.
    assert told(root, 0)[1] == ["finetune 1"]
    pruned = record(FolderStore(root / "store"), STOPPED)
    assert pruned.state == "pruned" and len(pruned.runs[0].history) == 1


def test_a_trial_that_would_have_to_wait_leaves_every_worker_without_a_record(root: Path) -> None:
    # Both have come past it: otherwise they would not have ended.
    assert StudyRecords(STUDY, FolderStore(root / "store")).find(WAITING) is None


def test_a_failure_ends_every_worker_and_is_left_to_be_recorded_by_who_began_them(root: Path) -> None:
    # Both have met it as an error: otherwise they would not have come here.
    assert StudyRecords(DIVERGING, FolderStore(root / "store")).find(FAILING) is None


def test_a_group_resumes_what_a_lone_worker_began(root: Path, alone: FolderStore) -> None:
    assert told(root, 0)[2] == ["pretrain 1", "pretrain 2"] * 2
    expected = read_history(folder(alone, LEARNED, "pretrain"))
    assert_near(read_history(root / "interrupted"), expected)


def test_only_the_first_worker_needs_the_folder(root: Path) -> None:
    assert read_history(root / "seen-by-0") == read_history(root / "interrupted")
    assert not (root / "seen-by-1").exists()
