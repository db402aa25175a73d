"""Screening over a store: what is fitted, where it is left, how it is ranked, and what a restart does."""

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.draw import draw_surrogates
from neuroiou_study.stages.fit_surrogate import read_fidelity
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan, run_stages
from neuroiou_study.stages.records import StudyRecords
from neuroiou_study.stages.screen import Screening, find_screening, has_screening, num_fitted, run_screening
from tests.stages.tiny import Heard, files, tiny_study

RANGES: dict[str, Any] = {
    "fit_surrogate.depth": {"int": [1, 3]},
    "fit_surrogate.width": {"int": [4, 32], "log": True},
    "fit_surrogate.inputs": {"choice": ["prob3", "hinge3"]},
    "fit_surrogate.lr": {"float": [1e-3, 1e-2], "log": True},
    "finetune.lr": {"float": [1e-4, 1e-2], "log": True},
}


def screened_study(**changes: Any) -> StudySpec:
    return tiny_study(**{"search": RANGES, "screen": {"surrogates": 8, "top": 3}, **changes})


def addresses(study: StudySpec) -> list[str]:
    """Where the fits of all drawn surrogates are, of every seed."""
    return [
        plan(study.sample(values, seed=seed))["fit_surrogate"].address
        for seed in study.seeds
        for values in draw_surrogates(study, "neuroiou")
    ]


def screen(study: StudySpec, store: FolderStore, heard: Heard | None = None) -> Screening:
    StudyRecords(study, store).begin()
    run_screening(study, store, LocalWorker(listener=heard or Heard()))
    found = find_screening(study, "neuroiou", store)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudySpec, FolderStore, Screening, Heard]:
    study, store, heard = screened_study(seeds=[0, 3]), FolderStore(tmp_path_factory.mktemp("store")), Heard()
    return study, store, screen(study, store, heard), heard


Screened = tuple[StudySpec, FolderStore, Screening, Heard]


def test_values_are_drawn_again_alike_and_lie_in_their_ranges() -> None:
    study = screened_study(screen={"surrogates": 40})
    drawn = draw_surrogates(study, "neuroiou")
    assert drawn == draw_surrogates(study, "neuroiou") and len(drawn) == 40
    assert all(set(values) == {name for name in RANGES if name != "finetune.lr"} for values in drawn)
    assert all(study.search[name].contains(value) for values in drawn for name, value in values.items())
    assert len({json.dumps(values) for values in drawn}) == 40
    assert {values["fit_surrogate.depth"] for values in drawn} == {1, 2, 3}
    assert drawn != draw_surrogates(study.model_copy(update={"search_seed": 1}), "neuroiou")


def test_half_of_a_log_range_is_below_its_middle() -> None:
    """The geometric mean of 4 and 32 is 11.3; in even draws a quarter would be below it."""
    for name, middle in (("fit_surrogate.width", 11.3), ("fit_surrogate.lr", 3.2e-3)):
        drawn = draw_surrogates(screened_study(screen={"surrogates": 200}), "neuroiou")
        assert sum(float(values[name]) < middle for values in drawn) == pytest.approx(100, abs=25)


def test_the_file_s_own_surrogate_is_the_first_where_the_ranges_hold_it() -> None:
    own = {
        "fit_surrogate.depth": 2,
        "fit_surrogate.width": 8,
        "fit_surrogate.inputs": "prob3",
        "fit_surrogate.lr": 3e-3,
    }
    assert draw_surrogates(screened_study(), "neuroiou")[0] == own
    outside = screened_study(search={**RANGES, "fit_surrogate.depth": {"int": [3, 4]}})
    assert all(float(values["fit_surrogate.depth"]) >= 3 for values in draw_surrogates(outside, "neuroiou"))


def test_more_surrogates_begin_with_the_same_ones() -> None:
    few, many = (draw_surrogates(screened_study(screen={"surrogates": n}), "neuroiou") for n in (5, 20))
    assert many[:5] == few


def test_ranges_that_hold_few_give_few() -> None:
    search = {"fit_surrogate.depth": {"int": [1, 3]}, "finetune.lr": RANGES["finetune.lr"]}
    drawn = draw_surrogates(screened_study(search=search, screen={"surrogates": 64}), "neuroiou")
    assert sorted(int(values["fit_surrogate.depth"]) for values in drawn) == [1, 2, 3]


def test_each_fit_is_what_the_stage_leaves(screened: Screened, tmp_path: Path) -> None:
    study, store, _, _ = screened
    assert all(store.has(address) for address in addresses(study))
    drawn = draw_surrogates(study, "neuroiou")
    assert {values["fit_surrogate.inputs"] for values in drawn[:6]} == {"prob3", "hinge3"}
    for values in drawn[:6]:
        spec, alone = study.sample(values, seed=3), FolderStore(tmp_path)
        run_stages(spec, alone, LocalWorker(), ["pretrain", "collect_pairs", "fit_surrogate"])
        step = plan(spec)["fit_surrogate"]
        ours, theirs = store.find(step.address), alone.find(step.address)
        assert ours is not None and theirs is not None
        assert [path.name for path in sorted(ours.iterdir())] == [path.name for path in sorted(theirs.iterdir())]
        manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (ours, theirs)]
        assert manifests[0]["origin"] == manifests[1]["origin"] and manifests[0]["address"] == step.address
        store.verified(step.address)
        found, expected = read_fidelity(ours), read_fidelity(theirs)
        assert set(found) == set(expected)
        assert found["gradient_cosine"] == pytest.approx(expected["gradient_cosine"], abs=1e-2)
        assert found["num_epochs"] == expected["num_epochs"]


