"""A whole study with its confirmation, here and without Ray; what a second run, a restart and MLflow make of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from neuroiou_study.orchestrate.confirmation import Confirmation
from neuroiou_study.orchestrate.study import run_here, run_study
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.report.leaderboard import make_leaderboard
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.news import Begun, Ended, Epoch, News
from neuroiou_study.stages.records import StudyRecords, TrialRecord
from neuroiou_study.stages.trial import needed
from neuroiou_study.stages.val import confirmations, open_confirmations
from tests.orchestrate.tracked import Played, shown, tiny_study
from tests.stages.tiny import files

CONFIRM = {"seeds": 2, "resamples": 200}
NAMES = [f"{trial}-seed{seed}" for trial in ("neuroiou-000", "ce-000") for seed in (1, 2)]


def make_study(**changes: Any) -> StudySpec:
    """One trial of each arm, so that the study's own values win."""
    return tiny_study(**{"confirm": CONFIRM, "budget": {"max_trials": 1}, **changes})


class Driver:
    """An observer that remembers, and dies when it hears what it is told to die of."""

    def __init__(self, dies_of: Callable[[News], bool] = lambda _: False) -> None:
        self.news: list[News] = []
        self._dies_of = dies_of

    def __call__(self, news: News) -> None:
        self.news.append(news)
        if self._dies_of(news):
            raise KeyboardInterrupt

    @property
    def begun(self) -> list[str]:
        return [item.assignment.name for item in self.news if isinstance(item, Begun)]

    @property
    def ended(self) -> list[str]:
        return [item.record.assignment.name for item in self.news if isinstance(item, Ended)]

    @property
    def epochs(self) -> list[str]:
        return [
            f"{item.assignment.name if item.assignment else 'shared'} {item.progress.stage} {item.progress.epoch}"
            for item in self.news
            if isinstance(item, Epoch)
        ]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudySpec, FolderStore, Driver]:
    """A study that has run to its end."""
    study, store, driver = make_study(), FolderStore(tmp_path_factory.mktemp("ran")), Driver()
    run_here(study, store, driver)
    return study, store, driver


def confirmed(study: StudySpec, store: FolderStore) -> dict[str, TrialRecord]:
    return {record.assignment.name: record for record in StudyRecords(study, store).confirmations()}


def test_every_candidate_is_run_on_every_fresh_seed(ran: tuple[StudySpec, FolderStore, Driver]) -> None:
    study, store, driver = ran
    assert driver.begun == driver.ended == ["neuroiou-000", "ce-000", *NAMES]
    records = confirmed(study, store)
    assert set(records) == set(NAMES)
    for record in records.values():
        assert record.state == "complete" and len(record.runs) == 1
        assert record.runs[0].seed == record.assignment.fresh_seed in study.fresh_seeds
        folder = store.find(record.runs[0].stages["evaluate"])
        assert folder is not None and read_metrics(folder)["split"] == "val"


def test_val_is_opened_for_the_confirmation_alone(ran: tuple[StudySpec, FolderStore, Driver]) -> None:
    _, store, _ = ran
    splits = [read_metrics(folder)["split"] for folder in (store.root / "stages" / "evaluate").iterdir()]
    assert sorted(splits) == ["select"] * 2 + ["val"] * 4


def test_each_fresh_seed_pretrains_once_for_all_arms(ran: tuple[StudySpec, FolderStore, Driver]) -> None:
    _, store, driver = ran
    assert len(list((store.root / "stages" / "pretrain").iterdir())) == 3
    assert [epoch for epoch in driver.epochs if "pretrain 1" in epoch] == [
        "shared pretrain 1",
        "neuroiou-000-seed1 pretrain 1",
        "neuroiou-000-seed2 pretrain 1",
    ]


def test_the_leaderboard_compares_what_was_confirmed(ran: tuple[StudySpec, FolderStore, Driver]) -> None:
    study, store, _ = ran
    board = make_leaderboard(study, store, list(StudyRecords(study, store)))
    learned = next(row for row in board.arms if row.arm == "neuroiou")
    assert len(learned.val_miou_per_seed) == 2
    assert {each.control for each in learned.comparisons} == {"ce"}
    assert {each.measure for each in learned.comparisons} >= {"miou", "miou_without_background", "triangle"}


