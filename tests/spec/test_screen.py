import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from neuroiou_study.spec import SpecError, StudySpec, load_study
from tests.spec.conftest import WriteStudy

DEPTH: dict[str, Any] = {"fit_surrogate.depth": {"int": [1, 6]}}
LR: dict[str, Any] = {"finetune.lr": {"float": [1e-4, 1e-2]}}


def study(**fields: Any) -> StudySpec:
    base = {"name": "small", "data": {"name": "shapes"}, "search": {**DEPTH, **LR}}
    return StudySpec.model_validate({**base, **fields})


def refused(**fields: Any) -> tuple[str, object, str]:
    """Place, value and rule of the only mistake, found by a validator of ours."""
    with pytest.raises(ValidationError) as raised:
        study(**fields)
    (detail,) = raised.value.errors()
    return ".".join([*map(str, detail["loc"]), *detail["ctx"]["at"]]), detail["ctx"]["value"], detail["msg"]


def test_without_screen_nothing_is_screened_and_old_studies_keep_their_identity() -> None:
    assert study().screen is None and study().screened_arms == ()
    document = study().model_dump(mode="json", exclude={"budget", "resources", "retry", "confirm", "screen", "search"})
    expected = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:8]
    assert study().identity == study(screen=None).identity == f"small-{expected}"


def test_screen_changes_what_the_trials_are_and_so_the_identity() -> None:
    identities = {study(screen=each).identity for each in (None, {}, {"surrogates": 32}, {"top": 4}, {"top": 5})}
    assert len(identities) == 5


def test_the_ranges_decide_which_surrogates_are_screened_and_belong_to_the_identity() -> None:
    assert study(screen={}, search=DEPTH).identity != study(screen={}).identity
    assert study(search=DEPTH).identity == study().identity


def test_learned_arms_that_search_the_surrogate_are_screened() -> None:
    variants = {"hinge": {"fit_surrogate.inputs": "hinge3"}, "deep": {"fit_surrogate.depth": 6}}
    assert study(screen={}, variants=variants).screened_arms == ("neuroiou", "hinge")
    fixed = {"deep": {"fit_surrogate.depth": 6}}
    assert study(screen={}, variants=fixed, controls={"ce": {"name": "cross_entropy"}}).screened_arms == ("neuroiou",)


def test_screen_without_a_range_of_the_surrogate_is_refused() -> None:
    where, value, rule = refused(screen={}, search=LR)
    assert (where, value) == ("screen", ["finetune.lr"]) and "add one or remove screen" in rule


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("pretrain.lr", {"float": [1e-3, 1e-2]}),
        ("collect_pairs.perturbed", {"int": [0, 2]}),
        ("model.width", {"int": [8, 16]}),
    ],
)
def test_a_range_that_changes_d_is_refused(name: str, bounds: dict[str, Any]) -> None:
    where, _, rule = refused(screen={}, search={**DEPTH, name: bounds})
    assert where == f"search.{name}" and rule.startswith("screen compares surrogates") and "remove either" in rule
    assert study(search={**DEPTH, name: bounds}).screened_arms == ()


def test_a_variant_may_have_another_d() -> None:
    variants = {"longer": {"pretrain.epochs": 9}}
    assert study(screen={}, variants=variants).screened_arms == ("neuroiou", "longer")


def test_no_more_are_sent_than_fitted() -> None:
    assert refused(screen={"surrogates": 8, "top": 9})[:2] == ("screen.top", 9)
    assert study(screen={"surrogates": 8, "top": 8}).screen is not None


@pytest.mark.parametrize(("field", "value"), [("surrogates", 1), ("top", 0), ("tops", 3)])
def test_numbers_and_keys_are_checked(field: str, value: int) -> None:
    with pytest.raises(ValidationError, match=f"screen.{field}"):
        study(screen={field: value})


def test_a_misspelt_key_is_explained(write_study: WriteStudy) -> None:
    with pytest.raises(SpecError, match=r"screen\.surogates: unknown key: did you mean screen\.surrogates\?"):
        load_study(write_study(), ["screen.surogates=9"])
