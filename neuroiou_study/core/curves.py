"""The activations with their first two derivatives, for networks whose gradient is written out."""

from typing import NamedTuple, assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.surrogate import Activation


class Curve(NamedTuple):
    """An activation at a tensor: its value, its first derivative, and its second unless that is 0 or not asked for."""

    value: Tensor
    slope: Tensor
    bend: Tensor | None


def curve(activation: Activation, sums: Tensor, *, curved: bool) -> Curve:
    """``activation`` at ``sums`` of any shape; with its second derivative if ``curved``."""
    match activation:
        case "softplus":
            slope = torch.sigmoid(sums)
            return Curve(F.softplus(sums), slope, torch.addcmul(slope, slope, slope, value=-1) if curved else None)
        case "relu":
            return Curve(sums.relu(), (sums > 0).to(sums.dtype), None)
        case "tanh":
            value = sums.tanh()
            slope = 1 - value.square()
            return Curve(value, slope, value.mul(-2).mul_(slope) if curved else None)
        case "silu":
            return _silu(sums, curved)
        case _:
            assert_never(activation)


def _silu(sums: Tensor, curved: bool) -> Curve:
    share = torch.sigmoid(sums)
    value = sums * share
    rest = 1 - share
    bend = share * rest * (2 + sums * (rest - share)) if curved else None
    return Curve(value, torch.addcmul(share, value, rest), bend)
