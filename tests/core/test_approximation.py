"""Figure 2: the function, its derivative, and how well ten units approximate both."""

import pytest
import torch
from torch import Tensor

from neuroiou_study.core.approximation import (
    Approximator,
    Network,
    derivative,
    fit,
    points,
    rmse,
    target,
    target_derivative,
)

AWAY = 0.1
"""Distance from the jump beyond which the derivative of an approximation can be right."""


def test_target_and_its_derivative() -> None:
    x = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0])
    assert target(x).tolist() == pytest.approx([2.0, 1.5, 1.1, 1.6, 2.1])
    assert target_derivative(x)[[0, 1, 3, 4]].tolist() == [-1, -1, 1, 1]
    assert target_derivative(x)[2].isnan()


def test_rmse_leaves_out_where_nothing_is_wanted() -> None:
    wanted = torch.tensor([1.0, torch.nan, 3.0])
    assert rmse(torch.tensor([2.0, 7.0, 3.0]), wanted) == pytest.approx(0.5**0.5)


def test_derivative_is_the_difference_quotient() -> None:
    def cube(x: Tensor) -> Tensor:
        return x**3

    assert derivative(cube, torch.tensor([1.0, 2.0])).tolist() == [3, 12]


def test_tanh() -> None:
    network = fit(Approximator("tanh"))
    assert value_error(network) < 0.009
    assert derivative_error(network) < 0.1


def test_relu() -> None:
    network = fit(Approximator("relu"))
    assert value_error(network) < 0.003
    assert derivative_error(network) < 0.01


def test_papers_claim_on_the_derivative_at_the_jump_holds_for_a_small_smooth_network_only() -> None:
    jump = torch.ones(1, dtype=torch.float64)
    assert derivative(fit(Approximator("tanh", width=3, restarts=2)), jump).abs() < 1
    assert derivative(fit(Approximator("relu", restarts=2)), jump) > 1


def test_equal_seeds_make_equal_networks() -> None:
    first, second, other = (fit(Approximator("relu", 3, restarts=1), seed) for seed in (0, 0, 1))
    x = points(11)
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), other(x))


def test_more_restarts_are_never_worse() -> None:
    one, three = (fit(Approximator("relu", 5, restarts=number)) for number in (1, 3))
    assert rmse(three(points()), target(points())) <= rmse(one(points()), target(points()))


def value_error(network: Network) -> float:
    x = points(2001)
    return rmse(network(x), target(x))


def derivative_error(network: Network) -> float:
    x = points(2001)
    x = x[(x - 1).abs() > AWAY]
    return rmse(derivative(network, x), target_derivative(x))