def test_the_best_stand_first_by_the_mean_over_the_seeds(screened: Screened) -> None:
    study, _, screening, _ = screened
    assert (screening.measure, screening.seeds, len(screening.surrogates)) == ("gradient_cosine", [0, 3], 8)
    for each in screening.surrogates:
        cosines = [report["gradient_cosine"] for report in each.fidelity]
        assert len(cosines) == 2 and each.measure == pytest.approx(sum(cosines) / 2)
    measures = [each.measure for each in screening.surrogates]
    assert measures == sorted(measures, reverse=True) and measures[0] > measures[-1]
    assert screening.sent(study) == [each.values for each in screening.surrogates[:3]]


def test_who_watches_hears_how_many_are_fitted(screened: Screened) -> None:
    *_, heard = screened
    progress = [each for each in heard.epochs if each.stage == "screen"]
    assert [(each.seed, each.epoch, each.epochs) for each in progress] == [
        (seed, number, 8) for seed in (0, 3) for number in range(1, 9)
    ]


def test_trials_find_their_surrogates_and_fit_nothing(screened: Screened) -> None:
    study, store, screening, _ = screened
    before = files(store.root / "stages" / "fit_surrogate")
    for seed in study.seeds:
        run_stages(study.sample(screening.sent(study)[1], seed=seed), store, LocalWorker(), ["fit_surrogate"])
    assert files(store.root / "stages" / "fit_surrogate") == before


def test_unset_top_sends_as_many_as_there_are_trials(screened: Screened) -> None:
    study, _, screening, _ = screened
    for trials in (2, 5, 99):
        grown = screened_study(screen={"surrogates": 8}, budget={"max_trials": trials})
        assert screening.sent(grown) == [each.values for each in screening.surrogates[:trials]]
    assert study.budget.max_trials == 16


def test_a_screening_that_was_killed_goes_on(tmp_path: Path) -> None:
    study, store = screened_study(), FolderStore(tmp_path)
    finished = screen(study, store)
    store.objects.delete(f"studies/{study.identity}/screening/neuroiou.json")
    gone = addresses(study)[2:5]
    for address in gone:
        shutil.rmtree(store.root / "stages" / address)
    assert num_fitted(study, "neuroiou", store) == 5 and not has_screening(study, store)
    kept = files(store.root / "stages" / "fit_surrogate")
    heard = Heard()
    again = screen(study, store, heard)
    assert heard.names == ["screen 6", "screen 7", "screen 8"]
    assert {name: files(store.root / "stages" / "fit_surrogate")[name] for name in kept} == kept
    assert [each.values for each in again.surrogates] == [each.values for each in finished.surrogates]
    assert num_fitted(study, "neuroiou", store) == 8 and has_screening(study, store)


def test_a_screening_that_is_recorded_is_not_done_again(tmp_path: Path) -> None:
    study, store = screened_study(), FolderStore(tmp_path)
    screen(study, store)
    before, heard = files(tmp_path), Heard()
    screen(study, store, heard)
    assert heard.names == []
    changed = {name for name, file in files(tmp_path).items() if before.get(name) != file}
    assert {Path(name).name for name in changed} == {"study.json"}


def test_the_gate_comes_before_the_rank(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    ungated = screen(screened_study(screen={"surrogates": 8}), store).surrogates
    least = median(each.fidelity[0]["r2"] for each in ungated)
    study = screened_study(screen={"surrogates": 8}, gate={"min_sign": 0.0, "min_r2": least})
    screening = screen(study, store)
    passed = [each.passed for each in screening.surrogates]
    assert passed == [True] * 4 + [False] * 4
    for each in screening.surrogates:
        assert each.passed == (each.fidelity[0]["r2"] >= least) == (not each.missed)
    expected = [each.values for each in ungated if each.fidelity[0]["r2"] >= least]
    assert screening.sent(study) == expected != [each.values for each in ungated[:4]]


def test_where_none_passes_the_best_are_sent_and_say_what_they_missed(tmp_path: Path) -> None:
    study, store = screened_study(gate={"min_r2": 1.0}), FolderStore(tmp_path)
    screening = screen(study, store)
    assert not any(each.passed for each in screening.surrogates)
    assert all("is below min_r2 1" in each.missed[-1] for each in screening.surrogates)
    assert screening.sent(study) == [each.values for each in screening.surrogates[:3]]


def test_a_surrogate_that_cannot_be_fitted_stands_last_and_is_not_sent(tmp_path: Path) -> None:
    search = {**RANGES, "fit_surrogate.weight_decay": {"choice": [1.0, 1e38]}}
    study, store = screened_study(search=search, screen={"surrogates": 8}), FolderStore(tmp_path)
    screening = screen(study, store)
    failed = [each for each in screening.surrogates if each.values["fit_surrogate.weight_decay"] == 1e38]
    assert 0 < len(failed) < 8 and screening.surrogates[-len(failed) :] == failed
    assert all("no epoch had a finite held-out error" in each.missed[0] for each in failed)
    assert [values["fit_surrogate.weight_decay"] for values in screening.sent(study)] == [1.0] * (8 - len(failed))


def test_learned_gains_are_ranked_by_the_flip_gains(tmp_path: Path) -> None:
    fit = {"epochs": 5, "depth": 2, "width": 8, "flip_gain_weight": 1.0, "context": True}
    study, store = screened_study(fit_surrogate=fit, screen={"surrogates": 4}), FolderStore(tmp_path)
    screening = screen(study, store)
    assert screening.measure == "flip_gain_cosine"
    assert [each.measure for each in screening.surrogates] == [
        each.fidelity[0]["flip_gain_cosine"] for each in screening.surrogates
    ]
