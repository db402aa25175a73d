"""The statistics of a batch as one autograd function, around a kernel that passes over the pixels.

With k = argmax z, lse = log Σ exp z and p = exp(z - lse), a pixel labelled y adds p_y to a bin of y (TP or FN) and,
if it is missed, p_k to the FP bin of k. With the gradients of those bins as weights w_y, w_k of the pixel,

    ∂L/∂z_j = [j = y] w_y p_y + [j = k] w_k p_k - (w_y p_y + w_k p_k) p_j,

so the backward pass reads the logits once and writes the gradient once, as fused cross-entropy does.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Task(NamedTuple):
    """What is to be summed."""

    ignore_index: int
    by_rival: bool
    """A missed pixel adds p_k, not p_y, to its FN bin."""


class Totals(NamedTuple):
    """Counts int64 and sums float64 of each image's bins."""

    own_counts: Tensor  # (B, 2C) TP of the C classes, then FN
    own_sums: Tensor  # (B, 2C)
    rival_counts: Tensor  # (B, C) FP
    rival_sums: Tensor  # (B, C)


class Weights(NamedTuple):
    """The gradients of the sums, by bin; the last bin of each is that of pixels without one, and 0."""

    own: Tensor  # (B, 2C + 1)
    rival: Tensor  # (B, C + 1)


class Kernel(Protocol):
    """One way to pass over the pixels of ``logits`` ``(B, C, H, W)`` and ``labels`` ``(B, H, W)``."""

    def forward(self, logits: Tensor, labels: Tensor, task: Task) -> tuple[Totals, tuple[Tensor, ...]]:
        """The totals, and what the backward pass needs of the pixels."""

    def backward(
        self, logits: Tensor, labels: Tensor, pixels: tuple[Tensor, ...], weights: Weights, task: Task
    ) -> Tensor:
        """The gradient ``(B, C, H, W)`` of the logits."""


def fused_sums(logits: Tensor, labels: Tensor, task: Task, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Counts ``(B, C, 3)`` int64 and sums ``(B, C, 3)`` float64, in the order TP, FP, FN, of ``kernel``."""
    counts, sums = _Fused.apply(logits, labels, task, kernel)  # type: ignore[no-untyped-call]
    return counts, sums


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, task: Task, kernel: Kernel) -> tuple[Tensor, Tensor]:
        totals, pixels = kernel.forward(logits.detach(), labels, task)
        ctx.task, ctx.kernel = task, kernel
        ctx.save_for_backward(logits, labels, *pixels)
        counts = _by_set(totals.own_counts, totals.rival_counts)
        ctx.mark_non_differentiable(counts)
        return counts, _by_set(totals.own_sums, totals.rival_sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        logits, labels, *pixels = ctx.saved_tensors
        weights = _weights(gradient, torch.float64 if logits.dtype == torch.float64 else torch.float32)
        grad = ctx.kernel.backward(logits.detach(), labels, tuple(pixels), weights, ctx.task)
        return grad, None, None, None


def _by_set(own: Tensor, rival: Tensor) -> Tensor:
    true_positive, false_negative = own.chunk(2, dim=1)
    return torch.stack([true_positive, rival, false_negative], dim=-1)


def _weights(gradient: Tensor, dtype: torch.dtype) -> Weights:
    true_positive, false_positive, false_negative = gradient.to(dtype).unbind(-1)
    none = true_positive.new_zeros(len(gradient), 1)
    return Weights(
        torch.cat([true_positive, false_negative, none], dim=1), torch.cat([false_positive, none], dim=1).contiguous()
    )
