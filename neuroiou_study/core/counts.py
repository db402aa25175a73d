"""Hard TP/FP/FN counts and their differentiable sums, per image and class (paper eq. 2).

Every valid pixel with label ``y`` and prediction ``k = argmax z`` falls into

* the set TP of class ``y`` if ``k = y``;
* otherwise the set FN of class ``y`` *and* the set FP of class ``k``.

Pixels labelled ``ignore_index`` count nowhere. Statistics are tensors of shape ``(B, C, 3)`` whose last axis is
ordered :data:`TP`, :data:`FP`, :data:`FN`. Counts are constants for the gradient; sums carry it to the logits.
Sums are accumulated in float64: in float32, two million probabilities of .9 to 1 add up 0.25 % wrong (*measured*).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neuroiou_study.core.kernels.choice import KernelName, choose
from neuroiou_study.core.kernels.eager import arg_max
from neuroiou_study.core.kernels.fused import Task, fused_sums

TP, FP, FN = 0, 1, 2
SETS = ("tp", "fp", "fn")

Reading = Literal["class", "predicted", "complement"]
Hinge = Literal["crammer_singer", "one_vs_rest"]


class Membership(NamedTuple):
    """Which set each pixel belongs to, as indices into a flat ``(B·C·3 + 1)`` tensor whose last bin is void."""

    own: Tensor  # (P,) the pixel's TP or FN bin, of its label's class
    rival: Tensor  # (P,) its FP bin, of the predicted class; void where the prediction is right
    shape: tuple[int, int, int]  # (B, C, 3)


def membership(preds: Tensor, labels: Tensor, num_classes: int, ignore_index: int) -> Membership:
    """The set of each pixel of ``preds`` and ``labels``, both ``(B, H, W)`` int64."""
    num_images = labels.shape[0]
    void = num_images * num_classes * 3
    image = torch.arange(num_images, device=labels.device).view(-1, 1, 1) * num_classes
    right = preds == labels
    valid = labels != ignore_index
    own = torch.where(valid, (image + labels) * 3 + torch.where(right, TP, FN), void)
    rival = torch.where(valid & ~right, (image + preds) * 3 + FP, void)
    return Membership(own.flatten(), rival.flatten(), (num_images, num_classes, 3))


def hard_counts(preds: Tensor, labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """``(B, C, 3)`` int64 counts |TP|, |FP|, |FN| of ``preds`` against ``labels``, both ``(B, H, W)`` int64."""
    return _counts(membership(preds, labels, num_classes, ignore_index))


class Statistics(NamedTuple):
    """Counts and sums of one batch of logits: what a surrogate sees of it."""

    counts: Tensor  # (B, C, 3) int64
    sums: Tensor  # (B, C, 3) float64, differentiable


def probability_statistics(
    logits: Tensor,
    labels: Tensor,
    *,
    reading: Reading = "complement",
    ignore_index: int = 255,
    kernel: KernelName = "auto",
) -> Statistics:
    """Counts and probability sums (paper eq. 2) of ``logits`` ``(B, C, H, W)`` against ``labels`` ``(B, H, W)``.

    A TP pixel adds ``p_y`` and an FP pixel of class ``k`` adds ``p_k``. What an FN pixel adds is the ``reading``:
    ``class`` ``p_y`` (its gradient has the wrong sign, for study only), ``predicted`` ``p_k``, ``complement``
    ``1 - p_y``. See ``docs/science.md``; of ``kernel``, :mod:`neuroiou_study.core.kernels`.
    """
    fused = choose(logits, kernel)
    if fused is None:
        return _reference_statistics(logits, labels, reading, ignore_index)
    counts, sums = fused_sums(logits, labels, Task(ignore_index, by_rival=reading == "predicted"), fused)
    if reading == "complement":
        tp, fp, missed = sums.unbind(-1)
        sums = torch.stack([tp, fp, counts[..., FN] - missed], dim=-1)
    return Statistics(counts, sums)


def _reference_statistics(logits: Tensor, labels: Tensor, reading: Reading, ignore_index: int) -> Statistics:
    logits = at_least_float32(logits)
    top, preds = logits.max(dim=1)
    members = membership(preds, labels, logits.shape[1], ignore_index)
    log_total = logits.logsumexp(dim=1)
    p_label = (_at_label(logits, labels, ignore_index) - log_total).exp()
    p_top = (top - log_total).exp()
    missed = {"class": p_label, "predicted": p_top, "complement": 1 - p_label}[reading]
    own = torch.where(preds == labels, p_label, missed)
    return Statistics(_counts(members), _sums(members, own, p_top))


def predictions(logits: Tensor) -> Tensor:
    """``(B, H, W)`` int64: the class with the greatest of ``logits`` ``(B, C, H, W)``, the first of equals."""
    ours = logits.device.type == "cpu" and not torch.compiler.is_compiling()
    return arg_max(logits.detach()) if ours else logits.argmax(dim=1)


def hinge_statistics(
    logits: Tensor, labels: Tensor, *, hinge: Hinge = "crammer_singer", ignore_index: int = 255
) -> Statistics:
    """Counts and sums of a per-pixel hinge (paper section 3.3).

    ``logits`` ``(B, C, H, W)`` are scores before the softmax; ``labels`` ``(B, H, W)``. ``crammer_singer``:
    ``max(0, 1 + max_{j≠y} z_j - z_y)`` in every set; rivals that tie share the gradient. ``one_vs_rest``: the hinge of
    the row's own class against 0, ``max(0, 1 - z_y)`` at TP and FN and ``max(0, 1 + z_k)`` at FP.
    """
    logits = at_least_float32(logits)
    preds = predictions(logits)
    top = logits.gather(1, preds.unsqueeze(1)).squeeze(1)
    members = membership(preds, labels, logits.shape[1], ignore_index)
    at_label = _at_label(logits, labels, ignore_index)
    if hinge == "one_vs_rest":
        return Statistics(_counts(members), _sums(members, (1 - at_label).clamp(min=0), (1 + top).clamp(min=0)))
    label_index = _safe(labels, ignore_index).unsqueeze(1)
    strongest_rival = logits.scatter(1, label_index, float("-inf")).amax(dim=1)
    margin_loss = (1 + strongest_rival - at_label).clamp(min=0)
    return Statistics(_counts(members), _sums(members, margin_loss, margin_loss))


def log_statistics(logits: Tensor, labels: Tensor, *, ignore_index: int = 255) -> Statistics:
    """Counts and sums of the per-pixel log loss: the paper's section 3.3 with cross-entropy in the place of the hinge.

    A pixel adds ``-log p_y`` to its TP or FN set, and ``-log(1 - p_k)`` to the FP set of the class ``k`` that it is
    taken for. Where a network is sure of an error, a probability hardly has a gradient, its logarithm the largest.
    ``logits`` ``(B, C, H, W)``, C ≥ 2; ``labels`` ``(B, H, W)``.
    """
    logits = at_least_float32(logits)
    preds = predictions(logits)
    members = membership(preds, labels, logits.shape[1], ignore_index)
    log_total = logits.logsumexp(dim=1)
    others = logits.scatter(1, preds.unsqueeze(1), float("-inf")).logsumexp(dim=1)
    return Statistics(
        _counts(members), _sums(members, log_total - _at_label(logits, labels, ignore_index), log_total - others)
    )


def _counts(members: Membership) -> Tensor:
    bins = members.shape[0] * members.shape[1] * 3 + 1
    total = torch.bincount(members.own, minlength=bins) + torch.bincount(members.rival, minlength=bins)
    return total[:-1].view(members.shape)


def _sums(members: Membership, own: Tensor, rival: Tensor) -> Tensor:
    bins = members.shape[0] * members.shape[1] * 3 + 1
    total = torch.zeros(bins, dtype=torch.float64, device=own.device)
    total = total.index_add(0, members.own, own.flatten().double())
    total = total.index_add(0, members.rival, rival.flatten().double())
    return total[:-1].view(members.shape)


def at_least_float32(logits: Tensor) -> Tensor:
    """``logits`` as they are, or in float32 if they were half precision, where a sum over pixels soon overflows."""
    return logits.to(loss_type(logits))


def loss_type(logits: Tensor) -> torch.dtype:
    """The type of a loss of ``logits``: theirs, but at least float32."""
    return torch.float32 if logits.dtype in (torch.float16, torch.bfloat16) else logits.dtype


def _safe(labels: Tensor, ignore_index: int) -> Tensor:
    return torch.where(labels == ignore_index, 0, labels)


def _at_label(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    return logits.gather(1, _safe(labels, ignore_index).unsqueeze(1)).squeeze(1)
