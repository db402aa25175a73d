"""The kernels for the CPU: tile after tile of an image's pixels, so that what they need stays in the processor's cache.

Logits of any layout and half precision are read through a contiguous float32 copy of a tile. What the three steps of a
tile do is plain operations (``eager``) or what ``torch.compile`` makes of some (``compiled``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from neuroiou_study.core.kernels.fused import Task, Totals, Weights

TILE = 1 << 16
"""Pixels of a tile. *Measured*: 2^15 to 2^17 are alike; below, the fixed costs of the operations count."""


class Pixels(NamedTuple):
    """What the backward pass needs of pixels, each ``(T,)`` or ``(B, P)``."""

    lse: Tensor
    p_label: Tensor
    p_top: Tensor
    rivals: Tensor  # integer: the predicted class of a missed pixel, else C

    def at(self, image: int, place: slice) -> "Pixels":
        """Those of a tile."""
        return Pixels(*(each[image, place] for each in self))


@dataclass(frozen=True)
class TiledKernel:
    """A kernel made of the steps of a tile with logits ``(C, T)`` in float32 or float64, and labels ``(T,)``."""

    scan: Callable[[Tensor, Tensor, int], Pixels]
    """Logits, labels, ``ignore_index`` → pixels."""
    weigh: Callable[[Tensor, Pixels, Weights, Task], tuple[Tensor, Tensor]]
    """Labels, pixels, one image's weights → w_y p_y and w_k p_k, each ``(T,)``; 0 where there is no such bin."""
    descend: Callable[[Tensor, Tensor, Pixels, Tensor, Tensor, Tensor], None]
    """Logits, labels, pixels, what ``weigh`` returns; the gradient ``(C, T)`` is written into the last."""

    def forward(self, logits: Tensor, labels: Tensor, task: Task) -> tuple[Totals, tuple[Tensor, ...]]:
        num_images, num_classes = logits.shape[:2]
        z, y = logits.flatten(2), labels.flatten(1)
        pixels, totals = _empty_pixels(y.shape, logits), _zero_totals(num_images, num_classes)
        for image, place in _tiles(y):
            found = self.scan(_readable(z[image, :, place]), y[image, place], task.ignore_index)
            for kept, here in zip(pixels.at(image, place), found, strict=True):
                kept.copy_(here)
            for total, part in zip(totals, _add_up(y[image, place], found, num_classes, task), strict=True):
                total[image] += part
        return totals, tuple(pixels)

    def backward(
        self, logits: Tensor, labels: Tensor, pixels: tuple[Tensor, ...], weights: Weights, task: Task
    ) -> Tensor:
        grad = empty_gradient(logits)
        z, y, flat = logits.flatten(2), labels.flatten(1), grad.flatten(2)
        for image, place in _tiles(y):
            scores, here, out = _readable(z[image, :, place]), y[image, place], flat[image, :, place]
            part = Pixels(*pixels).at(image, place)
            part = part._replace(rivals=part.rivals.int())
            of_label, of_top = self.weigh(here, part, Weights(weights.own[image], weights.rival[image]), task)
            tile = out if out.stride(1) == 1 and out.dtype == scores.dtype else torch.empty_like(scores)
            self.descend(scores, here, part, of_label, of_top, tile)
            if tile is not out:
                out.copy_(tile)
        return grad


def empty_gradient(logits: Tensor) -> Tensor:
    """An uninitialised gradient of ``logits`` whose pixels can be flattened without a copy."""
    is_last = logits.is_contiguous(memory_format=torch.channels_last)
    return torch.empty_like(logits, memory_format=torch.channels_last if is_last else torch.contiguous_format)


def of_tiles(function: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """``(B, H, W)`` int64: ``function`` of the tiles ``(C, T)`` of ``logits`` ``(B, C, H, W)``."""
    z = logits.flatten(2)
    result = torch.empty(len(z), z.shape[2], dtype=torch.int64)
    for image, place in _tiles(result):
        result[image, place] = function(_readable(z[image, :, place]))
    return result.view(len(z), *logits.shape[2:])


def own_bins(labels: Tensor, rivals: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """The TP or FN bin, 0 to 2C, of pixels with ``labels`` and ``rivals``."""
    return torch.where(labels == ignore_index, 2 * num_classes, labels + (rivals != num_classes) * num_classes)


def weigh(labels: Tensor, pixels: Pixels, weights: Weights, task: Task) -> tuple[Tensor, Tensor]:
    """See :attr:`TiledKernel.weigh`."""
    num_classes = len(weights.rival) - 1
    own = own_bins(labels, pixels.rivals, num_classes, task.ignore_index)
    of_own, of_rival = weights.own[own], weights.rival[pixels.rivals]
    if not task.by_rival:
        return of_own * pixels.p_label, of_rival * pixels.p_top
    missed = pixels.rivals != num_classes
    return torch.where(missed, 0, of_own * pixels.p_label), torch.where(missed, (of_own + of_rival) * pixels.p_top, 0)


def _add_up(labels: Tensor, pixels: Pixels, num_classes: int, task: Task) -> Totals:
    own, p_own = own_bins(labels, pixels.rivals, num_classes, task.ignore_index), pixels.p_label
    if task.by_rival:
        p_own = torch.where(pixels.rivals != num_classes, pixels.p_top, p_own)
    return Totals(*_binned(own, p_own, 2 * num_classes), *_binned(pixels.rivals, pixels.p_top, num_classes))


def _binned(bins: Tensor, values: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Counts and float64 sums ``(number,)`` of ``values`` ``(T,)`` by ``bins``; the bin ``number`` is void."""
    counts = torch.bincount(bins, minlength=number + 1)
    sums = torch.bincount(bins, weights=values.double(), minlength=number + 1)
    return counts[:number], sums[:number]


def _tiles(pixels: Tensor) -> Iterator[tuple[int, slice]]:
    """Image and place of each tile of ``pixels`` ``(B, P)``."""
    for image in range(len(pixels)):
        for begin in range(0, pixels.shape[1], TILE):
            yield image, slice(begin, begin + TILE)


def _readable(z: Tensor) -> Tensor:
    """Logits ``(C, T)`` in at least float32, each class's side by side."""
    accurate = z.to(_accurate(z.dtype))
    return accurate if accurate.stride(1) == 1 else accurate.contiguous()


def _accurate(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _empty_pixels(size: torch.Size, logits: Tensor) -> Pixels:
    lse, p_label, p_top = (torch.empty(size, dtype=_accurate(logits.dtype)) for _ in range(3))
    return Pixels(
        lse, p_label, p_top, torch.empty(size, dtype=torch.int16 if logits.shape[1] < 1 << 15 else torch.int32)
    )


def _zero_totals(num_images: int, num_classes: int) -> Totals:
    own, rival = (num_images, 2 * num_classes), (num_images, num_classes)
    return Totals(
        torch.zeros(own, dtype=torch.int64),
        torch.zeros(own, dtype=torch.float64),
        torch.zeros(rival, dtype=torch.int64),
        torch.zeros(rival, dtype=torch.float64),
    )
