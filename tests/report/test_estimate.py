"""Hours, machines and money, against numbers worked out by hand."""

from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.report.bounds import Bounds
from neuroiou_study.report.estimate import Offer
from neuroiou_study.spec import Scalar
from neuroiou_study.stages.ledger import Outcome
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import State, StudyRecords
from neuroiou_study.stages.val import finals
from tests.report.ledgers import MadeUp, made_up, price_list


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    """Nothing is in the store, and every stage was measured once."""
    made = made_up(tmp_path)
    made.took_as_usual()
    return made


def seconds(bounds: Bounds) -> Bounds:
    """From hours, without the noise of floating point."""
    return Bounds(round(bounds.likely * 3600, 6), round(bounds.most * 3600, 6))


def same(value: float) -> Bounds:
    return Bounds(value, value)


def test_a_study_on_one_machine(made: MadeUp) -> None:
    # Shared, by the two workers of one trial: 200 / 2 + 20 / 2, and the fit by one of them: 30. Together 140.
    # Trials of 55, 45, 55, 45 on two crews: 55 | 45 + 55, so that the last one ends at 55 + 45 = 100.
    # val of both arms by all four workers: 2 * 10 / 4 = 5.
    offer = made.offer()
    assert (offer.fleet.number, offer.fleet.at_once) == (1, 2)
    assert seconds(offer.hours) == seconds(offer.machine_hours) == same(245)
    assert offer.on_demand.likely == pytest.approx(0.245) and offer.on_demand.most == pytest.approx(0.245)
    assert offer.spot is not None and offer.spot.likely == pytest.approx(0.1225)


def test_a_phase_pays_for_the_machines_that_it_uses(made: MadeUp) -> None:
    # Two machines of two workers: one for what is shared, both for trials and val: 140 + 2 * 100 + 2 * 5.
    offer = made.offer(price_list({"cpus": 2}))
    assert offer.fleet.number == 2
    assert (seconds(offer.hours), seconds(offer.machine_hours)) == (same(245), same(350))


def test_a_machine_that_is_too_large_is_paid_for_all_the_same(made: MadeUp) -> None:
    offer = made.offer(price_list({"cpus": 64}))
    assert (offer.fleet.number, offer.fleet.at_once) == (1, 2) and seconds(offer.machine_hours) == same(245)


def test_workers_of_a_trial_may_be_spread(made: MadeUp) -> None:
    # Machines of one worker: four of them; what is shared needs two.
    offer = made.offer(price_list({"cpus": 1}))
    assert offer.fleet.number == 4
    assert (seconds(offer.hours), seconds(offer.machine_hours)) == (same(245), same(2 * 140 + 4 * 100 + 4 * 5))


def test_without_trials_at_once_there_are_the_fewest_machines_and_the_most(tmp_path: Path) -> None:
    made = made_up(tmp_path, resources={"workers": 2})
    made.took_as_usual()
    fewest, most = made.offers(price_list({"cpus": 2}))
    # One trial at once: 140, then 55 + 45 + 55 + 45, then val by two workers: 10.
    assert (fewest.fleet.number, fewest.fleet.at_once, seconds(fewest.hours)) == (1, 1, same(350))
    # All four at once: 140, then the longest, then val by eight: 2.5.
    assert (most.fleet.number, most.fleet.at_once, seconds(most.hours)) == (4, 4, same(197.5))
    assert seconds(most.machine_hours) == same(140 + 4 * 55 + 4 * 2.5)


def test_all_trials_run_that_fit_where_trials_at_once_is_not_set(tmp_path: Path) -> None:
    made = made_up(tmp_path, resources={"workers": 1})
    made.took_as_usual()
    (offer,) = made.offers(price_list({"cpus": 16}))
    assert (offer.fleet.number, offer.fleet.at_once) == (1, 4)  # all of them
    made = made_up(tmp_path, resources={"workers": 1}, budget={"max_trials": 12})
    fewest, most = made.offers(price_list({"cpus": 16}))
    assert (fewest.fleet.number, fewest.fleet.at_once, most.fleet.number, most.fleet.at_once) == (1, 16, 2, 24)


