"""What a study has still to do: which stages, how often, in which order."""

from pathlib import Path
from typing import Any

from neuroiou_study.report.open_work import Crew, varied_stages
from tests.report.ledgers import made_up, make_study

FINETUNED = {"neuroiou": ["finetune neuroiou", "evaluate neuroiou"], "ce": ["finetune ce", "evaluate ce"]}
FIT_TOO: dict[str, Any] = {"search": {"fit_surrogate.depth": {"int": [1, 9]}, "finetune.lr": {"float": [1e-4, 1e-2]}}}


def test_a_study_in_its_phases(tmp_path: Path) -> None:
    phases = made_up(tmp_path).phases
    assert [(phase.name, phase.crew) for phase in phases] == [
        ("shared stages", Crew.first),
        ("trials", Crew.trials),
        ("val", Crew.all),
    ]


def test_what_no_range_touches_is_made_once_a_seed(tmp_path: Path) -> None:
    made = made_up(tmp_path, seeds=[0, 1])
    stages = ["pretrain neuroiou", "collect_pairs neuroiou", "fit_surrogate neuroiou"]
    assert made.works("shared stages") == [stages + stages]
    ours, ce = 2 * FINETUNED["neuroiou"], 2 * FINETUNED["ce"]
    assert made.works("trials") == [ours, ce, ours, ce]  # the arms in turns, both seeds of a trial together


def test_a_range_makes_its_stage_and_all_after_it_a_trial_s_own(tmp_path: Path) -> None:
    made = made_up(tmp_path, **FIT_TOO)
    assert made.works("shared stages") == [["pretrain neuroiou", "collect_pairs neuroiou"]]
    assert made.works("trials")[0] == ["fit_surrogate neuroiou", *FINETUNED["neuroiou"]]
    deeper = make_study(search={"model.width": {"int": [4, 8]}})
    assert varied_stages(deeper, "ce") >= {"pretrain", "finetune", "evaluate"}
    assert varied_stages(deeper, "neuroiou") == varied_stages(deeper, "ce")


def test_where_every_trial_pretrains_every_trial_is_counted_with_it(tmp_path: Path) -> None:
    made = made_up(tmp_path, search={"pretrain.lr": {"float": [1e-4, 1e-2]}})
    assert made.works("shared stages") == []
    assert [job[0] for job in made.works("trials")] == ["pretrain neuroiou", "pretrain ce"] * 2


def test_what_the_trials_of_a_variant_share_is_made_by_the_first_of_them(tmp_path: Path) -> None:
    made = made_up(tmp_path, variants={"hinge": {"fit_surrogate.inputs": "hinge3"}})
    hinge = [job for job in made.works("trials") if "evaluate hinge" in job]
    # Its own surrogate, but the pairs that all learned arms share.
    assert hinge == [["fit_surrogate hinge", "finetune hinge", "evaluate hinge"], ["finetune hinge", "evaluate hinge"]]


def test_an_arm_with_nothing_to_search_has_one_trial(tmp_path: Path) -> None:
    made = made_up(tmp_path, search={"fit_surrogate.depth": {"int": [1, 9]}})
    assert [job[-1] for job in made.works("trials")] == ["evaluate neuroiou"] * 2 + ["evaluate ce"]


def test_a_confirmation_pretrains_anew(tmp_path: Path) -> None:
    made = made_up(tmp_path, confirm={"seeds": 2, "top": 2})
    fresh = ["pretrain neuroiou", "collect_pairs neuroiou", "fit_surrogate neuroiou"]
    assert made.works("shared stages of fresh seeds") == [fresh + fresh]
    # Two configurations of the learned arm and one of ce, on two seeds each.
    assert made.works("confirmations") == [FINETUNED["neuroiou"]] * 4 + [FINETUNED["ce"]] * 2
    assert made.works("val") == []


def test_a_confirmation_counts_no_more_trials_than_there_are(tmp_path: Path) -> None:
    made = made_up(tmp_path, confirm={"seeds": 1, "top": 9})
    assert len(made.works("confirmations")) == 2 + 1


def test_after_the_search_the_winners_themselves_are_confirmed(tmp_path: Path) -> None:
    made = made_up(tmp_path, confirm={"seeds": 2})
    trials = [
        made.begun(arm, number, finetune__lr=1e-3 * (1 + number)) for arm in ("neuroiou", "ce") for number in (0, 1)
    ]
    for trial in trials:
        made.has_trial(trial)
        made.ended(trial)
    first = trials[0].model_copy(update={"fresh_seed": 1})
    made.has_trial(first)
    made.ended(first)
    assert made.works("trials") == []
    assert made.works("confirmations") == [FINETUNED["neuroiou"], FINETUNED["ce"], FINETUNED["ce"]]
    assert made.works("shared stages of fresh seeds")[0][0] == "pretrain neuroiou"


def test_nothing_is_confirmed_of_a_study_without_a_complete_trial(tmp_path: Path) -> None:
    made = made_up(tmp_path, confirm={"seeds": 2})
    for arm in ("neuroiou", "ce"):
        for number in (0, 1):
            made.ended(made.begun(arm, number, finetune__lr=1e-3), "failed", epochs=0)
    assert [phase.name for phase in made.phases] == ["shared stages"]


def test_a_screening_fits_before_the_search(tmp_path: Path) -> None:
    made = made_up(tmp_path, **FIT_TOO, screen={"surrogates": 5}, seeds=[0, 1])
    (fits,) = [phase for phase in made.phases if phase.name == "screening: fits"]
    ((work,),) = fits.jobs
    assert (fits.crew, work.stage, work.times.likely, work.times.most) == (Crew.alone, "screen", 10, 10)
    assert made.works("screening: pairs") == []  # shared already
    assert made.works("trials")[0] == FINETUNED["neuroiou"] * 2
    made.has(made.address("fit_surrogate", "neuroiou", 1))
    ((again,),) = next(phase.jobs for phase in made.phases if phase.name == "screening: fits")
    assert again.times.likely == 9


def test_a_confirmed_surrogate_of_a_screening_is_fitted_again(tmp_path: Path) -> None:
    made = made_up(tmp_path, **FIT_TOO, screen={"surrogates": 5}, confirm={"seeds": 1})
    assert made.works("confirmations")[0] == ["fit_surrogate neuroiou", *FINETUNED["neuroiou"]]


def test_a_variant_that_is_screened_collects_its_own_pairs(tmp_path: Path) -> None:
    wide = {"wide": {"collect_pairs.perturbed": 1}}
    made = made_up(tmp_path, **FIT_TOO, screen={"surrogates": 5}, variants=wide)
    assert made.works("screening: pairs") == [["collect_pairs wide"]]
    assert made.works("screening: fits") == [["screen neuroiou", "screen wide"]]
