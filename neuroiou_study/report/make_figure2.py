"""Figure 2 anew: a function with a jump and its derivative, approximated by one hidden layer. Needs no data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuroiou_study.core.approximation import (
    JUMP,
    Approximator,
    derivative,
    fit,
    points,
    rmse,
    target,
    target_derivative,
)
from neuroiou_study.report.paper import DERIVATIVE_AT_JUMP
from neuroiou_study.report.reproduced import Reproduction, Row, Setting

APPROXIMATORS: Mapping[str, Approximator] = {
    "tanh, 10 units": Approximator("tanh", 10),
    "ReLU, 10 units": Approximator("relu", 10),
    "tanh, 3 units": Approximator("tanh", 3, restarts=2),
}
"""The paper does not name its network. The small one is there for its claim on the derivative at the jump."""
NUM_POINTS = 2001
AWAY = 0.1
"""Distance from the jump beyond which errors of the derivative are counted; *assumed*."""


@dataclass(frozen=True)
class Curve:
    """An approximation ``(N,)`` of the function and of its derivative."""

    values: Tensor
    slopes: Tensor
    slope_at_jump: float

    def errors(self, x: Tensor) -> dict[str, float]:
        """Root mean square errors, and what the derivative is where the function has none."""
        away = (x - JUMP).abs() > AWAY
        return {
            "rmse": rmse(self.values, target(x)),
            "rmse_derivative_away_from_jump": rmse(self.slopes[away], target_derivative(x)[away]),
            "derivative_at_1": self.slope_at_jump,
        }


def make_figure2(setting: Setting) -> Reproduction:
    """The approximations of the paper's function, their errors, and whether its claim on the derivative holds."""
    x = points(NUM_POINTS)
    curves = {name: _curve(each, x, setting.is_smoke) for name, each in APPROXIMATORS.items()}
    errors: dict[str, Any] = {name: curve.errors(x) for name, curve in curves.items()}
    low, high = DERIVATIVE_AT_JUMP
    for each in errors.values():
        each["claim_holds"] = low <= each["derivative_at_1"] <= high

    def draw(path: Path) -> None:
        from neuroiou_study.report.figures import draw_figure2

        draw_figure2(path, setting.title("Figure 2: approximation of a function with a jump"), x, curves)

    return Reproduction(
        setting=setting,
        headline="; ".join(_in_words(name, each) for name, each in errors.items()),
        rows=_rows(x, curves),
        ours=errors,
        paper={"derivative_at_1": list(DERIVATIVE_AT_JUMP)},
        draw=draw,
    )


def _curve(approximator: Approximator, x: Tensor, is_smoke: bool) -> Curve:
    if is_smoke:
        approximator = Approximator(approximator.activation, approximator.width, restarts=1)
    network = fit(approximator)
    at_jump = derivative(network, torch.tensor([JUMP], dtype=torch.float64))
    return Curve(network(x).detach(), derivative(network, x), float(at_jump))


def _rows(x: Tensor, curves: Mapping[str, Curve]) -> list[Row]:
    columns = {"x": x, "f": target(x), "f'": target_derivative(x)}
    for name, curve in curves.items():
        columns |= {name: curve.values, f"{name}, derivative": curve.slopes}
    # Every tenth point: a table for people; and nothing where f has no derivative.
    lists = {name: column[::10].tolist() for name, column in columns.items()}
    return [
        {name: None if column[i] != column[i] else round(column[i], 6) for name, column in lists.items()}
        for i in range(len(lists["x"]))
    ]


def _in_words(name: str, errors: Mapping[str, Any]) -> str:
    inside = "in" if errors["claim_holds"] else "not in"
    return f"{name}: RMSE {errors['rmse']:.4f}, derivative at 1 {errors['derivative_at_1']:.2f} ({inside} [-1, 1])"