def test_a_worker_of_what_is_shared_needs_an_image_of_each_batch(tmp_path: Path) -> None:
    changes = {"pretrain": {"epochs": 2, "batch_size": 2}, "resources": {"workers": 1, "trials_at_once": 4}}
    made = made_up(tmp_path, **changes)
    made.took_as_usual()
    # 250 by one, then the longest of four, then val by two of the four.
    assert seconds(made.offer().hours) == same(250 + 110 + 10)


def test_a_worker_alone_takes_what_several_divide(tmp_path: Path) -> None:
    made = made_up(tmp_path, resources={"workers": 1, "trials_at_once": 1})
    made.took_as_usual()
    # 200 + 20 + 30, then 110 + 90 + 110 + 90, then 20.
    assert seconds(made.offer().hours) == same(670)


def test_shared_workers_are_those_of_what_is_shared(tmp_path: Path) -> None:
    made = made_up(tmp_path, resources={"workers": 2, "trials_at_once": 2, "shared_workers": 8})
    made.took_as_usual()
    offer = made.offer()
    # Two machines, for the eight: 220 / 8 + 30, then trials on one of them, then val by eight.
    assert offer.fleet.number == 2
    assert seconds(offer.hours) == same(57.5 + 100 + 2.5)
    assert seconds(offer.machine_hours) == same(2 * 57.5 + 100 + 2 * 2.5)


def test_a_faster_machine_is_faster_at_all_but_the_fit(made: MadeUp) -> None:
    # 220 / 2 / 10 + 30, then 100 / 10, then 5 / 10.
    assert seconds(made.offer(big=10.0).hours) == same(11 + 30 + 10 + 0.5)


def test_the_spread_of_what_was_measured(made: MadeUp) -> None:
    made.took("finetune", 80, values={"finetune.lr": 1e-3})
    # finetune of the learned arm: 100 and 160, mean 130, at most 160. Trials of 70, 45, 70, 45: 115; at most 85: 130.
    assert seconds(made.offer().hours) == Bounds(140 + 115 + 5, 140 + 130 + 5)


def test_what_an_arm_took_itself_counts_for_it(made: MadeUp) -> None:
    made.took("finetune", 400, arm="ce", values={"finetune.lr": 1e-3})
    # ce: 80 and 800; the learned arm is as before. Trials of 55, 225, 55, 225: 55 + 55 | 225, then 110 + 225 = 335.
    assert seconds(made.offer().hours).likely == 140 + 335 + 5


def test_an_arm_that_was_not_measured_takes_what_others_took(tmp_path: Path) -> None:
    made = made_up(tmp_path)
    for stage in ("pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate"):
        made.took(stage, 10)
    # ce's fine-tuning is taken as the learned arm's.
    assert seconds(made.offer().hours) == same(10 + 10 + 10 + 40 + 10)


def test_attempts_that_died_belong_to_the_result(made: MadeUp) -> None:
    values: dict[str, Scalar] = {"finetune.lr": 1e-3}
    died: tuple[Outcome, ...] = ("running", "left", "failed")
    for outcome in died:
        made.took("finetune", 10, outcome=outcome, values=values)
    made.took("finetune", 20, values=values)
    # 100 and 2 * (10 + 10 + 10 + 20) = 100: the mean is what it was.
    assert seconds(made.offer().hours) == same(245)


def test_attempts_without_a_result_are_no_measurement(made: MadeUp) -> None:
    died: tuple[Outcome, ...] = ("running", "left", "failed", "pruned")
    for outcome in died:
        made.took("finetune", 1, outcome=outcome, values={"finetune.lr": 1e-3})
    assert seconds(made.offer().hours) == same(245)


def test_a_result_that_was_made_twice_is_two_measurements(made: MadeUp) -> None:
    made.took("pretrain", 300)
    assert seconds(made.offer().hours) == Bounds(245 + 100, 245 + 200)


