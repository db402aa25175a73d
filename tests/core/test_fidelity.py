import math

import pytest
import torch
from torch import Tensor, nn

from neuroiou_study.core.counts import FN, FP, SETS, TP, Reading
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fidelity import fidelity, value_and_gradient
from neuroiou_study.core.fitting import Rows
from neuroiou_study.core.surrogate import Surrogate, SurrogateConfig


class _Given(nn.Module):
    """A function of the features in the place of the fitted network."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.mean = torch.zeros(3, dtype=torch.float64)
        self.weights = torch.tensor(weights, dtype=torch.float64)

    def forward(self, features: Tensor) -> Tensor:
        return features @ self.weights


def _linear(weights: list[float], inputs: Inputs) -> Surrogate:
    """A surrogate whose derivative by the TP, FP and FN feature is ``weights``, everywhere."""
    made = Surrogate(SurrogateConfig(inputs))
    made.net = _Given(weights)  # type: ignore[assignment]
    return made


def _rows(counts: list[list[int]], sums: list[list[float]] | None = None) -> Rows:
    given = torch.tensor(counts)
    made_sums = given * 0.5 if sums is None else torch.tensor(sums)
    return Rows(given, made_sums.double(), given.sum(-1), torch.zeros(len(counts)).long(), torch.arange(len(counts)))


COUNTS = [[6, 2, 4], [0, 1, 5], [3, 0, 1], [9, 1, 0], [1, 7, 2]]


def test_the_derivative_by_the_sums_of_a_linear_surrogate_is_its_weights() -> None:
    raw = _linear([-2.0, 3.0, 4.0], Inputs(scale="raw"))
    estimate, gradient = value_and_gradient(raw, _rows([[6, 2, 4]]))
    assert estimate.tolist() == [-2.0 * 3 + 3.0 * 1 + 4.0 * 2]
    assert gradient.tolist() == [[-2.0, 3.0, 4.0]]
    _, by_union = value_and_gradient(_linear([-2.0, 3.0, 4.0], Inputs()), _rows([[6, 2, 4]]))
    torch.testing.assert_close(by_union * 12, gradient)


@pytest.mark.parametrize(
    ("reading", "weights", "expected"),
    [
        ("complement", [-1.0, 1.0, 1.0], [1, 1, 1]),
        ("complement", [1.0, -1.0, 1.0], [0, 0, 1]),
        ("complement", [-1.0, 1.0, 0.0], [1, 1, 0]),
        ("class", [-1.0, 1.0, 1.0], [1, 1, 0]),
        ("class", [-1.0, 1.0, -1.0], [1, 1, 1]),
    ],
)
def test_signs_of_hand_made_surrogates(reading: Reading, weights: list[float], expected: list[int]) -> None:
    report = fidelity(_linear(weights, Inputs(reading=reading)), _rows(COUNTS))
    assert [report[f"sign_{name}"] for name in SETS] == expected
    assert [report[f"pixel_sign_{name}"] for name in SETS] == expected


def test_signs_count_only_rows_whose_set_is_not_empty_and_pixels_weigh() -> None:
    # The value (sum - 4)² of the TP sum falls up to 4, rightly, and rises from there. The first row has no TP pixel.
    made = _linear([0.0, 0.0, 0.0], Inputs(scale="raw"))
    made.net.forward = lambda features: (features[:, TP] - 4).square()  # type: ignore[method-assign]
    data = _rows([[0, 1, 1], [2, 1, 1], [6, 1, 1], [12, 1, 1]], [[0, 0, 0], [1, 0, 0], [3, 0, 0], [6, 0, 0]])
    report = fidelity(made, data)
    assert report["sign_tp"] == pytest.approx(2 / 3)
    assert report["pixel_sign_tp"] == pytest.approx(8 / 20)


def test_cosines_of_a_hand_made_surrogate() -> None:
    # Row (6, 2, 4): the IoU loss has the derivative (-6, 6, 6) / 144, the flip gains are (-1/12, 6/132, 1/12).
    report = fidelity(_linear([-1.0, 1.0, 1.0], Inputs()), _rows([[6, 2, 4], [6, 2, 4], [6, 4, 2]]))
    assert report["gradient_cosine"] == pytest.approx(1.0)
    gains = (1 / 12, 6 / 132, 1 / 12)
    assert report["flip_gain_cosine"] == pytest.approx(sum(gains) / math.sqrt(3 * sum(g * g for g in gains)))


def test_a_surrogate_with_the_wrong_direction_has_a_negative_cosine() -> None:
    report = fidelity(_linear([1.0, -1.0, -1.0], Inputs()), _rows(COUNTS))
    assert report["gradient_cosine"] < 0
    assert report["flip_gain_cosine"] < 0


def test_other_readings_are_turned_before_they_are_compared() -> None:
    complement = fidelity(_linear([-1.0, 2.0, 3.0], Inputs()), _rows(COUNTS))
    by_class = fidelity(_linear([-1.0, 2.0, -3.0], Inputs(reading="class")), _rows(COUNTS))
    by_hinge = fidelity(_linear([1.0, 2.0, 3.0], Inputs("hinge3")), _rows(COUNTS))
    for name in ("gradient_cosine", "flip_gain_cosine"):
        assert complement[name] == pytest.approx(by_class[name]) == pytest.approx(by_hinge[name])


def test_gain_error_and_dead_pull_of_hand_worked_rows() -> None:
    # Times the union the gains are (-1, 6/11, 1) and, of the dead row, (-1, 0, 1); the gradient has (-1, 1, 1) and
    # half of that, since the dead row's union is half.
    report = fidelity(_linear([-1 / 12, 1 / 12, 1 / 12], Inputs(scale="raw")), _rows([[6, 2, 4], [0, 1, 5]]))
    error, size = (5 / 11) ** 2 + 3 * 0.5**2, (2 + (6 / 11) ** 2) + 2
    assert report["gain_error"] == pytest.approx(math.sqrt(error / size))
    assert report["dead_fn_pull"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("inputs", "right"),
    [
        (Inputs(), [-1.0, 0.0, 1.0]),
        (Inputs(reading="class"), [-1.0, 0.0, -1.0]),
        (Inputs("hinge3"), [1.0, 0.0, 1.0]),
    ],
)
def test_dead_rows_are_pulled_by_their_gain_in_every_reading(inputs: Inputs, right: list[float]) -> None:
    dead = _rows([[0, 1, 5], [0, 3, 40], [0, 0, 2]])
    report = fidelity(_linear(right, inputs), dead)
    assert report["gain_error"] == pytest.approx(0)
    assert report["dead_fn_pull"] == pytest.approx(1)
    wrong = fidelity(_linear([-weight for weight in right], inputs), dead)
    assert wrong["gain_error"] == pytest.approx(2)
    assert wrong["dead_fn_pull"] == pytest.approx(-1)


def test_a_flat_surrogate_misses_the_whole_gain() -> None:
    report = fidelity(_linear([0.0, 0.0, 0.0], Inputs()), _rows(COUNTS))
    assert report["gain_error"] == pytest.approx(1)
    assert report["dead_fn_pull"] == 0


def test_gradient_sizes_by_iou_of_hand_made_rows() -> None:
    # IoU 0 (dead), 0.2, 0.5, 0.75, 1; with inputs over the union, gradient size × union is the norm of the weights.
    data = _rows([[0, 1, 9], [2, 4, 4], [5, 5, 0], [6, 1, 1], [4, 0, 0]])
    report = fidelity(_linear([-2.0, 3.0, 6.0], Inputs()), data)
    sizes = {name: value for name, value in report.items() if name.startswith("gradient_size")}
    bins = ("dead", "iou_0.00_0.25", "iou_0.25_0.50", "iou_0.50_0.75", "iou_0.75_1.00")
    assert sizes == pytest.approx({f"gradient_size_{name}": 7.0 for name in bins})
    raw = fidelity(_linear([-2.0, 3.0, 6.0], Inputs(scale="raw")), data)
    assert raw["gradient_size_iou_0.50_0.75"] == pytest.approx(7 * 8)
    assert raw["gradient_size_dead"] == pytest.approx(7 * 10)


def test_value_fidelity_of_hand_worked_estimates() -> None:
    # Targets 0.5, 1, 0 and estimates 0.5, 0.75, 0.25: squared errors 0, 1/16, 1/16 against a variance of 1/6.
    data = _rows([[5, 5, 0], [0, 0, 4], [3, 0, 0]], [[0.5, 0, 0], [0.75, 0, 0], [0.25, 0, 0]])
    report = fidelity(_linear([1.0, 0.0, 0.0], Inputs(scale="raw")), data)
    assert report["mse"] == pytest.approx(1 / 24)
    assert report["r2"] == pytest.approx(1 - (1 / 24) / (1 / 6))
    assert report["spearman"] == pytest.approx(1.0)


def _naive_spearman(a: list[float], b: list[float]) -> float:
    """Pearson's correlation of the ranks, a rank being the mean place of all equal values."""

    def ranks(values: list[float]) -> list[float]:
        places = [[place for place, other in enumerate(sorted(values)) if other == value] for value in values]
        return [sum(place) / len(place) for place in places]

    x, y = ranks(a), ranks(b)
    mean = (len(a) - 1) / 2
    covariance = sum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    return covariance / math.sqrt(sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y))


@pytest.mark.parametrize("seed", range(3))
def test_spearman_equals_a_naive_oracle_with_ties(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 4, (30, 3), generator=generator)
    counts[:, FN] += 1
    data = _rows(counts.tolist(), counts.tolist())
    report = fidelity(_linear([-1.0, 1.0, 0.0], Inputs(scale="raw")), data)
    estimates = (counts[:, FP] - counts[:, TP]).double()
    assert len(estimates.unique()) < 30
    assert report["spearman"] == pytest.approx(_naive_spearman(estimates.tolist(), data.iou_loss.tolist()))


def test_what_no_row_qualifies_for_is_nan() -> None:
    report = fidelity(_linear([-1.0, 1.0, 1.0], Inputs()), _rows([[5, 0, 1], [4, 0, 2]]))
    assert math.isnan(report["sign_fp"])
    assert math.isnan(report["pixel_sign_fp"])
    assert math.isnan(report["gradient_size_dead"])
    assert math.isnan(report["dead_fn_pull"])
    assert report["sign_tp"] == 1
