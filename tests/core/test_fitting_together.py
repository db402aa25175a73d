"""Surrogates fitted together against the same surrogates fitted one after another."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from statistics import median

import pytest
import torch
from torch import Tensor

from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import Fit, FitSettings, Rows, fit_surrogate
from neuroiou_study.core.fitting_together import FitFailed, Wanted, fit_together, fits_as_they_end
from neuroiou_study.core.stacked import StackShape
from neuroiou_study.core.surrogate import Activation, SurrogateConfig
from tests.core.examples import rows

ACTIVATIONS: tuple[Activation, ...] = ("softplus", "relu", "tanh", "silu")
INPUTS = (
    Inputs(),
    Inputs("prob6"),
    Inputs("prob6", means_gradient="full", scale="self"),
    Inputs(reading="class", scale="log"),
    Inputs(context=True, class_one_hot=3),
)
BRIEF = FitSettings(epochs=1, batch_size=40)


def mixed(settings: FitSettings, activation: Activation = "softplus") -> list[Wanted]:
    """Surrogates of mixed depths, widths and inputs, each with its own rates, weights and gains."""
    shapes = product((2, 1, 4), (8, 10, 24), INPUTS, ("step", "path"))
    return [
        (
            SurrogateConfig(inputs, depth, width, activation),
            replace(
                settings,
                lr=settings.lr * depth,
                weight_decay=width / 10,
                flip_gain_weight=settings.flip_gain_weight * depth,
                gains="step" if gains == "step" else "path",
            ),
        )
        for depth, width, inputs, gains in shapes
    ]


def fits(data: Rows, wanted: Sequence[Wanted]) -> list[Fit]:
    """All of ``wanted`` together; none of them may fail."""
    found = fit_together(data, wanted)
    assert not [each for each in found if isinstance(each, FitFailed)]
    return [each for each in found if isinstance(each, Fit)]


def weights(fit: Fit) -> Tensor:
    return torch.cat([value.flatten() for value in fit.surrogate.state_dict().values()])


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_few_steps_together_are_the_same_steps_alone(activation: Activation, weight: float) -> None:
    wanted = mixed(replace(BRIEF, flip_gain_weight=weight), activation)
    for fit, (config, settings) in zip(fits(rows(60), wanted), wanted, strict=True):
        alone = fit_surrogate(rows(60), config, settings)
        assert fit.surrogate.config == config
        # Float32 rounds: an early step of AdamW is up to lr (1e-3 and more) however small the gradient.
        torch.testing.assert_close(weights(fit), weights(alone), rtol=1e-3, atol=5e-5)
        assert fit.held_out_error == pytest.approx(alone.held_out_error, rel=1e-4)
        assert torch.equal(fit.held_out.counts, alone.held_out.counts)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_start_is_exactly_the_one_alone(seed: int) -> None:
    wanted = mixed(replace(BRIEF, lr=0.0, seed=seed))
    for fit, (config, settings) in zip(fits(rows(), wanted), wanted, strict=True):
        assert torch.equal(weights(fit), weights(fit_surrogate(rows(), config, settings)))


def test_seeds_splits_and_batch_sizes_may_be_mixed() -> None:
    kinds = [
        BRIEF,
        replace(BRIEF, seed=3),
        replace(BRIEF, held_out_fraction=0.4),
        replace(BRIEF, batch_size=16),
        replace(BRIEF, flip_gain_weight=0.5),
    ]
    wanted = [(SurrogateConfig(depth=2, width=12), each) for each in (*kinds, *kinds)]
    for fit, each in zip(fits(rows(60), wanted), wanted, strict=True):
        torch.testing.assert_close(weights(fit), weights(fit_surrogate(rows(60), *each)), rtol=1e-3, atol=5e-5)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_at_the_end_surrogates_are_as_good_as_alone(weight: float) -> None:
    shapes = [SurrogateConfig(depth=depth, width=width) for depth, width in product((1, 4), (10, 24))]
    wanted = [
        (shape, FitSettings(epochs=60, flip_gain_weight=weight, lr=lr)) for shape in shapes for lr in (3e-3, 1e-2)
    ]
    together = fits(rows(80), wanted)
    alone = [fit_surrogate(rows(80), *each) for each in wanted]
    ratios = [a.held_out_error / b.held_out_error for a, b in zip(together, alone, strict=True)]
    assert median(ratios) == pytest.approx(1, abs=0.01)
    assert min(ratios) > 0.9 and max(ratios) < 1.1
    ours, theirs = (
        [fidelity(fit.surrogate, fit.held_out)["gradient_cosine"] for fit in found] for found in (together, alone)
    )
    assert ours == pytest.approx(theirs, abs=0.02)


def test_the_held_out_error_is_that_of_the_returned_surrogate() -> None:
    wanted = mixed(FitSettings(epochs=40, patience=3, lr=0.02))  # so large a rate that errors jump about
    for fit in fits(rows(), wanted):
        with torch.no_grad():
            missed = fit.surrogate(*fit.held_out.statistics) - fit.held_out.iou_loss
        assert float(missed.square().mean()) == pytest.approx(fit.held_out_error, rel=1e-4)


def test_each_surrogate_stops_when_it_would_alone() -> None:
    stops = [(1, 30, 3e-3), (4, 30, 3e-3), (40, 1, 0.3), (9, 30, 3e-3), (2, 30, 3e-3)]
    wanted = [
        (SurrogateConfig(depth=2, width=12), FitSettings(batch_size=40, epochs=epochs, patience=patience, lr=lr))
        for epochs, patience, lr in stops
    ]
    for fit, (config, each) in zip(fits(rows(60), wanted), wanted, strict=True):
        alone = fit_surrogate(rows(60), config, each)
        assert fit.num_epochs == alone.num_epochs
        if each.patience > 1:
            torch.testing.assert_close(weights(fit), weights(alone), rtol=2e-2, atol=2e-4)
        else:
            patient = fit_surrogate(rows(60), config, replace(each, patience=40))
            assert fit.held_out_error == pytest.approx(alone.held_out_error, rel=1e-2)
            assert patient.held_out_error < 0.9 * fit.held_out_error  # it would have found better


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_one_that_diverges_fails_alone(weight: float) -> None:
    settings = replace(BRIEF, epochs=3, flip_gain_weight=weight)
    small = SurrogateConfig(depth=2, width=12)
    sound, mad = (small, settings), (small, replace(settings, lr=1e30))
    first, failed, second = fit_together(rows(60), [sound, mad, sound])
    assert isinstance(failed, FitFailed)
    assert failed.reason == "fit_surrogate: no epoch had a finite held-out error: lower lr, which is 1e+30"
    alone = weights(fit_surrogate(rows(60), *sound))
    for fit in (first, second):
        assert isinstance(fit, Fit)
        torch.testing.assert_close(weights(fit), alone, rtol=1e-2, atol=1e-4)


def test_a_monotone_surrogate_is_fitted_alone() -> None:
    monotone = SurrogateConfig(depth=2, width=12, monotone=True)
    wanted = [(replace(monotone, monotone=False), BRIEF), (monotone, BRIEF), (monotone, replace(BRIEF, lr=1e30))]
    _, fit, failed = fit_together(rows(), wanted)
    assert isinstance(fit, Fit) and torch.equal(weights(fit), weights(fit_surrogate(rows(), monotone, BRIEF)))
    assert isinstance(failed, FitFailed) and "lower lr" in failed.reason


def test_more_than_fit_into_a_cache_are_split_and_all_are_fitted() -> None:
    wide = [(SurrogateConfig(depth=1 + number % 3, width=300), BRIEF) for number in range(9)]
    found = list(fits_as_they_end(rows(60), wide))
    assert [number for number, _ in found] == [2, 5, 8, 1, 4, 7, 0, 3, 6]  # the deepest first, two at a time and one
    assert [each.surrogate.config.depth for _, each in found if isinstance(each, Fit)] == [3] * 3 + [2] * 3 + [1] * 3


def test_fits_together_leave_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit_together(rows(), mixed(BRIEF)[:4])
    assert torch.equal(torch.rand(1), expected)


def test_rows_of_one_image_are_refused_for_all() -> None:
    with pytest.raises(ValueError, match="rows of one image: at least two images"):
        fit_together(rows(1), [(SurrogateConfig(), BRIEF)])


@pytest.mark.parametrize("depths", [(), (1, 2), (2, 0)])
def test_a_stack_has_its_deepest_network_first(depths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"depths: .*in falling order: sort them"):
        StackShape(3, 8, depths)
