from typing import Any

import pytest
from pydantic import ValidationError

from neuroiou_study.spec.budget import BudgetSpec, ResourcesSpec, RetrySpec


def test_by_default_machines_that_fail_are_borne_with_and_nothing_is_split() -> None:
    assert RetrySpec().model_dump() == {"crashes": 2, "hung_seconds": 1800, "halve_batch": True}
    assert ResourcesSpec().micro_batches == 1
    assert BudgetSpec().max_gpu_hours is None


def test_what_is_tried_again_can_be_switched_off() -> None:
    off: dict[str, Any] = {"crashes": 0, "hung_seconds": None, "halve_batch": False}
    assert RetrySpec.model_validate(off).model_dump() == off


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (RetrySpec, {"crashes": -1}),
        (RetrySpec, {"hung_seconds": 0}),
        (RetrySpec, {"retries": 2}),
        (ResourcesSpec, {"micro_batches": 0}),
        (BudgetSpec, {"max_gpu_hours": 0}),
    ],
)
def test_what_cannot_be_is_refused(spec: type[BudgetSpec], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        spec.model_validate(wrong)
