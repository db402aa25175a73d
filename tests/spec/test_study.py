from typing import Any

import pytest
from pydantic import ValidationError

from neuroiou_study.spec import SpecError, StudySpec, load_study
from tests.spec.conftest import WriteStudy

SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"name": "shapes"},
    "search": {
        "pretrain.lr": {"float": [1e-3, 1e-2]},
        "collect_pairs.batch_size": {"int": [1, 8]},
        "fit_surrogate.depth": {"int": [1, 6]},
        "finetune.lr": {"float": [1e-4, 1e-2], "log": True},
    },
    "controls": {"ce": {"name": "cross_entropy"}, "soft": {"name": "soft_iou", "aggregate": "batch"}},
    "seeds": [3, 5],
}


SOFT = {"name": "soft_iou", "aggregate": "batch", "cross_entropy_weight": 0.0}


def study(**fields: Any) -> StudySpec:
    return StudySpec.model_validate({**SMALL, **fields})


def test_the_arms_are_the_surrogate_s_and_the_controls() -> None:
    assert study().arms == ("neuroiou", "ce", "soft")
    assert study(controls={}).arms == ("neuroiou",)


def test_a_control_is_searched_over_all_but_the_surrogate() -> None:
    assert list(study().ranges("neuroiou")) == list(SMALL["search"])
    assert list(study().ranges("ce")) == ["pretrain.lr", "finetune.lr"]


def test_an_arm_without_ranges_has_one_trial() -> None:
    only_surrogate = study(search={"fit_surrogate.depth": {"int": [1, 6]}}, budget={"max_trials": 7})
    assert only_surrogate.num_trials("neuroiou") == 7
    assert only_surrogate.num_trials("ce") == 1
    assert study(budget={"max_trials": 7}).num_trials("ce") == 7


VARIANTS: dict[str, Any] = {
    "hinge": {"fit_surrogate.inputs": "hinge3", "fit_surrogate.depth": 2},
    "no_int": {"finetune.start": "random"},
}


def test_variants_are_learned_arms_before_the_controls() -> None:
    varied = study(variants=VARIANTS)
    assert varied.learned_arms == ("neuroiou", "hinge", "no_int")
    assert varied.arms == ("neuroiou", "hinge", "no_int", "ce", "soft")
    assert study().learned_arms == ("neuroiou",)


def test_a_variant_is_searched_over_all_but_what_is_fixed_in_it() -> None:
    varied = study(variants=VARIANTS, budget={"max_trials": 7})
    assert list(varied.ranges("hinge")) == ["pretrain.lr", "collect_pairs.batch_size", "finetune.lr"]
    assert list(varied.ranges("no_int")) == list(varied.ranges("neuroiou")) == list(SMALL["search"])
    fixed = study(variants={"fixed": dict.fromkeys(SMALL["search"], 1)}, budget={"max_trials": 7})
    assert [fixed.num_trials(arm) for arm in ("neuroiou", "fixed", "ce")] == [7, 1, 7]


def test_a_variant_s_sample_has_its_values_below_those_that_are_drawn() -> None:
    varied = study(variants=VARIANTS)
    spec = varied.sample({"finetune.lr": 0.005}, arm="hinge", seed=9)
    assert (spec.fit_surrogate.inputs, spec.fit_surrogate.depth, spec.finetune.lr, spec.seed) == ("hinge3", 2, 0.005, 9)
    assert spec.is_learned
    assert varied.sample({}, arm="no_int").finetune.start == "random"
    assert varied.sample({}).finetune.start == "pretrained" == varied.sample({}, arm="ce").finetune.start
    drawn = varied.sample({"fit_surrogate.depth": 3}, arm="hinge")
    assert drawn.fit_surrogate.depth == 3


def test_another_kind_in_a_variant_starts_from_its_own_defaults() -> None:
    values = {"finetune.optimizer.momentum": 0.5, "finetune.optimizer.name": "sgd"}
    optimizer = study(variants={"sgd": values}).sample({}, arm="sgd").finetune.optimizer
    assert optimizer.model_dump() == {"name": "sgd", "momentum": 0.5, "weight_decay": 5e-4}


