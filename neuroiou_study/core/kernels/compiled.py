"""The steps of a tile as ``torch.compile`` makes them: one pass over the logits forward, one backward.

Written so that the compiler makes vectorised loops of them, for any size and number of classes: reductions over the
class, and 32-bit class numbers that are compared, nowhere an ``argmax``, a scatter or a loop over classes. They compile
once in a process (*measured*: 7 s, and 2 s where an earlier process has left its files), and for one image once more.
"""

import functools
import inspect
import logging
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from neuroiou_study.core.kernels.fused import Task, Weights
from neuroiou_study.core.kernels.tiled import Bins, Pixels, TiledKernel, coded, decoded
from neuroiou_study.core.kernels.tiled import weigh as weigh_pixels

_log = logging.getLogger(__name__)
Result = TypeVar("Result")
TILE = 1 << 17
"""*Measured*: with 2^15 a tenth slower, with 2^20 no faster."""
UNROLLED = 32
"""Classes up to which all logits of a pixel are read at once. *Measured*: a tenth faster; more compile for long."""
NO_SIGN = (1 << 63) - 1
"""All bits of a number but its sign."""


def scan(z: Tensor, labels: Tensor, ignore_index: int) -> tuple[Pixels, Bins]:
    """See :attr:`TiledKernel.scan`."""
    *pixels, own, rival = _compiled(_scan)(z, labels, ignore_index)
    return Pixels(*pixels), Bins(own, rival)


def weigh(pixels: Pixels, weights: Weights, by_rival: bool) -> tuple[Tensor, Tensor]:
    """See :attr:`TiledKernel.weigh`. Inside :func:`descend` it would be computed again for each class."""
    shares: tuple[Tensor, Tensor] = _compiled(weigh_pixels)(pixels, weights, by_rival)
    return shares


def descend(z: Tensor, pixels: Pixels, of_label: Tensor, of_top: Tensor, out: Tensor) -> None:
    """See :attr:`TiledKernel.descend`."""
    _compiled(_descend)(z, pixels.code, pixels.lse, of_label, of_top, out)


def _scan(z: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, ...]:
    num_classes = z.shape[1]
    # All that is no class is C before it is C + 1, also below 0: two comparisons with each label would cost 8 % of a
    # scan, this 2 % (*measured*). Of all numbers -2^63 alone becomes 0.
    label = (labels.long() & NO_SIGN).clamp(max=num_classes).int()
    label = torch.where(labels == ignore_index, num_classes, label + (label == num_classes))
    top, preds, total, at_label = (_unrolled if num_classes <= UNROLLED else _reduced)(z, label)
    lse = top + total.log()
    rival = torch.where((label == preds) | (label == num_classes), num_classes, preds)
    code, bins = coded(label, rival, num_classes)
    return lse, torch.exp(at_label - lse), torch.exp(top - lse), code, *bins


def _unrolled(z: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The greatest logit, its first place, Σ exp(z - greatest) and the label's logit: all classes at once."""
    scores = z.unbind(1)
    top = functools.reduce(torch.maximum, scores)
    preds, total, at_label = torch.zeros_like(label), torch.zeros_like(top), torch.zeros_like(top)
    for number in reversed(range(len(scores))):
        preds = torch.where(scores[number] == top, number, preds)
        total = total + torch.exp(scores[number] - top)
        at_label = torch.where(label == number, scores[number], at_label)
    return top, preds, total, at_label


def _reduced(z: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same, class after class."""
    number, top = torch.arange(z.shape[1], dtype=torch.int32)[:, None], z.amax(dim=1)
    preds = torch.where(z == top[:, None], number, z.shape[1]).amin(dim=1)
    at_label = torch.where(label[:, None] == number, z, 0.0).sum(dim=1)
    return top, preds, torch.exp(z - top[:, None]).sum(dim=1), at_label


def _descend(z: Tensor, code: Tensor, lse: Tensor, of_label: Tensor, of_top: Tensor, out: Tensor) -> None:
    number = torch.arange(z.shape[1], dtype=torch.int32)[:, None]
    label, rival = decoded(code)
    wanted = torch.where(label[:, None] == number, of_label[:, None], 0.0)
    wanted = wanted + torch.where(rival[:, None] == number, of_top[:, None], 0.0)
    out.copy_(wanted - (of_label + of_top)[:, None] * torch.exp(z - lse[:, None]))


KERNEL = TiledKernel(scan, weigh, descend, TILE)


@functools.cache
def works() -> bool:
    """Can this machine compile? Finds out by doing it, once in a process; the log says why not."""
    if shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")) is None:
        return False
    logits, labels = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    task = Task(255, by_rival=False)
    try:
        _, pixels = KERNEL.forward(logits, labels, task)
        KERNEL.backward(logits, labels, pixels, Weights(torch.zeros(1, 7), torch.zeros(1, 4)), task)
    except Exception as error:  # whatever the compiler raises, the other kernel works
        _log.warning("kernel: compiled: %s: needs a working C++ compiler: eager is used", error)
        return False
    return True


@functools.cache
def _compiled(function: Callable[..., Result]) -> Callable[..., Result]:
    # A number of classes compiles once for one image and once for several; eight would soon be too few.
    can_raise = "recompile_limit" in inspect.signature(torch.compile).parameters
    options: dict[str, Any] = {"recompile_limit": 64} if can_raise else {}
    compiled: Callable[..., Result] = torch.compile(function, dynamic=True, **options)
    return compiled
