from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.counts import TP
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import (
    Fit,
    FitSettings,
    Rows,
    estimate_and_gradient,
    fit_surrogate,
    make_rows,
    split_by_image,
)
from neuroiou_study.core.gains import flip_gains, right_gains
from neuroiou_study.core.surrogate import SurrogateConfig
from tests.core.examples import rows, surrogate

SMALL = SurrogateConfig(depth=1, width=16)
SHORT = FitSettings(epochs=20)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _weights(fit: Fit) -> Tensor:
    return torch.cat([value.flatten() for value in fit.surrogate.state_dict().values()])


def _statistics(num_images: int) -> tuple[Tensor, Tensor]:
    """Counts and sums ``(N, 2, 3)``: image i has 2^i TP pixels of class 0 and nothing of class 1."""
    counts = torch.zeros(num_images, 2, 3, dtype=torch.int64)
    counts[:, 0, 0] = 2 ** torch.arange(num_images)
    return counts, counts * 0.5


def test_rows_are_the_classes_in_the_labels_of_each_image() -> None:
    counts = torch.tensor([[[5, 1, 2], [0, 4, 0]], [[0, 0, 3], [6, 0, 1]]])
    made = make_rows(counts, counts * 0.5, generator=_generator())
    assert made.counts.tolist() == [[5, 1, 2], [0, 0, 3], [6, 0, 1]]
    assert made.sums.tolist() == [[2.5, 0.5, 1.0], [0.0, 0.0, 1.5], [3.0, 0.0, 0.5]]
    assert made.num_pixels.tolist() == [7, 10, 10]
    assert made.class_index.tolist() == [0, 0, 1]
    assert made.image.tolist() == [0, 1, 1]
    assert made.iou_loss.tolist() == [3 / 8, 1.0, 1 / 7]


@pytest.mark.parametrize(("num_images", "images_per_row"), [(8, 2), (20, 4), (19, 4), (8, 4)])
def test_images_per_row_adds_up_so_many_different_images(num_images: int, images_per_row: int) -> None:
    made = make_rows(*_statistics(num_images), images_per_row=images_per_row, generator=_generator())
    assert len(made) == num_images
    # The TP count is a sum of powers of two: its bits are the images behind the row.
    assert [int(tp).bit_count() for tp in made.counts[:, 0]] == [images_per_row] * num_images
    assert torch.equal(made.sums, made.counts * 0.5)
    assert torch.equal(made.num_pixels, made.counts[:, 0])


def _images_behind(part: Rows) -> int:
    """The images behind all rows, as bits."""
    bits = 0
    for tp in part.counts[:, 0].tolist():
        bits |= tp
    return bits


@pytest.mark.parametrize("num_images", [16, 19])
def test_images_per_row_puts_no_image_on_both_sides_of_a_split(num_images: int) -> None:
    made = make_rows(*_statistics(num_images), images_per_row=4, generator=_generator())
    bits = [_images_behind(part) for part in split_by_image(made, 0.5, _generator())]
    assert bits[0] & bits[1] == 0
    assert bits[0] | bits[1] == 2**num_images - 1


