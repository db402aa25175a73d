"""The paper's figure 2: can a small network approximate a function with a jump, and its derivative?

Usage::

    network = fit(Approximator("tanh", 10))
    values, slopes = network(points), derivative(network, points)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

LOW, HIGH, JUMP = 0.0, 2.0, 1.0
"""The interval *assumed* (the paper's plot), the place of the jump *cited*."""
NUM_POINTS = 401
"""Points that are fitted, evenly spaced over the interval; *assumed*."""
_ADAM_STEPS, _ADAM_LR, _LBFGS_STEPS = 500, 1e-2, 600
"""*Measured*: a second for 10 units. With half of LBFGS's steps the errors of tanh grow by half."""

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Approximator:
    """A network with one hidden layer of ``width`` units, and how often its fit is begun."""

    activation: Literal["tanh", "relu"]
    width: int = 10
    restarts: int = 6
    """Starts from different random numbers, of which the best fit is kept; *measured*: RMSE .007 (tanh), .0024 (ReLU)
    on points between those that are fitted."""


def target(x: Tensor) -> Tensor:
    """``(N,)`` f(x) = 2 - x where x < 1, else x + 0.1; *cited* (section 4.2). It jumps by 0.1 at 1."""
    return torch.where(x < JUMP, 2 - x, x + 0.1)


def target_derivative(x: Tensor) -> Tensor:
    """``(N,)`` f'(x): -1 where x < 1, 1 where x > 1, NaN at 1, where f has none; *cited*."""
    slope = torch.where(x < JUMP, -torch.ones_like(x), torch.ones_like(x))
    return torch.where(x == JUMP, torch.full_like(x, torch.nan), slope)


def points(number: int = NUM_POINTS) -> Tensor:
    """``(number,)`` float64 points, evenly spaced over the interval."""
    return torch.linspace(LOW, HIGH, number, dtype=torch.float64)


def fit(approximator: Approximator, seed: int = 0) -> nn.Module:
    """The best fit of ``approximator.restarts``, in the mean square over :func:`points`; equal seeds, equal networks.

    Maps points ``(N,)`` float64 to values ``(N,)``.
    """
    with _one_thread():
        starts = [_fitted(approximator, 1000 * seed + start) for start in range(approximator.restarts)]
    return min(starts, key=lambda network: float(_error(network).detach()))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tensors of 401 × 10 numbers: on a busy machine two threads took ten times as long as one; *measured*."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)


def derivative(network: Network, x: Tensor) -> Tensor:
    """``(N,)`` the derivative of ``network`` at each of ``x`` ``(N,)``."""
    x = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(x).sum(), x)
    return slope


def rmse(values: Tensor, wanted: Tensor) -> float:
    """Root of the mean square of the differences, NaNs of ``wanted`` left out."""
    return float((values - wanted).detach().square().nanmean().sqrt())


class _OneHiddenLayer(nn.Module):
    """``sum_j w_j S(v_j (x - c_j)) + b``: eq. 4, with the units' places c as parameters."""

    def __init__(self, approximator: Approximator, generator: torch.Generator) -> None:
        super().__init__()
        self.activation = torch.tanh if approximator.activation == "tanh" else torch.relu
        width = approximator.width

        def uniform(low: float, high: float) -> nn.Parameter:
            return nn.Parameter(low + (high - low) * torch.rand(width, generator=generator, dtype=torch.float64))

        # A unit that is flat over the whole interval learns nothing, so all of them begin inside it; measured.
        self.places = uniform(LOW, HIGH)
        self.slopes = uniform(-4, 4)
        self.weights = uniform(-0.5, 0.5)
        self.bias = nn.Parameter(torch.full((), 1.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.slopes * (x.unsqueeze(-1) - self.places))
        # Not a matrix product, which is rounded differently from machine to machine.
        values: Tensor = (hidden * self.weights).sum(-1) + self.bias
        return values


def _fitted(approximator: Approximator, seed: int) -> nn.Module:
    network = _OneHiddenLayer(approximator, torch.Generator().manual_seed(seed))
    adam = torch.optim.Adam(network.parameters(), lr=_ADAM_LR)
    for _ in range(_ADAM_STEPS):
        adam.zero_grad()
        _error(network).backward()
        adam.step()
    _polish(network)
    return network


def _polish(network: nn.Module) -> None:
    """Adam comes close, LBFGS finds the bottom."""
    lbfgs = torch.optim.LBFGS(
        network.parameters(),
        max_iter=_LBFGS_STEPS,
        history_size=50,
        tolerance_grad=1e-12,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        lbfgs.zero_grad()
        error = _error(network)
        error.backward()
        return error

    lbfgs.step(closure)


def _error(network: nn.Module) -> Tensor:
    x = points()
    error: Tensor = (network(x) - target(x)).square().mean()
    return error