def test_a_second_run_does_nothing(ran: tuple[StudySpec, FolderStore, Driver]) -> None:
    study, store, _ = ran
    before, driver = files(store.root / "stages"), Driver()
    records = confirmed(study, store)
    run_here(study, store, driver)
    assert driver.news == []
    assert files(store.root / "stages") == before and confirmed(study, store) == records


def test_more_seeds_are_added_to_those_that_are_there(
    ran: tuple[StudySpec, FolderStore, Driver], tmp_path: Path
) -> None:
    study, store, _ = ran
    more = make_study(confirm={**CONFIRM, "seeds": 3})
    assert more.identity == study.identity
    begun = Confirmation(more, store)
    names = []
    while (assignment := begun.next()) is not None:
        names.append(assignment.name)
    assert names == ["neuroiou-000-seed3", "ce-000-seed3"]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_driver_killed_in_the_middle_is_continued(
    ran: tuple[StudySpec, FolderStore, Driver], tmp_path: Path, stage: str
) -> None:
    study, store = make_study(), FolderStore(tmp_path / "store")

    def in_the_second_seed(news: News) -> bool:
        if not isinstance(news, Epoch) or news.assignment is None:
            return False
        return (news.assignment.name, news.progress.stage) == (NAMES[1], stage)

    first, second = Driver(in_the_second_seed), Driver()
    with pytest.raises(KeyboardInterrupt):
        run_here(study, store, first)
    assert set(confirmed(study, store)) == {NAMES[0]}
    run_here(study, store, second)
    assert second.begun == second.ended == NAMES[1:]
    # It goes on after the epoch that was written down, and ends as if it had not been killed.
    assert _without_seconds(confirmed(study, store)) == _without_seconds(confirmed(study, ran[1]))


def _without_seconds(records: dict[str, TrialRecord]) -> dict[str, TrialRecord]:
    return {name: record.model_copy(update={"seconds": 0.0}) for name, record in records.items()}


