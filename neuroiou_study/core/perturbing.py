"""Outputs with errors that a network has not made: more of the IoU's range for D than a trained network leaves."""

from collections.abc import Sequence

import torch
from torch import Tensor


def perturbed(logits: Tensor, spread: float, seeds: Sequence[tuple[int, ...]]) -> Tensor:
    """``logits`` ``(B, C, H, W)`` with a normal number of standard deviation ``spread`` added to each whole class.

    Image b depends on ``seeds[b]`` alone, so that N workers perturb as one. A class that is raised takes pixels from
    its neighbours, a lowered one loses them, as classes do while a network learns.
    """
    num_classes = logits.shape[1]
    shifts = [torch.randn(num_classes, generator=_generator(seed)) * spread for seed in seeds]
    return logits + torch.stack(shifts).to(logits)[:, :, None, None]


def _generator(seed: tuple[int, ...]) -> torch.Generator:
    mixed = 0
    for part in seed:
        mixed = (mixed * 1_000_003 + part) % 2**63
    return torch.Generator().manual_seed(mixed)
