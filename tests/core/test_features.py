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


CLASS_INDEX = torch.tensor([2, 0])
ONE_HOT = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def _features(inputs: Inputs, sums: Tensor = SUMS) -> Tensor:
    return inputs.features(COUNTS, sums, NUM_PIXELS, CLASS_INDEX)


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


@pytest.mark.parametrize(
    ("inputs", "parts"),
    [
        (Inputs(class_one_hot=3), [UNION, ONE_HOT]),
        (Inputs(context=True), [UNION, MEANS]),
        (Inputs(class_one_hot=3, context=True), [UNION, MEANS, ONE_HOT]),
        (Inputs("prob6", class_one_hot=3, context=True), [UNION, MEANS, MEANS, ONE_HOT]),
        (Inputs("hinge3", class_one_hot=3), [UNION, ONE_HOT]),
    ],
)
def test_the_order_is_sums_means_context_class(inputs: Inputs, parts: list[list[list[float]]]) -> None:
    expected = torch.cat([torch.tensor(part, dtype=torch.float64) for part in parts], dim=-1)
    assert expected.shape[1] == inputs.num_features
    torch.testing.assert_close(_features(inputs), expected)


def test_context_and_class_carry_no_gradient() -> None:
    sums = SUMS.clone().requires_grad_(True)
    features = _features(Inputs("prob6", means_gradient="full", class_one_hot=3, context=True), sums)
    (by_constants,) = torch.autograd.grad(features[:, 6:].sum(), sums, retain_graph=True, allow_unused=True)
    assert by_constants is None or not by_constants.any()
    (by_all,) = torch.autograd.grad(features.sum(), sums)
    union, size = COUNTS.sum(-1, keepdim=True), COUNTS.clamp(min=1)
    torch.testing.assert_close(by_all, 1 / union.double() + 1 / size.double())


@pytest.mark.parametrize("class_index", [None, torch.tensor([0, 3])])
def test_a_surrogate_that_tells_classes_apart_must_know_them(class_index: Tensor | None) -> None:
    given = "no class" if class_index is None else "class 3"
    with pytest.raises(ValueError, match=f"class_index: {given}: the surrogate knows 3 classes: use its data set"):
        Inputs(class_one_hot=3).features(COUNTS, SUMS, NUM_PIXELS, class_index)


def test_without_a_row_no_class_is_needed() -> None:
    nothing = torch.zeros(0, 3)
    features = Inputs(class_one_hot=3).features(nothing, nothing, torch.zeros(0), torch.zeros(0).long())
    assert features.shape == (0, 6)


def test_a_surrogate_that_tells_no_classes_apart_does_not_ask_for_them() -> None:
    assert torch.equal(Inputs().features(COUNTS, SUMS, NUM_PIXELS), _features(Inputs()))


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
    one_vs_rest = hinge_statistics(logits, labels, hinge="one_vs_rest")
    assert torch.equal(Inputs("hinge6", hinge="one_vs_rest").statistics(logits, labels, 255).sums, one_vs_rest.sums)


def test_the_sign_that_helps_follows_from_what_a_sum_grows_with() -> None:
    # A larger p_y helps: it raises the TP sum; it raises the FN sum only where that adds p_y up.
    assert Inputs().right_signs == (-1, 1, 1)
    assert Inputs(reading="predicted").right_signs == (-1, 1, 1)
    assert Inputs(reading="class").right_signs == (-1, 1, -1)
    assert Inputs("hinge3", "class").right_signs == (1, 1, 1)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (Inputs(), [-1, 1, 1]),
        (Inputs("prob6"), [-1, 1, 1, -1, 1, 1]),
        (Inputs("hinge6"), [1, 1, 1, 1, 1, 1]),
        (Inputs(reading="class", class_one_hot=2), [-1, 1, -1, 0, 0]),
        (Inputs("prob6", class_one_hot=2, context=True), [-1, 1, 1, -1, 1, 1, 0, 0, 0, 0, 0]),
    ],
)
def test_context_and_class_are_free_of_a_sign(inputs: Inputs, expected: list[int]) -> None:
    assert inputs.feature_signs.tolist() == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "prob4"), ("reading", "klass"), ("scale", "pixel"), ("means_gradient", "none"), ("hinge", "squared")],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(field: str, value: str) -> None:
    choice: dict[str, object] = {field: value}
    with pytest.raises(ValueError, match=f"{field}: '{value}': one of .*: choose one"):
        Inputs(**choice)  # type: ignore[arg-type]
