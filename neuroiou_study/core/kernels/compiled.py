"""The steps of a tile as ``torch.compile`` makes them: one pass over the logits forward, one backward.

Written so that the compiler makes vectorised loops of them, for any size and number of classes: reductions over the
class, and 32-bit class numbers that are compared, nowhere an ``argmax``, a scatter or a loop over classes. They compile
once in a process (*measured*: 7 s, and 2 s where an earlier process has left its files).
"""

import functools
import logging
import os
import shutil
import sys
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from neuroiou_study.core.kernels.fused import Task, Weights
from neuroiou_study.core.kernels.tiled import Pixels, TiledKernel
from neuroiou_study.core.kernels.tiled import weigh as weigh_pixels

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


def scan(z: Tensor, labels: Tensor, ignore_index: int) -> Pixels:
    """See :attr:`TiledKernel.scan`."""
    return Pixels(*_compiled(_scan)(z, labels, ignore_index))


def weigh(labels: Tensor, pixels: Pixels, weights: Weights, task: Task) -> tuple[Tensor, Tensor]:
    """See :attr:`TiledKernel.weigh`. Inside :func:`descend` it would be computed again for each class."""
    shares: tuple[Tensor, Tensor] = _compiled(weigh_pixels)(labels, pixels, weights, task)
    return shares


def descend(z: Tensor, labels: Tensor, pixels: Pixels, of_label: Tensor, of_top: Tensor, out: Tensor) -> None:
    """See :attr:`TiledKernel.descend`."""
    _compiled(_descend)(z, labels.int(), pixels.rivals, pixels.lse, of_label, of_top, out)


def _scan(z: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    number = torch.arange(len(z), dtype=torch.int32)[:, None]
    label = labels.to(torch.int32)
    top = z.amax(dim=0)
    preds = torch.where(z == top, number, len(z)).amin(dim=0)
    lse = top + torch.exp(z - top).sum(dim=0).log()
    at_label = torch.where(label == number, z, 0.0).sum(dim=0)
    rivals = torch.where((labels != ignore_index) & (label != preds), preds, len(z))
    return lse, torch.exp(at_label - lse), torch.exp(top - lse), rivals


def _descend(
    z: Tensor, label: Tensor, rivals: Tensor, lse: Tensor, of_label: Tensor, of_top: Tensor, out: Tensor
) -> None:
    number = torch.arange(len(z), dtype=torch.int32)[:, None]
    wanted = torch.where(label == number, of_label, 0.0) + torch.where(rivals == number, of_top, 0.0)
    out.copy_(wanted - (of_label + of_top) * torch.exp(z - lse))


KERNEL = TiledKernel(scan, weigh, descend)


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
    return torch.compile(function, dynamic=True)
