import pytest
import torch
from torch import Tensor

from neuroiou_study.core.counts import hinge_statistics, probability_statistics
from neuroiou_study.core.features import Inputs, InputSet, Scale
from tests.core.examples import batch

# One row: 8 TP, 2 FP and 10 FN pixels of an image with 100 valid ones; nothing predicted in the other row.
COUNTS = torch.tensor([[8, 2, 10], [0, 0, 4]])
SUMS = torch.tensor([[6.0, 1.0, 5.0], [0.0, 0.0, 3.0]], dtype=torch.float64)
NUM_PIXELS = torch.tensor([100, 100])
UNION = [[6 / 20, 1 / 20, 5 / 20], [0.0, 0.0, 3 / 4]]
MEANS = [[6 / 8, 1 / 2, 5 / 10], [0.0, 0.0, 3 / 4]]


def _features(inputs: Inputs, sums: Tensor = SUMS) -> Tensor:
    return inputs.features(COUNTS, sums, NUM_PIXELS)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("raw", SUMS.tolist()),
        ("pixels", [[0.06, 0.01, 0.05], [0.0, 0.0, 0.03]]),
        ("union", UNION),
        ("self", [[6 / 12, 1 / 12, 5 / 12], [0.0, 0.0, 1.0]]),
        ("log", SUMS.log1p().tolist()),
    ],
)
def test_each_scale_of_a_hand_worked_row(scale: Scale, expected: list[list[float]]) -> None:
    torch.testing.assert_close(_features(Inputs(scale=scale)), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", ["prob6", "hinge6"])
def test_six_inputs_are_the_sums_and_the_means_of_each_set(name: InputSet) -> None:
    expected = torch.cat([torch.tensor(UNION), torch.tensor(MEANS)], dim=-1).double()
    torch.testing.assert_close(_features(Inputs(name)), expected, rtol=1e-6, atol=0)


def test_detached_means_carry_no_gradient_and_full_ones_do() -> None:
    for means_gradient, expected in (("detached", 0.0), ("full", 1 / 8)):
        sums = SUMS.clone().requires_grad_(True)
        inputs = Inputs("prob6", means_gradient="full" if means_gradient == "full" else "detached")
        (gradient,) = torch.autograd.grad(_features(inputs, sums)[0, 3], sums, allow_unused=True)
        assert (0.0 if gradient is None else float(gradient[0, 0])) == expected


def test_rows_without_pixels_have_finite_features() -> None:
    nothing = torch.zeros(1, 3, dtype=torch.int64)
    for scale in ("raw", "pixels", "union", "self", "log"):
        features = Inputs("prob6", scale=scale).features(nothing, nothing.double(), torch.zeros(1))
        assert torch.equal(features, torch.zeros(1, 6, dtype=torch.float64))


def test_statistics_are_those_of_the_input_set() -> None:
    logits, labels = batch()
    hinge, probability = hinge_statistics(logits, labels), probability_statistics(logits, labels, reading="predicted")
    assert torch.equal(Inputs("hinge3").statistics(logits, labels, 255).sums, hinge.sums)
    assert torch.equal(Inputs("prob6", "predicted").statistics(logits, labels, 255).sums, probability.sums)


def test_the_sign_that_helps_follows_from_what_a_sum_grows_with() -> None:
    # A larger p_y helps: it raises the TP sum; it raises the FN sum only where that adds p_y up.
    assert Inputs().right_signs == (-1, 1, 1)
    assert Inputs(reading="predicted").right_signs == (-1, 1, 1)
    assert Inputs(reading="class").right_signs == (-1, 1, -1)
    assert Inputs("hinge3", "class").right_signs == (1, 1, 1)


@pytest.mark.parametrize(
    ("field", "value"), [("name", "prob4"), ("reading", "klass"), ("scale", "pixel"), ("means_gradient", "none")]
)
def test_an_unknown_choice_is_refused_with_the_known_ones(field: str, value: str) -> None:
    choice: dict[str, object] = {field: value}
    with pytest.raises(ValueError, match=f"{field}: '{value}': one of .*: choose one"):
        Inputs(**choice)  # type: ignore[arg-type]
