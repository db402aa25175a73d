import pytest
import torch

from neuroiou_study.core.counts import FN, FP, TP
from neuroiou_study.core.gains import analytic_gradient, flip_gains, path_gains, right_gains
from neuroiou_study.core.metrics import iou_loss

COUNTS = [[6, 2, 4], [0, 1, 5], [3, 0, 1], [9, 1, 0], [1, 7, 2]]


def test_analytic_gradient_equals_autograd_of_the_iou_loss() -> None:
    counts = torch.tensor(COUNTS, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(iou_loss(counts).sum(), counts)
    torch.testing.assert_close(analytic_gradient(counts.detach()), gradient)


def _moved(counts: list[int], source: int, target: int | None) -> float:
    """The IoU loss after one pixel of ``source`` went to ``target``, or out of the union."""
    moved = list(counts)
    moved[source] -= 1
    if target is not None:
        moved[target] += 1
    return float(iou_loss(torch.tensor(moved)))


@pytest.mark.parametrize("counts", [[6, 2, 4], [1, 1, 1], [40, 3, 8], [2, 9, 1]])
def test_flip_gains_equal_counting_again_with_one_pixel_moved(counts: list[int]) -> None:
    before = float(iou_loss(torch.tensor(counts)))
    expected = [before - _moved(counts, TP, FN), before - _moved(counts, FP, None), before - _moved(counts, FN, TP)]
    assert flip_gains(torch.tensor([counts]))[0].tolist() == pytest.approx(expected)


def test_a_dead_class_gains_by_a_flip_though_the_iou_loss_is_flat() -> None:
    dead = torch.tensor([[0, 2, 6]])
    assert analytic_gradient(dead)[0, FN] == 0
    assert float(flip_gains(dead)[0, FN]) == pytest.approx(1 - _moved([0, 2, 6], FN, TP))


def test_gains_of_a_class_of_one_pixel_are_finite() -> None:
    assert flip_gains(torch.tensor([[1, 0, 0], [0, 0, 1]])).tolist() == [[-1, 1, 1], [-1, 0, 1]]


@pytest.mark.parametrize("counts", [[5, 3, 2], [0, 4, 6], [7, 0, 3], [2, 50, 1], [9, 4, 0]])
def test_path_gains_equal_the_integral_of_the_derivative_on_the_way(counts: list[int]) -> None:
    tp, fp, fn = map(float, counts)
    steps = 20_000
    own = wrong = 0.0
    for left in ((index + 0.5) / steps for index in range(steps)):
        union = tp + fn + left * fp
        own += 1 / union / steps
        wrong += (tp + (1 - left) * fn) / union**2 / steps
    assert path_gains(torch.tensor([counts]))[0].tolist() == pytest.approx([-own, wrong, own], rel=1e-3)


@pytest.mark.parametrize("counts", [[5, 3, 2], [0, 4, 6], [1, 300, 90]])
def test_the_path_gains_of_all_errors_add_up_to_the_iou_loss(counts: list[int]) -> None:
    _, wrong, missed = path_gains(torch.tensor([counts]))[0].tolist()
    assert counts[FP] * wrong + counts[FN] * missed == pytest.approx(float(iou_loss(torch.tensor(counts))))


def test_a_false_pixel_of_a_dead_class_is_worth_something_on_the_way_only() -> None:
    dead = torch.tensor([[0, 4, 6]])
    assert flip_gains(dead)[0, FP] == 0 and path_gains(dead)[0, FP] > 0


def test_right_gains_have_the_signs_of_the_inputs() -> None:
    counts = torch.tensor([[5, 3, 2]])
    assert right_gains(counts, (-1, 1, 1)).tolist() == flip_gains(counts).tolist()
    assert right_gains(counts, (1, 1, 1), "path").tolist() == path_gains(counts).abs().tolist()
