"""The two gradients that a surrogate of the IoU loss can be held against, from counts."""

import torch
from torch import Tensor

from neuroiou_study.core.counts import TP


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


def right_gains(counts: Tensor, right_signs: tuple[int, int, int]) -> Tensor:
    """``(M, 3)`` the flip gains of ``counts``, turned to the signs that help in the sums of some inputs."""
    return flip_gains(counts).abs() * torch.tensor(right_signs, dtype=torch.float64, device=counts.device)
