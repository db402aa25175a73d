"""What a pixel of each set is worth to the IoU loss, from counts: a gradient to have, or to be held against."""

from typing import Literal

import torch
from torch import Tensor

from neuroiou_study.core.counts import TP

Gains = Literal["step", "path"]
"""Gain of moving one pixel now (flip gain), or on average over the way to a prediction without errors."""


def analytic_gradient(counts: Tensor) -> Tensor:
    """``(M, 3)`` derivative (-(FP+FN), TP, TP) / U² of the IoU loss by the counts ``(M, 3)``."""
    counts = counts.double()
    tp, fp, fn = counts.unbind(-1)
    union = counts.sum(-1, keepdim=True)
    return torch.stack([-(fp + fn), tp, tp], dim=-1) / union**2


def flip_gains(counts: Tensor) -> Tensor:
    """``(M, 3)`` what the last pixel of each set adds to the IoU loss: (-1/U, TP/(U(U-1)), 1/U) for TP, FP, FN.

    A TP pixel would otherwise be an FN pixel and the reverse; an FP pixel would not be there. An FN pixel flipped to
    TP gains 1/U even where the IoU is 0 and the derivative of the IoU loss vanishes.
    """
    counts = counts.double()
    union = counts.sum(-1)
    fp_gain = counts[..., TP] / (union * (union - 1).clamp(min=1))
    return torch.stack([-1 / union, fp_gain, 1 / union], dim=-1)


def path_gains(counts: Tensor) -> Tensor:
    """``(M, 3)`` flip gains averaged over the way on which all errors vanish evenly (Aumann and Shapley 1974).

    With G labelled pixels, TP and FN pixels are worth ln(1 + FP/G) / FP, and FP pixels ∫ TP(t) / U(t)² dt while the
    errors shrink to 0. The worths of all errors add up to the IoU loss. Unlike its flip gain, an FP pixel of a class of
    which nothing is right is worth something: to be rid of it counts once the class is found. FP below 1e-3 G is taken
    as 1e-3 G, since the formulas cancel there.
    """
    counts = counts.double()
    tp, fp, fn = counts.unbind(-1)
    labelled = tp + fn
    fp = torch.maximum(fp, 1e-3 * labelled)
    ratio = (fp / labelled).log1p()
    own = ratio / fp
    wrong = 1 / (labelled + fp) - fn / fp**2 * (ratio + labelled / (labelled + fp) - 1)
    return torch.stack([-own, wrong, own], dim=-1)


def right_gains(counts: Tensor, right_signs: tuple[int, int, int], gains: Gains = "step") -> Tensor:
    """``(M, 3)`` the gains of ``counts``, turned to the signs that help in the sums of some inputs."""
    worth = flip_gains(counts) if gains == "step" else path_gains(counts)
    return worth.abs() * torch.tensor(right_signs, dtype=torch.float64, device=counts.device)
