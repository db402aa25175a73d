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

TILE = 1 << 15
"""Pixels of a tile. *Measured*: from 2^15 on alike in time; larger ones hold more memory at once."""


class Pixels(NamedTuple):
    """What the backward pass needs of pixels, each ``(B, T)``."""

    lse: Tensor
    p_label: Tensor
    p_top: Tensor
    rivals: Tensor  # integer: the predicted class of a missed pixel, else C


class Bins(NamedTuple):
    """Which bin of a flat tensor each pixel adds to; those of the next image follow after the last, void, of one."""

    own: Tensor  # (B, T) integer, of B · (2C + 1)
    rival: Tensor  # (B, T) integer, of B · (C + 1)


Tile = tuple[slice, slice]
"""Images and pixels: a part of one image, or some whole images."""


@dataclass(frozen=True)
class TiledKernel:
    """A kernel made of the steps of a tile with logits ``(B, C, T)`` in float32 or float64, and labels ``(B, T)``."""

    scan: Callable[[Tensor, Tensor, int], tuple[Pixels, Bins]]
    """Logits, labels, ``ignore_index`` → pixels and their bins."""
    weigh: Callable[[Tensor, Pixels, Weights, Task], tuple[Tensor, Tensor]]
    """Labels, pixels, weights → w_y p_y and w_k p_k, each ``(B, T)``; 0 where there is no such bin."""
    descend: Callable[[Tensor, Tensor, Pixels, Tensor, Tensor, Tensor], None]
    """Logits, labels, pixels, what ``weigh`` returns; the gradient ``(B, C, T)`` is written into the last."""

    def forward(self, logits: Tensor, labels: Tensor, task: Task) -> tuple[Totals, tuple[Tensor, ...]]:
        num_images, num_classes = logits.shape[:2]
        z, y = logits.flatten(2), labels.flatten(1)
        pixels, totals = list[Tensor](), _zero_totals(num_images, num_classes)
        for tile in _tiles(y):
            found, bins = self.scan(_readable(_part(z, tile)), y[tile], task.ignore_index)
            for total, part in zip(totals, _add_up(found, bins, num_classes, task), strict=True):
                total[tile[0]] += part
            pixels += found._replace(rivals=found.rivals.to(_small_integer(num_classes)))
        return totals, tuple(pixels)

    def backward(
        self, logits: Tensor, labels: Tensor, pixels: tuple[Tensor, ...], weights: Weights, task: Task
    ) -> Tensor:
        grad = empty_gradient(logits)
        z, y, flat = logits.flatten(2), labels.flatten(1), grad.flatten(2)
        for number, tile in enumerate(_tiles(y)):
            here, mine = _pixels_of(number, pixels), Weights(*(each[tile[0]] for each in weights))
            shares = self.weigh(y[tile], here, mine, task)
            scores, out = _readable(_part(z, tile)), _part(flat, tile)
            place = out if out.stride(2) == 1 and out.dtype == scores.dtype else torch.empty_like(scores)
            self.descend(scores, y[tile], here, *shares, place)
            if place is not out:
                out.copy_(place)
        return grad


def empty_gradient(logits: Tensor) -> Tensor:
    """An uninitialised gradient of ``logits`` whose pixels can be flattened without a copy."""
    is_last = logits.is_contiguous(memory_format=torch.channels_last)
    return torch.empty_like(logits, memory_format=torch.channels_last if is_last else torch.contiguous_format)


def of_tiles(function: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """``(B, H, W)`` int64: ``function`` of the tiles ``(B, C, T)`` of ``logits`` ``(B, C, H, W)``."""
    z = logits.flatten(2)
    result = torch.empty(len(z), z.shape[2], dtype=torch.int64)
    for tile in _tiles(result):
        result[tile] = function(_readable(_part(z, tile)))
    return result.view(len(z), *logits.shape[2:])


def own_bins(labels: Tensor, rivals: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """The TP or FN bin, 0 to 2C, of pixels with ``labels`` and ``rivals``."""
    return torch.where(labels == ignore_index, 2 * num_classes, labels + (rivals != num_classes) * num_classes)


def bins_of(labels: Tensor, rivals: Tensor, num_classes: int, ignore_index: int) -> Bins:
    """The bins of pixels ``(B, T)`` with ``labels`` and ``rivals``."""
    image = torch.arange(len(labels)).unsqueeze(1)
    own = own_bins(labels, rivals, num_classes, ignore_index)
    return Bins(own + image * (2 * num_classes + 1), rivals + image * (num_classes + 1))


def weigh(labels: Tensor, pixels: Pixels, weights: Weights, task: Task) -> tuple[Tensor, Tensor]:
    """See :attr:`TiledKernel.weigh`."""
    num_classes, rivals = weights.rival.shape[1] - 1, pixels.rivals.long()
    of_own = weights.own.gather(1, own_bins(labels, rivals, num_classes, task.ignore_index))
    of_rival = weights.rival.gather(1, rivals)
    if not task.by_rival:
        return of_own * pixels.p_label, of_rival * pixels.p_top
    missed = rivals != num_classes
    return torch.where(missed, 0, of_own * pixels.p_label), torch.where(missed, (of_own + of_rival) * pixels.p_top, 0)


def _pixels_of(tile: int, pixels: tuple[Tensor, ...]) -> Pixels:
    """Of a number of a tile, from the tensors of all."""
    size = len(Pixels._fields)
    kept = Pixels(*pixels[tile * size : (tile + 1) * size])
    return kept._replace(rivals=kept.rivals.int())


def _small_integer(num_classes: int) -> torch.dtype:
    """What holds the number of a class until the backward pass."""
    return torch.int16 if num_classes < 1 << 15 else torch.int32


def _add_up(pixels: Pixels, bins: Bins, num_classes: int, task: Task) -> Totals:
    p_own = pixels.p_label
    if task.by_rival:
        p_own = torch.where(pixels.rivals != num_classes, pixels.p_top, p_own)
    return Totals(*_binned(bins.own, p_own, 2 * num_classes), *_binned(bins.rival, pixels.p_top, num_classes))


def _binned(bins: Tensor, values: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Counts and float64 sums ``(B, number)`` of ``values`` ``(B, T)`` by ``bins``; the bin ``number`` is void."""
    size = len(bins) * (number + 1)
    counts = torch.bincount(bins.flatten(), minlength=size)
    sums = torch.bincount(bins.flatten(), weights=values.flatten().double(), minlength=size)
    return counts.view(len(bins), -1)[:, :number], sums.view(len(bins), -1)[:, :number]


def _tiles(pixels: Tensor) -> Iterator[Tile]:
    """The tiles of ``pixels`` ``(B, P)``."""
    num_images, size = pixels.shape
    together = max(1, TILE // max(1, size))
    for image in range(0, num_images, together):
        for begin in range(0, size, TILE):
            yield slice(image, image + together), slice(begin, begin + TILE)


def _part(z: Tensor, tile: Tile) -> Tensor:
    return z[tile[0], :, tile[1]]


def _readable(z: Tensor) -> Tensor:
    """Logits ``(B, C, T)`` in at least float32, each class's side by side."""
    accurate = z.to(_accurate(z.dtype))
    return accurate if accurate.stride(2) == 1 else accurate.contiguous()


def _accurate(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _zero_totals(num_images: int, num_classes: int) -> Totals:
    own, rival = (num_images, 2 * num_classes), (num_images, num_classes)
    return Totals(
        torch.zeros(own, dtype=torch.int64),
        torch.zeros(own, dtype=torch.float64),
        torch.zeros(rival, dtype=torch.int64),
        torch.zeros(rival, dtype=torch.float64),
    )