def test_what_is_in_the_store_is_not_paid_again(made: MadeUp) -> None:
    made.has(*(made.address(stage, "neuroiou") for stage in ("pretrain", "collect_pairs", "fit_surrogate")))
    first = made.begun("neuroiou", 0)
    made.has_trial(first)
    made.ended(first)
    # Trials of 45, 55, 45 on two crews: 45 + 45 | 55; val as before.
    assert seconds(made.offer().hours) == same(90 + 5)


def test_a_trial_that_has_begun_goes_on(made: MadeUp) -> None:
    made.has(*(made.address(stage, "neuroiou") for stage in ("pretrain", "collect_pairs", "fit_surrogate")))
    made.has_trial(made.begun("neuroiou", 0, finetune__lr=1e-3), ["finetune"])
    # First what has begun, of which 5 is left, then 45, 55, 45: 5 + 55 | 45 + 45.
    assert seconds(made.offer().hours) == same(90 + 5)


def all_done(made: MadeUp) -> None:
    for arm in made.study.arms:
        for number in range(made.study.num_trials(arm)):
            assignment = made.begun(arm, number, finetune__lr=1e-3 * (number + 1))
            made.has_trial(assignment)
            made.ended(assignment)


def test_nothing_is_left_of_a_study_that_is_done(made: MadeUp) -> None:
    all_done(made)
    assert made.works("val") == [["evaluate neuroiou", "evaluate ce"]]
    best = finals(made.study, list(StudyRecords(made.study, made.store)))
    made.has(*(plan(spec)["evaluate"].address for specs in best.values() for spec in specs))
    assert made.phases == []
    offer = made.offer()
    assert (offer.hours, offer.machine_hours, offer.spot, offer.on_demand) == (same(0),) * 4


def test_a_study_that_is_done_needs_no_measurement(tmp_path: Path) -> None:
    made = made_up(tmp_path, confirm={"seeds": 1})
    all_done(made)
    with pytest.raises(ValueError, match="pretrain, collect_pairs, fit_surrogate, finetune, evaluate: not measured"):
        made.offer()


def test_trials_that_are_stopped_cost_less(made: MadeUp) -> None:
    first, second = made.begun("neuroiou", 0, finetune__lr=1e-3), made.begun("ce", 0, finetune__lr=1e-3)
    made.has_trial(first)
    made.ended(first)
    made.has_trial(second, ["pretrain"])
    made.ended(second, "pruned", epochs=1)
    # One trial of each is left. The learned arm's ran all its epochs; ce's ran 1 of 3: likely 80 / 3 of one worker.
    crews = (55, 40 / 3 + 5)
    assert seconds(made.offer().hours) == Bounds(round(max(crews) + 5, 6), 55 + 5)
    one = made_up(made.store.root.parent, resources={"workers": 2, "trials_at_once": 1})
    assert seconds(one.offer().hours) == Bounds(round(sum(crews) + 10, 6), 55 + 45 + 10)


def test_trials_that_are_gated_are_made_up_for(tmp_path: Path) -> None:
    search = {"search": {"fit_surrogate.depth": {"int": [1, 9]}}, "budget": {"max_trials": 4}}
    made = made_up(tmp_path, **search)
    made.took_as_usual()
    made.has(*(made.address(stage, "neuroiou") for stage in ("pretrain", "collect_pairs")))
    states: tuple[State, ...] = ("complete", "gated", "gated", "complete", "failed")
    for number, state in enumerate(states):
        trial = made.begun("neuroiou", number, fit_surrogate__depth=number + 1)
        made.has_trial(trial, ["fit_surrogate"] if state == "gated" else None)
        made.ended(trial, state)
    # 3 count, 2 were gated: the fit of the one that is left is needed 1 + 2 / 3 times. ce has one trial: no range.
    assert made.works("trials") == [
        ["fit_surrogate neuroiou", "finetune neuroiou", "evaluate neuroiou"],
        ["finetune ce", "evaluate ce"],
    ]
    assert seconds(made.offer().hours) == same(50 + 50 + 5 + 5)


def test_a_space_in_which_all_fail_ends(tmp_path: Path) -> None:
    search = {"search": {"fit_surrogate.depth": {"int": [1, 9]}}, "controls": {}}
    made = made_up(tmp_path, **search)
    for number in range(5):
        made.ended(made.begun("neuroiou", number, fit_surrogate__depth=number + 1), "gated", epochs=0)
    # Two are wanted, five of three times two were begun: one more is.
    assert len(made.works("trials")) == 1