def test_a_confirmation_is_never_stopped_and_one_without_a_record_has_failed(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    run_here(make_study(confirm=None), store, Driver())
    agenda = Confirmation(study, store)
    first = agenda.next()
    assert first is not None and first.name == NAMES[0]
    assert agenda.report(first, Progress("finetune", 1, 1, 2, {"select_miou": 0.0, "loss": 9.0})) is False
    agenda.settle(first, "its process died")
    record = StudyRecords(study, store).find(first)
    assert record is not None and (record.state, record.error) == ("failed", "its process died")
    assert [type(item) for item in agenda.news()] == [Begun, Epoch, Ended] and agenda.news() == []
    assert [each.name for each in confirmations(study, list(StudyRecords(study, store)))] == NAMES
    again = Confirmation(study, store).next()
    assert again is not None and again.name == NAMES[1]


def test_a_postponed_confirmation_comes_back(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    run_here(make_study(confirm=None), store, Driver())
    agenda = Confirmation(study, store)
    first = agenda.next()
    assert first is not None and first.name == NAMES[0]
    with store.try_lease(needed(study, first)[0]) or pytest.fail():
        agenda.postpone(first)
        others = [agenda.next() for _ in NAMES[1:]]
        assert [each and each.name for each in others] == NAMES[1:]
        for each in others:
            assert each is not None
            agenda.settle(each)
        assert agenda.next() is None and not agenda.is_over()
    assert agenda.next() == first and StudyRecords(study, store).find(first) is None
    agenda.settle(first)
    assert agenda.next() is None and agenda.is_over()


def test_a_gated_trial_is_pruned_for_the_sampler(tmp_path: Path) -> None:
    study, store, driver = make_study(gate={"min_r2": 1.0}, budget={"max_trials": 2}), FolderStore(tmp_path), Driver()
    run_here(study, store, driver)
    states = {record.assignment.name: record.state for record in StudyRecords(study, store)}
    gated = [name for name, state in states.items() if state == "gated"]
    assert gated == [f"neuroiou-{number:03d}" for number in range(6)]  # three times as many as it may train
    assert states["ce-000"] == states["ce-001"] == "complete"
    storage = JournalStorage(JournalFileBackend(str(store.root / StudyRecords(study, store).folder / "optuna.log")))
    (name,) = [each for each in optuna.get_all_study_names(storage) if "/neuroiou/" in each]
    trials = optuna.load_study(study_name=name, storage=storage).trials
    assert [(trial.state, trial.values) for trial in trials] == [(TrialState.PRUNED, None)] * 6
    assert {name.rpartition("-")[0] for name in confirmed(study, store)} in ({"ce-000"}, {"ce-001"})


def test_a_spent_budget_begins_no_confirmation(ran: tuple[StudySpec, FolderStore, Driver]) -> None:
    study, store, _ = ran
    more = make_study(confirm={**CONFIRM, "seeds": 4}, budget={**study.budget.model_dump(), "max_hours": 1e-9})
    assert more.identity == study.identity and open_confirmations(more, store)
    confirmation = Confirmation(more, store)
    assert confirmation.next() is None and confirmation.is_over()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Played:
    """A study that has been run with MLflow beside it."""
    study, folder = make_study(), tmp_path_factory.mktemp("tracked")
    (folder / "mlflow.db").write_bytes(fresh_database.read_bytes())
    store = FolderStore(folder / "store")
    records = run_study(study, store, Where("local", None, f"sqlite:///{folder / 'mlflow.db'}"), Driver())
    return Played(study, store, [], records)


def test_each_confirmation_has_a_run_with_its_val_metrics(tracked: Played) -> None:
    runs = shown(tracked, f"sqlite:///{tracked.store.root.parent / 'mlflow.db'}").runs
    assert set(runs) == {"summary", "neuroiou-000", "ce-000", *NAMES}
    for name, record in confirmed(tracked.study, tracked.store).items():
        run, metrics = runs[name], tracked.document(record, "evaluate", "metrics.json")
        assert (run.status, run.tags["neuroiou.kind"]) == ("FINISHED", "confirmation")
        assert run.tags["neuroiou.arm"] == record.assignment.arm
        assert run.params["seed"] == str(record.assignment.fresh_seed) and run.params["evaluate.split"] == "val"
        assert run.latest["val/miou"] == metrics["miou"]
        assert run.latest["val/iou/triangle"] == metrics["iou_per_class"]["triangle"]
        assert "evaluate/miou" not in run.metrics
        assert [step for step, _ in run.metrics["finetune/loss"]] == [1, 2]
    assert [step for step, _ in runs[NAMES[0]].metrics["pretrain/loss"]] == [1, 2]
    assert runs["neuroiou-000"].tags["neuroiou.kind"] == "trial" and "val/miou" not in runs["neuroiou-000"].metrics


def test_the_summary_shows_the_confirmed_differences(tracked: Played) -> None:
    summary = shown(tracked, f"sqlite:///{tracked.store.root.parent / 'mlflow.db'}").runs["summary"]
    board = make_leaderboard(tracked.study, tracked.store, tracked.records)
    learned = next(row for row in board.arms if row.arm == "neuroiou")
    found = next(each for each in learned.comparisons if each.measure == "miou")
    for part in ("value", "low", "high", "p_holm"):
        assert summary.latest[f"study/confirmed_{part}_neuroiou_to_ce"] == getattr(found, part)
    assert summary.latest["study/val_miou_neuroiou"] == learned.val_miou
    assert "the best learned loss on val, is" in summary.tags["mlflow.note.content"]


def test_on_policy_fidelity_is_shown(tracked: Played) -> None:
    run = shown(tracked, f"sqlite:///{tracked.store.root.parent / 'mlflow.db'}").runs["neuroiou-000"]
    after = tracked.document(tracked.record("neuroiou-000"), "finetune", "fidelity.json")
    assert run.latest["fidelity_after/mse"] == after["mse"] != run.latest["fidelity/mse"]
