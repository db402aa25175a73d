from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from neuroiou_study.spec import ChoiceRange, FloatRange, IntRange, Range

ADAPTER: TypeAdapter[Range] = TypeAdapter(Range)


def test_the_key_says_which_range_it_is() -> None:
    assert ADAPTER.validate_python({"int": [1, 6]}) == IntRange(int=(1, 6))
    assert ADAPTER.validate_python({"float": [1, 2.5], "log": True}) == FloatRange(float=(1.0, 2.5), log=True)
    assert ADAPTER.validate_python({"choice": ["a", 1, 2.5, True]}) == ChoiceRange(choice=("a", 1, 2.5, True))


def test_a_range_survives_being_written_and_read() -> None:
    for bounds in (IntRange(int=(1, 6), log=True), FloatRange(float=(1e-4, 1e-2)), ChoiceRange(choice=(True, "a"))):
        assert ADAPTER.validate_python(bounds.model_dump(mode="json")) == bounds
        assert ADAPTER.validate_python(bounds) == bounds


def test_choices_keep_their_types() -> None:
    bounds = ADAPTER.validate_python({"choice": [True, 1, 1.0, "1"]})
    assert isinstance(bounds, ChoiceRange)
    assert [type(value) for value in bounds.choice] == [bool, int, float, str]


def test_corners_are_what_must_make_a_right_trial() -> None:
    assert IntRange(int=(4, 8)).corners == (4, 5, 8)
    assert IntRange(int=(4, 5)).corners == (4, 5)
    assert FloatRange(float=(0.5, 2.0)).corners == (0.5, 2.0)
    assert ChoiceRange(choice=("a", "b", "c")).corners == ("a", "b", "c")


def test_what_a_range_contains() -> None:
    assert IntRange(int=(1, 6)).contains(6) and not IntRange(int=(1, 6)).contains(7)
    assert FloatRange(float=(0.5, 2.0)).contains(0.5) and not FloatRange(float=(0.5, 2.0)).contains(0.4)
    assert not IntRange(int=(1, 6)).contains("3") and not FloatRange(float=(1, 6)).contains("3")
    assert ChoiceRange(choice=("a", "b")).contains("a") and not ChoiceRange(choice=("a", "b")).contains("c")


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        ({"int": [6, 1]}, "the low end must be below the high end"),
        ({"int": [1, 1]}, "the low end must be below the high end"),
        ({"float": [2.0, 1.0]}, "the low end must be below the high end"),
        ({"int": [0, 6], "log": True}, "a log range must begin above 0"),
        ({"float": [0.0, 1.0], "log": True}, "a log range must begin above 0"),
        ({"float": [0.0, float("inf")]}, "finite"),
        ({"int": [1]}, "Field required"),
        ({"int": [1, 2, 3]}, "at most 2 items"),
        ({"int": [1, 2.5]}, "valid integer"),
        ({"int": [1, True]}, "valid integer"),
        ({"float": [1, "2"]}, "valid number"),
        ({"choice": ["a"]}, "at least 2 items"),
        ({"choice": ["a", "b", "a"]}, "each value may stand once"),
        ({"choice": ["a", "b"], "log": True}, "Extra inputs"),
        ({"choice": ["a", None]}, "valid"),
        ({"low": 1, "high": 2}, "must be {int"),
        ([1, 2], "must be {int"),
        (None, "must be {int"),
    ],
)
def test_a_wrong_range_is_refused(document: Any, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        ADAPTER.validate_python(document)


def test_a_linear_range_may_begin_at_zero() -> None:
    assert ADAPTER.validate_python({"float": [0, 1]}) == FloatRange(float=(0.0, 1.0))