def costs(offer: Offer) -> tuple[float, ...]:
    assert offer.spot is not None
    every = (offer.hours, offer.machine_hours, offer.spot, offer.on_demand)
    return tuple(value for bounds in every for value in (bounds.likely, bounds.most))


LESS_AND_MORE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "trials": ({"budget": {"max_trials": 2}}, {"budget": {"max_trials": 3}}),
    "many trials": ({"budget": {"max_trials": 20}}, {"budget": {"max_trials": 31}}),
    "seeds": ({}, {"seeds": [0, 1]}),
    "a control": ({}, {"controls": {"ce": {"name": "cross_entropy"}, "soft_iou": {"name": "soft_iou"}}}),
    "a variant": ({}, {"variants": {"no_int": {"finetune.start": "random"}}}),
    "a confirmation": ({"confirm": {"seeds": 1}}, {"confirm": {"seeds": 2}}),
    "a wider one": ({"confirm": {"seeds": 2}}, {"confirm": {"seeds": 2, "top": 2}}),
    "ranges": ({}, {"search": {"pretrain.lr": {"float": [1e-4, 1e-2]}}}),
    "screening": (
        {"search": {"fit_surrogate.depth": {"int": [1, 9]}}, "screen": {"surrogates": 3}},
        {"search": {"fit_surrogate.depth": {"int": [1, 9]}}, "screen": {"surrogates": 4}},
    ),
}


@pytest.mark.parametrize("machine", [{"cpus": 4}, {"cpus": 2}, {"cpus": 7}])
@pytest.mark.parametrize("what", LESS_AND_MORE)
def test_more_is_not_cheaper(tmp_path: Path, what: str, machine: dict[str, Any]) -> None:
    found = []
    for number, changes in enumerate(LESS_AND_MORE[what]):
        made = made_up(tmp_path / str(number), **changes)
        made.took_as_usual()
        found.append(made.offer(price_list(machine)))
    for less, more in zip(*map(costs, found), strict=True):
        assert 0 < less <= more
    assert costs(found[0]) != costs(found[1])


@pytest.mark.parametrize("what", ["pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate"])
def test_a_stage_that_was_never_measured_is_asked_for(tmp_path: Path, what: str) -> None:
    made = made_up(tmp_path)
    for stage in ("pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate"):
        if stage != what:
            made.took(stage, 10)
    with pytest.raises(ValueError, match=f"^study {made.study.identity}: {what}: not measured yet: an .*--calibrate"):
        made.offer()


def test_workers_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    made = made_up(tmp_path, resources={"cpus_per_worker": 8, "gpus_per_worker": 1})
    made.took_as_usual()
    with pytest.raises(ValueError, match=r"^prices: 8 CPUs and 1 GPUs: no machine of the list has them: .* add one"):
        made.offers(price_list({}, {"name": "gpu", "gpus": 8}))


def test_machines_on_which_no_worker_fits_are_left_out(tmp_path: Path) -> None:
    made = made_up(tmp_path, resources={"gpus_per_worker": 1, "trials_at_once": 1})
    made.took_as_usual()
    (offer,) = made.offers(price_list({}, {"name": "gpu", "gpus": 1}))
    assert offer.fleet.machine.name == "gpu"


def test_an_offer_is_data_for_a_program(made: MadeUp) -> None:
    document = made.offer().as_document()
    assert {name: document[name] for name in ("machine", "provider", "machines", "trials_at_once")} == {
        "machine": "big",
        "provider": "own",
        "machines": 1,
        "trials_at_once": 2,
    }
    assert document["hours"] == {"likely": pytest.approx(245 / 3600), "most": pytest.approx(245 / 3600)}
    assert document["spot"]["likely"] == pytest.approx(0.1225) and document["on_demand"]["most"] == pytest.approx(0.245)
    assert "spot" not in made.offer(price_list({"spot": None})).as_document()