def test_a_control_is_searched_over_those_fields_of_its_loss_that_it_has() -> None:
    search = {**SMALL["search"], "finetune.loss.cross_entropy_weight": {"float": [0.0, 1.0]}}
    varied = study(search=search)
    names = ["pretrain.lr", "finetune.lr"]
    assert list(varied.ranges("ce")) == names
    assert list(varied.ranges("soft")) == [*names, "finetune.loss.cross_entropy_weight"]
    assert "finetune.loss.cross_entropy_weight" in varied.ranges("neuroiou")
    spec = varied.sample({"finetune.loss.cross_entropy_weight": 0.5}, arm="soft")
    assert spec.finetune.loss.model_dump() == {**SOFT, "cross_entropy_weight": 0.5}


def test_the_fresh_seeds_are_those_after_the_greatest() -> None:
    assert study().fresh_seeds == ()
    assert study(confirm={}).fresh_seeds == (6, 7, 8)
    assert study(confirm={"seeds": 2}, seeds=[9, 0]).fresh_seeds == (10, 11)


def test_a_sample_is_the_base_with_its_values() -> None:
    base = study(pretrain={"epochs": 3})
    spec = base.sample({"finetune.lr": 0.005, "fit_surrogate.depth": 2}, seed=9)
    assert (spec.pretrain.epochs, spec.finetune.lr, spec.fit_surrogate.depth, spec.seed) == (3, 0.005, 2, 9)
    assert spec.finetune.loss.name == "neuroiou"
    assert set(spec.model_dump()) == set(type(spec).model_fields)
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1  # type: ignore[misc]


def test_a_sample_leaves_the_study_as_it_was() -> None:
    base = study()
    before = base.model_dump()
    base.sample({"finetune.lr": 0.005, "finetune.optimizer.name": "sgd"}, arm="soft", seed=9)
    assert base.model_dump() == before


def test_a_control_s_sample_has_the_control_s_loss() -> None:
    assert study().sample({}, arm="soft").finetune.loss.model_dump() == SOFT
    assert study().sample({}, arm="ce").finetune.loss.name == "cross_entropy"


@pytest.mark.parametrize("values", [{"finetune.optimizer.name": "sgd"}, {"finetune.optimizer.name": "adamw"}])
def test_another_kind_starts_from_its_own_defaults(values: dict[str, str]) -> None:
    base = study(finetune={"optimizer": {"name": "adamw", "weight_decay": 0.25}})
    optimizer = base.sample(values).finetune.optimizer
    assert optimizer.weight_decay == (5e-4 if optimizer.name == "sgd" else 0.25)


def test_a_new_kind_s_options_may_be_given_before_its_name() -> None:
    spec = study().sample({"finetune.optimizer.momentum": 0.5, "finetune.optimizer.name": "sgd"})
    assert spec.finetune.optimizer.model_dump() == {"name": "sgd", "momentum": 0.5, "weight_decay": 5e-4}


