"""A calibration: real stages with few epochs, and nothing of them in the study."""

import itertools
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from neuroiou_study.stages import calibrate as module
from neuroiou_study.stages.calibrate import calibrate, find_calibration
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.ledger import Ledger
from neuroiou_study.stages.records import study_folder
from tests.stages.tiny import Heard, files, tiny_study


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes a second."""
    count = itertools.count()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(count))))


def test_every_stage_is_measured_once_for_those_who_share_it(store: FolderStore) -> None:
    made = calibrate(tiny_study(finetune={"epochs": 7, "batch_size": 4}), store)
    assert [(each.stage, each.arm, each.epochs) for each in made.stages] == [
        ("pretrain", "neuroiou", 2),
        ("collect_pairs", "neuroiou", None),
        ("fit_surrogate", "neuroiou", None),
        ("finetune", "neuroiou", 7),
        ("evaluate", "neuroiou", None),
        ("finetune", "ce", 7),
        ("evaluate", "ce", None),
    ]
    assert made.device == "cpu" and all(each.seconds > 0 for each in made.stages)


@pytest.mark.usefixtures("ticking")
def test_a_training_is_counted_with_all_its_epochs(store: FolderStore) -> None:
    made = calibrate(tiny_study(finetune={"epochs": 9, "batch_size": 4}), store)
    seconds = {(each.stage, each.arm): each.seconds for each in made.stages}
    # From 0: epochs ended at 1, 2 and 3, all at 4. The six others take a second each.
    assert seconds["finetune", "ce"] == 4 + 6
    assert seconds["pretrain", "neuroiou"] == 3 and seconds["collect_pairs", "neuroiou"] == 1


def test_a_busy_moment_is_not_multiplied(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # pretrain, collect_pairs and fit_surrogate look eight times at the clock; finetune: begin, three epochs, end.
    looks = itertools.chain(range(8), [100, 101, 111, 113, 114], itertools.count(200))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(looks))))
    made = calibrate(tiny_study(finetune={"epochs": 9, "batch_size": 4}, controls={}), store)
    assert [each.seconds for each in made.stages if each.stage == "finetune"] == [14 + 6 * 2]


@pytest.mark.usefixtures("ticking")
def test_a_training_of_one_epoch_is_what_it_is(store: FolderStore) -> None:
    made = calibrate(tiny_study(finetune={"epochs": 1, "batch_size": 4}), store)
    assert [each.seconds for each in made.stages if each.stage == "finetune"] == [2, 2]


@pytest.mark.usefixtures("ticking")
def test_both_ends_of_searched_epochs_are_counted(store: FolderStore) -> None:
    made = calibrate(tiny_study(search={"finetune.epochs": {"int": [4, 10]}}, controls={}), store)
    assert [(each.epochs, each.seconds) for each in made.stages if each.stage == "finetune"] == [(4, 5), (10, 11)]


def test_snapshots_are_kept_so_that_the_pairs_are_as_many(store: FolderStore) -> None:
    heard = Heard()
    wide = tiny_study(pretrain={"epochs": 9, "batch_size": 4, "snapshots": 3}, collect_pairs={"snapshots": 3})
    calibrate(wide, store, heard)
    assert [name for name in heard.names if name.startswith("pretrain")] == [
        f"pretrain {each}" for each in (1, 2, 3, 4)
    ]
    assert heard.names[4:] == ["finetune 1", "finetune 2"] * 2


def test_the_study_has_nothing_of_it(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    study = tiny_study(gate={"enabled": True, "min_sign": 1.0, "min_r2": 1.0})  # none would pass
    made = calibrate(study, store)
    assert list(files(store.root)) == [f"{study_folder(study)}/calibration.json"]
    assert Ledger(study.identity, store).entries() == [] and list((tmp_path / "temporary").iterdir()) == []
    assert find_calibration(study, store) == made
    assert find_calibration(tiny_study(seeds=[1]), store) is None
