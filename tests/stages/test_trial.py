from pathlib import Path
from statistics import fmean

import pytest

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import LocalWorker, Progress
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.fit_surrogate import read_fidelity
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.trial import (
    make_record,
    must_wait,
    needed,
    result_folder,
    run_shared_stages,
    run_trial,
    shared_stages,
)
from neuroiou_study.stages.val import finals, run_finals
from tests.stages.tiny import DIVERGING, Heard, files, tiny_study

STUDY, SEEDS = tiny_study(), tiny_study(seeds=[3, 4])


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A store in which three trials of the tiny study with two seeds have run; only to look at."""
    store = FolderStore(tmp_path_factory.mktemp("played"))
    for arm, number, lr in (("neuroiou", 0, 1e-3), ("neuroiou", 1, 1e-2), ("ce", 0, 1e-3)):
        run(SEEDS, assignment(arm, number, lr), store)
    return store


def assignment(arm: str = "neuroiou", number: int = 0, lr: float = 1e-3) -> Assignment:
    return Assignment(arm=arm, number=number, values={"finetune.lr": lr})


def run(study: StudySpec, trial: Assignment, store: FolderStore, heard: Heard | None = None) -> TrialRecord:
    run_trial(study, trial, store, LocalWorker(listener=heard or Heard()))
    record = StudyRecords(study, store).find(trial)
    assert record is not None
    return record


def test_eight_trials_pretrain_once(store: FolderStore) -> None:
    heard = Heard()
    run(STUDY, assignment(), store, heard)
    pretrain = files(store.root / "stages" / "pretrain")
    for number in range(1, 4):
        run(STUDY, assignment(number=number, lr=1e-3 * (number + 1)), store, heard)
    for number in range(4):
        run(STUDY, assignment("ce", number, lr=1e-3 * (number + 1)), store, heard)
    assert len(list((store.root / "stages" / "pretrain").iterdir())) == 1
    assert files(store.root / "stages" / "pretrain") == pretrain
    assert heard.names.count("pretrain 1") == 1 and heard.names.count("finetune 1") == 8
    assert len(list((store.root / "stages" / "fit_surrogate").iterdir())) == 1
    assert len(list((store.root / "stages" / "evaluate").iterdir())) == 8


def test_a_trial_that_ends_leaves_a_complete_record(store: FolderStore) -> None:
    heard = Heard()
    record = run(STUDY, assignment(), store, heard)
    (seed_run,) = record.runs
    assert (record.assignment, record.state, record.error) == (assignment(), "complete", None)
    assert set(seed_run.stages) == {"pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate"}
    assert all(store.find(address) for address in seed_run.stages.values())
    finetuned = [progress for progress in heard.epochs if progress.stage == "finetune"]
    assert seed_run.history == [{"epoch": progress.epoch, **progress.metrics} for progress in finetuned]
    assert record.score == seed_run.history[-1]["select_miou"]
    folder = result_folder(assignment().specs(STUDY)[0], "evaluate", store)
    assert folder is not None and read_metrics(folder)["miou"] == record.score
    assert 0 < record.seconds < 60


def test_a_control_s_record_has_no_surrogate(played: FolderStore) -> None:
    record = StudyRecords(SEEDS, played).find(assignment("ce"))
    assert record is not None and record.assignment.arm == "ce"
    assert set(record.runs[0].stages) == {"pretrain", "finetune", "evaluate"}
    assert result_folder(assignment("ce").specs(SEEDS)[0], "fit_surrogate", played) is None


def test_a_score_is_the_mean_over_the_seeds(played: FolderStore) -> None:
    record = StudyRecords(SEEDS, played).find(assignment())
    assert record is not None and [seed_run.seed for seed_run in record.runs] == [3, 4]
    scores = [seed_run.history[-1]["select_miou"] for seed_run in record.runs]
    assert scores[0] != scores[1] and record.score == fmean(scores)
    assert len(list((played.root / "stages" / "pretrain").iterdir())) == 2


def test_a_pruned_trial_leaves_its_history_and_no_checkpoint(store: FolderStore) -> None:
    record = run(STUDY, assignment(), store, Heard(stop=("finetune", 1)))
    assert (record.state, record.error) == ("pruned", None)
    assert set(record.runs[0].stages) == {"pretrain", "collect_pairs", "fit_surrogate"}
    assert [row["epoch"] for row in record.runs[0].history] == [1]
    assert record.score == record.runs[0].history[0]["select_miou"]
    folder = store.started(plan(assignment().specs(STUDY)[0])["finetune"].address)
    assert folder is not None and [path.name for path in folder.iterdir() if path.suffix != ".png"] == ["history.jsonl"]


def test_a_trial_pruned_in_its_second_seed_keeps_its_first(store: FolderStore) -> None:
    class StopSecondSeed(Heard):
        def __call__(self, progress: Progress) -> bool:
            return super().__call__(progress) or (progress.stage, progress.seed) == ("finetune", 4)

    record = run(SEEDS, assignment(), store, StopSecondSeed())
    assert record.state == "pruned"
    assert [len(seed_run.history) for seed_run in record.runs] == [2, 1]
    assert [len(seed_run.stages) for seed_run in record.runs] == [5, 3]


def test_a_diverging_trial_fails_with_step_and_images(store: FolderStore) -> None:
    record = run(DIVERGING, Assignment(arm="ce", number=0, values={}), store)
    assert record.state == "failed" and record.error is not None
    assert record.error.startswith("NonFiniteLossError: step 1: loss nan: must be finite: images train-0")
    assert record.error.endswith(": lower the learning rate")
    assert set(record.runs[0].stages) == {"pretrain"}


def test_a_gated_trial_costs_no_fine_tuning_and_says_why(store: FolderStore) -> None:
    strict, heard = tiny_study(gate={"min_sign": 0.0, "min_r2": 1.0}), Heard()
    record = run(strict, assignment(), store, heard)
    assert (record.state, record.score, record.runs[0].history) == ("gated", None, [])
    assert set(record.runs[0].stages) == {"pretrain", "collect_pairs", "fit_surrogate"}
    assert heard.names == ["pretrain 1", "pretrain 2"]
    assert not (store.root / "stages" / "finetune").exists()
    surrogate = store.find(record.runs[0].stages["fit_surrogate"])
    assert surrogate is not None
    assert record.error == f"gate: r2 {read_fidelity(surrogate)['r2']:.3f} is below min_r2 1"


def test_a_control_is_not_gated_and_neither_is_what_others_share(store: FolderStore) -> None:
    strict = tiny_study(gate={"min_r2": 1.0}, search={"finetune.lr": {"choice": [1e-3, 1e-2]}})
    run_shared_stages(strict, strict.seeds, store, LocalWorker())
    assert (store.root / "stages" / "fit_surrogate").is_dir()
    assert run(strict, assignment("ce"), store).state == "complete"


def test_a_confirmation_is_the_trial_on_its_fresh_seed_on_val_without_a_gate(store: FolderStore) -> None:
    strict = tiny_study(gate={"min_r2": 1.0}, seeds=[3, 4], confirm={"seeds": 1})
    assert run(strict, assignment(), store).state == "gated"
    fresh = assignment().model_copy(update={"fresh_seed": 5})
    record = run(strict, fresh, store)
    assert record.state == "complete" and [seed_run.seed for seed_run in record.runs] == [5]
    found = store.find(record.runs[0].stages["evaluate"])
    assert found is not None and read_metrics(found)["split"] == "val"
    assert StudyRecords(strict, store).confirmations() == [record]
    assert [each.state for each in StudyRecords(strict, store)] == ["gated"]
    # The score stays that of select, as in the search: val is for the verdict.
    assert record.score == record.runs[0].history[-1]["select_miou"]


def test_a_trial_that_failed_before_its_first_epoch_has_no_score(store: FolderStore) -> None:
    study = tiny_study(finetune={"epochs": 2, "batch_size": 9})
    record = run(study, assignment("ce"), store)
    assert (record.state, record.score, record.runs[0].history) == ("failed", None, [])
    assert record.error is not None and record.error.startswith("ValueError: batch_size: 9: ")


def test_a_damaged_result_fails_the_trial_and_not_the_study(store: FolderStore) -> None:
    run_shared_stages(STUDY, STUDY.seeds, store, LocalWorker())
    (model,) = (store.root / "stages" / "pretrain").glob("*/model.safetensors")
    model.write_bytes(b"")
    record = run(STUDY, assignment(), store)
    assert record.state == "failed"
    assert record.error is not None and record.error.startswith(f"RuntimeError: {model}: damaged: must have")


def test_an_error_of_ours_is_not_a_trial_s(store: FolderStore) -> None:
    def wrong(_: Progress) -> bool:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_trial(STUDY, assignment(), store, LocalWorker(listener=wrong))
    assert StudyRecords(STUDY, store).find(assignment()) is None


def test_a_trial_run_again_has_the_same_record(store: FolderStore) -> None:
    first = run(STUDY, assignment(), store)
    heard = Heard()
    again = run(STUDY, assignment(), store, heard)
    assert heard.names == []
    assert again.model_copy(update={"seconds": first.seconds}) == first


def test_a_record_can_be_made_of_a_trial_whose_machine_went_away(store: FolderStore) -> None:
    assert make_record(STUDY, assignment(), store, "failed", "gone", 1.0).runs[0].history == []

    def cut(progress: Progress) -> bool:
        if progress.stage == "finetune":
            raise KeyError("gone")
        return False

    with pytest.raises(KeyError):
        run_trial(STUDY, assignment(), store, LocalWorker(listener=cut))
    record = make_record(STUDY, assignment(), store, "failed", "gone", 1.0)
    assert len(record.runs[0].history) == 1 and record.score == record.runs[0].history[0]["select_miou"]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_trial_that_is_not_to_wait_leaves_and_goes_on_later(store: FolderStore, stage: str) -> None:
    heard, addresses = Heard(), needed(STUDY, assignment())
    making = store.try_lease(next(address for address in addresses if address.startswith(stage)))
    assert making is not None
    with making:
        run_trial(STUDY, assignment(), store, LocalWorker(listener=heard), wait=False)
        assert StudyRecords(STUDY, store).find(assignment()) is None
        assert heard.names == ([] if stage == "pretrain" else ["pretrain 1", "pretrain 2"])
        assert must_wait(addresses, store)
    assert not must_wait(addresses, store)
    run_trial(STUDY, assignment(), store, LocalWorker(listener=heard), wait=False)
    assert heard.names == ["pretrain 1", "pretrain 2", "finetune 1", "finetune 2"]
    record = StudyRecords(STUDY, store).find(assignment())
    assert record is not None and record.state == "complete"


def test_a_trial_needs_its_results_in_order_for_each_seed(played: FolderStore) -> None:
    addresses = needed(SEEDS, assignment("ce"))
    assert [address.split("/")[0] for address in addresses] == ["pretrain", "finetune", "evaluate"] * 2
    assert len(set(addresses)) == 6 and all(played.has(address) for address in addresses)
    with played.try_lease(addresses[0]) or pytest.fail():
        assert not must_wait(addresses, played)  # it is there, whoever holds it


@pytest.mark.parametrize(
    ("searched", "shared"),
    [
        (["finetune.lr"], ("pretrain", "collect_pairs", "fit_surrogate")),
        (["finetune.lr", "fit_surrogate.lr"], ("pretrain", "collect_pairs")),
        (["collect_pairs.batch_size"], ("pretrain",)),
        (["pretrain.lr"], ()),
        (["model.width"], ()),
        (["pretrain.lr", "fit_surrogate.lr"], ()),
    ],
)
def test_trials_share_the_first_stages_that_no_range_touches(searched: list[str], shared: tuple[str, ...]) -> None:
    study = tiny_study(search={name: {"choice": [4, 8]} for name in searched})
    assert shared_stages(study) == shared


def test_shared_stages_are_made_once_for_each_seed(store: FolderStore) -> None:
    heard = Heard()
    run_shared_stages(SEEDS, SEEDS.seeds, store, LocalWorker(listener=heard))
    assert [(progress.seed, progress.epoch) for progress in heard.epochs] == [(3, 1), (3, 2), (4, 1), (4, 2)]
    made = {path.name: len(list(path.iterdir())) for path in (store.root / "stages").iterdir()}
    assert made == {"pretrain": 2, "collect_pairs": 2}
    run_trial(SEEDS, assignment(), store, LocalWorker(listener=(trial := Heard())))
    assert {progress.stage for progress in trial.epochs} == {"finetune"}


def test_nothing_is_shared_where_pretraining_is_searched(store: FolderStore) -> None:
    run_shared_stages(tiny_study(search={"pretrain.lr": {"choice": [1e-3, 1e-2]}}), [0], store, LocalWorker())
    assert not (store.root / "stages").exists()


def test_the_finals_are_each_arm_s_best_trial_on_val(played: FolderStore) -> None:
    records = list(StudyRecords(SEEDS, played))
    best = finals(SEEDS, records)
    assert list(best) == ["neuroiou", "ce"]
    learned = [record for record in records if record.assignment.arm == "neuroiou"]
    winner = max(learned, key=lambda record: record.score or 0)
    assert {record.score for record in learned} != {winner.score}
    assert [spec.finetune.lr for spec in best["neuroiou"]] == [winner.assignment.values["finetune.lr"]] * 2
    assert [spec.seed for spec in best["neuroiou"]] == [3, 4]
    assert {spec.evaluate.split for specs in best.values() for spec in specs} == {"val"}


def test_the_finals_open_val_once(played: FolderStore) -> None:
    def opened(split: str) -> int:
        folders = (played.root / "stages" / "evaluate").iterdir()
        return [read_metrics(folder)["split"] for folder in folders].count(split)

    assert (opened("select"), opened("val")) == (6, 0)
    run_finals(SEEDS, played, LocalWorker())
    assert (opened("select"), opened("val")) == (6, 4)
    before, heard = files(played.root / "stages"), Heard()
    run_finals(SEEDS, played, LocalWorker(listener=heard))
    assert files(played.root / "stages") == before and heard.names == []


def test_an_arm_without_a_complete_trial_has_no_final(store: FolderStore) -> None:
    run(STUDY, assignment(), store, Heard(stop=("finetune", 2)))
    run(STUDY, assignment("ce"), store)
    assert list(finals(STUDY, list(StudyRecords(STUDY, store)))) == ["ce"]