def test_concatenated_rows_are_all_rows_in_order() -> None:
    first, second = rows(3, seed=0), rows(2, seed=1)
    both = Rows.concatenated([first, second])
    assert len(both) == 15
    for part, back in ((first, both.select(torch.arange(9))), (second, both.select(torch.arange(9, 15)))):
        for ours, theirs in zip(back.statistics, part.statistics, strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(back.image, part.image)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_an_image_of_several_parts_is_on_one_side_of_a_split(fraction: float) -> None:
    # Three networks' outputs on the same images: bit i of TP is image i, whichever network.
    parts = [make_rows(*_statistics(12), generator=_generator()) for _ in range(3)]
    seen, held_out = split_by_image(Rows.concatenated(parts), fraction, _generator())
    assert len(seen) + len(held_out) == 36
    assert _images_behind(seen) & _images_behind(held_out) == 0


def test_images_per_row_needs_two_groups() -> None:
    with pytest.raises(ValueError, match="images_per_row: 4: at most half of the 7 images"):
        make_rows(*_statistics(7), images_per_row=4, generator=_generator())


def test_groups_are_decided_by_the_generator() -> None:
    first, again, other = (
        make_rows(*_statistics(16), images_per_row=4, generator=_generator(seed)).counts for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("fraction", "expected"), [(0.2, 8), (0.0, 1), (1.0, 39)])
def test_images_do_not_straddle_the_split(fraction: float, expected: int) -> None:
    seen, held_out = split_by_image(rows(40), fraction, _generator())
    assert len(seen) + len(held_out) == 120
    assert len(held_out.image.unique()) == expected
    assert not set(seen.image.tolist()) & set(held_out.image.tolist())


def test_a_fit_is_decided_by_its_seed() -> None:
    torch.manual_seed(1)
    first = fit_surrogate(rows(), SMALL, SHORT)
    torch.manual_seed(2)
    again = fit_surrogate(rows(), SMALL, SHORT)
    other = fit_surrogate(rows(), SMALL, replace(SHORT, seed=1))
    assert torch.equal(_weights(first), _weights(again))
    assert first.held_out_error == again.held_out_error
    assert not torch.equal(_weights(first), _weights(other))


def test_a_fit_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit_surrogate(rows(), SMALL, SHORT)
    assert torch.equal(torch.rand(1), expected)


def test_a_fit_learns_what_it_can() -> None:
    fit = fit_surrogate(rows(), SMALL, FitSettings())
    variance = float(fit.held_out.iou_loss.var())
    assert fit.held_out_error < 0.05 * variance


def test_features_are_standardised_by_the_seen_rows_only() -> None:
    fit = fit_surrogate(rows(), SMALL, SHORT)
    held_out = set(fit.held_out.image.tolist())
    seen = rows().select(torch.tensor([int(i) not in held_out for i in rows().image]))
    features = Inputs().features(*seen.statistics)
    torch.testing.assert_close(fit.surrogate.net.mean, features.mean(0).float())
    torch.testing.assert_close(fit.surrogate.net.std, features.std(0).float())


def test_early_stopping_returns_the_weights_of_the_best_epoch() -> None:
    settings = FitSettings(lr=0.3, epochs=60, patience=5)  # so large a rate that the error jumps about
    fit = fit_surrogate(rows(), SMALL, settings)
    assert fit.num_epochs < settings.epochs - settings.patience
    with torch.no_grad():
        estimate = fit.surrogate(*fit.held_out.statistics)
    assert float(F.mse_loss(estimate, fit.held_out.iou_loss.float())) == pytest.approx(fit.held_out_error, rel=1e-5)
    longer = fit_surrogate(rows(), SMALL, replace(settings, patience=60))
    assert longer.held_out_error <= fit.held_out_error


def test_weight_decay_makes_a_smoother_surrogate() -> None:
    free, decayed = (fit_surrogate(rows(), SMALL, FitSettings(weight_decay=decay)) for decay in (0.0, 1.0))
    norms = [sum(float(p.detach().square().sum()) for p in fit.surrogate.parameters()) for fit in (free, decayed)]
    assert norms[1] < norms[0]


def _rows_some_dead() -> Rows:
    """Rows of which every fourth has not one right pixel."""
    made = rows(60)
    made.counts[::4, TP], made.sums[::4, TP] = 0, 0
    return made


GAINS = FitSettings(flip_gain_weight=1.0)


@pytest.mark.parametrize(
    "inputs",
    [Inputs(), Inputs("prob6"), Inputs("hinge3"), Inputs(reading="class"), Inputs(class_one_hot=3, context=True)],
)
def test_with_flip_gains_a_fit_pulls_at_dead_classes(inputs: Inputs) -> None:
    config = SurrogateConfig(inputs, depth=2, width=32)
    plain, supervised = (
        fidelity(fit.surrogate, fit.held_out)
        for fit in (fit_surrogate(_rows_some_dead(), config, settings) for settings in (FitSettings(), GAINS))
    )
    assert supervised["dead_fn_pull"] == pytest.approx(1, abs=0.1)
    assert supervised["gain_error"] < 0.15
    assert abs(plain["dead_fn_pull"] - 1) > 0.15
    assert plain["gain_error"] > 0.4


def test_a_fit_with_flip_gains_is_decided_by_its_seed() -> None:
    settings = replace(GAINS, epochs=10)
    first, again = (fit_surrogate(_rows_some_dead(), SMALL, settings) for _ in range(2))
    other = fit_surrogate(_rows_some_dead(), SMALL, replace(settings, seed=1))
    assert torch.equal(_weights(first), _weights(again))
    assert not torch.equal(_weights(first), _weights(other))


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_the_held_out_error_is_the_objective_written_out(weight: float) -> None:
    fit = fit_surrogate(_rows_some_dead(), SMALL, replace(SHORT, flip_gain_weight=weight))
    held_out = fit.held_out
    estimate, gradient = estimate_and_gradient(fit.surrogate, held_out)
    by_value = (estimate - held_out.iou_loss).square().mean()
    union = held_out.counts.sum(-1, keepdim=True)
    by_gain = ((gradient - flip_gains(held_out.counts)) * union).square().sum() / len(held_out)
    assert float((by_value + weight * by_gain).detach()) == pytest.approx(fit.held_out_error, rel=1e-5)


def test_estimate_and_gradient_equal_finite_differences() -> None:
    made, data, step = surrogate(Inputs("prob6", means_gradient="full", class_one_hot=3)), rows(4), 1e-4
    with torch.no_grad():
        estimate, gradient = estimate_and_gradient(made, data)
        torch.testing.assert_close(estimate, made(*data.statistics))
        for which in range(3):
            moved = step * torch.eye(3).double()[which]
            up, down = (
                made(data.counts, sums, *data.statistics[2:]) for sums in (data.sums + moved, data.sums - moved)
            )
            torch.testing.assert_close(gradient[:, which], (up - down) / (2 * step), rtol=1e-5, atol=1e-9)
    assert not data.sums.requires_grad


def test_the_gradient_can_itself_be_descended() -> None:
    made = surrogate()
    _, gradient = estimate_and_gradient(made, rows(4))
    gradient.square().sum().backward()
    weight = dict(made.named_parameters())["net.layers.0.weight"]
    assert weight.grad is not None
    assert float(weight.grad.abs().max()) > 0


@pytest.mark.parametrize("inputs", [Inputs(), Inputs(reading="class"), Inputs("hinge3")])
def test_right_gains_are_flip_gains_with_the_signs_that_help(inputs: Inputs) -> None:
    # Row (6, 2, 4): 1/12 by a TP or FN pixel, 6/132 by an FP pixel.
    expected = torch.tensor([1 / 12, 6 / 132, 1 / 12], dtype=torch.float64) * torch.tensor(inputs.right_signs)
    torch.testing.assert_close(right_gains(torch.tensor([[6, 2, 4]]), inputs.right_signs)[0], expected)


def test_rows_of_one_image_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of one image: at least two images"):
        fit_surrogate(rows(1), SMALL, SHORT)


def test_a_fit_that_diverges_says_so() -> None:
    with pytest.raises(ValueError, match="no epoch had a finite held-out error: lower lr, which is 1e\\+30"):
        fit_surrogate(rows(), SMALL, replace(SHORT, lr=1e30))