def test_a_name_without_a_place_is_a_key_error() -> None:
    for name in ("finetune.optimiser.momentum", "finetune.lr.x", "nothing.at.all"):
        with pytest.raises(KeyError, match=name):
            study().sample({name: 1})
    with pytest.raises(ValidationError, match="lrr"):
        study().sample({"finetune.lrr": 1})


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"name": "shapes", "num_train": 97}},
        {"model": {"name": "unet", "width": 8}},
        {"seed": 1},
        {"pretrain": {"epochs": 3}},
        {"collect_pairs": {"batch_size": 2}},
        {"fit_surrogate": {"patience": 3}},
        {"finetune": {"epochs": 3}},
        {"evaluate": {"batch_size": 2}},
        {"name": "other"},
        {"controls": {"ce": {"name": "cross_entropy"}}},
        {"seeds": [3]},
        {"search_seed": 1},
        {"pruner": {"name": "none"}},
        {"variants": {"no_int": {"finetune.start": "random"}}},
        {"gate": {"min_r2": 0.5}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_the_identity_changes_with_what_changes_results(fields: dict[str, Any]) -> None:
    assert study(**fields).identity != study().identity


def test_every_field_is_either_identity_or_machine() -> None:
    tried = {"data", "model", "seed", "pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate"}
    tried |= {"name", "controls", "variants", "gate", "seeds", "search_seed", "pruner", "screen"}
    assert set(StudySpec.model_fields) - tried == {"budget", "resources", "retry", "confirm", "search"}


def test_the_identity_does_not_change_with_budget_machines_or_ranges() -> None:
    grown = study(budget={"max_trials": 99, "max_hours": 2}, resources={"workers": 4, "gpus_per_worker": 1})
    assert grown.identity == study().identity
    assert study(confirm={"seeds": 5, "top": 2}).identity == study().identity
    assert study(search={"finetune.lr": {"float": [1e-4, 1e-2]}}).identity == study().identity
    assert study(retry={"crashes": 7}).identity == study().identity
    assert study().identity.startswith("small-")


def refused(**fields: Any) -> tuple[str, object, str]:
    """Place, value and rule of the only mistake, found by a validator of ours."""
    with pytest.raises(ValidationError) as raised:
        study(**fields)
    (detail,) = raised.value.errors()
    context = detail["ctx"]
    return ".".join([*map(str, detail["loc"]), *context["at"]]), context["value"], detail["msg"]


def test_val_cannot_be_what_trials_are_compared_on() -> None:
    where, value, rule = refused(evaluate={"split": "val"})
    assert (where, value) == ("evaluate.split", "val") and "opens val at its end" in rule


@pytest.mark.parametrize("name", ["data.seed", "evaluate.batch_size", "seed", "gate.min_r2"])
def test_what_is_the_same_for_all_trials_is_not_searched(name: str) -> None:
    where, value, rule = refused(search={name: {"int": [1, 2]}})
    assert (where, value) == (f"search.{name}", (1, 2)) and "list seeds under seeds" in rule


def test_losses_are_compared_as_controls_only() -> None:
    where, value, rule = refused(search={"finetune.loss.name": {"choice": ["neuroiou", "soft_iou"]}})
    assert (where, value) == ("search.finetune.loss.name", ("neuroiou", "soft_iou")) and "controls" in rule
    where, value, rule = refused(finetune={"loss": {"name": "soft_iou"}})
    assert (where, value) == ("finetune.loss.name", "soft_iou") and "controls" in rule
    where, value, rule = refused(controls={"again": {"name": "neuroiou"}})
    assert (where, value) == ("controls.again.name", "neuroiou") and "not learned" in rule
    where, value, rule = refused(controls={"neuroiou": {"name": "soft_iou"}})
    assert (where, value) == ("controls.neuroiou", "soft_iou") and "choose another" in rule


@pytest.mark.parametrize(
    ("variants", "where", "value", "rule"),
    [
        ({"neuroiou": {"finetune.start": "random"}}, "neuroiou", {"finetune.start": "random"}, "choose another"),
        ({"same": {}}, "same", {}, "must fix a field"),
        ({"other": {"data.seed": 1}}, "other.data.seed", 1, "the same for all arms"),
        ({"other": {"evaluate.batch_size": 1}}, "other.evaluate.batch_size", 1, "the same for all arms"),
        ({"other": {"seed": 1}}, "other.seed", 1, "the same for all arms"),
        ({"other": {"finetune.loss.name": "flip"}}, "other.finetune.loss.name", "flip", "the same for all arms"),
    ],
)
def test_a_variant_is_a_learned_arm_that_differs(
    variants: dict[str, Any], where: str, value: object, rule: str
) -> None:
    found = refused(variants=variants)
    assert found[:2] == (f"variants.{where}", value) and rule in found[2]


def test_a_variant_and_a_control_have_different_names() -> None:
    where, value, rule = refused(variants={"ce": {"finetune.start": "random"}})
    assert (where, value) == ("variants", "ce") and "rename one" in rule
    with pytest.raises(ValidationError, match="should match pattern"):
        study(variants={"No-Int": {"finetune.start": "random"}})


@pytest.mark.parametrize(
    ("field", "value"),
    [("seeds", 0), ("top", 0), ("resamples", 199), ("images_per_block", 0), ("confidence", 0.5), ("confidence", 1.0)],
)
def test_a_confirmation_s_number_outside_its_bounds_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=f"confirm.{field}"):
        study(confirm={field: value})


def test_seeds_are_distinct_and_at_least_one() -> None:
    assert study().seeds == (3, 5) and StudySpec.model_fields["seeds"].default == (0,)
    assert refused(seeds=[1, 2, 1])[:2] == ("seeds", [1, 2, 1])
    with pytest.raises(ValidationError, match="at least 1 item"):
        study(seeds=[])
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        study(seeds=[-1])


def test_a_study_needs_something_to_search(write_study: WriteStudy) -> None:
    with pytest.raises(SpecError, match=r"search: \{\}: .* at least 1 item"):
        load_study(write_study(), ["search={}"])
