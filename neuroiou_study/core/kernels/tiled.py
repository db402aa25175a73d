"""The kernels for the CPU: tile after tile of an image's pixels, so that what they need stays in the processor's cache.

Logits of any layout and half precision are read through a contiguous float32 copy of a tile. What the three steps of a
tile do is plain operations (``eager``) or what ``torch.compile`` makes of some (``compiled``).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from neuroiou_study.core.kernels.fused import Task, Totals, Weights

SHIFT = 16
"""A pixel's code is its label, C if that is void, and 2^16 times its rival, C if it has none."""


LANES = 4
"""Parts of a bin, to which its pixels add in turns: one addition would have to wait for the one before."""


class Pixels(NamedTuple):
    """What the backward pass needs of pixels, each ``(B, T)``."""

    lse: Tensor
    p_label: Tensor
    p_top: Tensor
    code: Tensor  # int32


class Bins(NamedTuple):
    """Which bin of a flat tensor each pixel adds to; those of the next image follow after the last of one."""

    own: Tensor  # (B, T) int32, of B · (2C + 2) · LANES; the last is of labels that are no class
    rival: Tensor  # (B, T) int32, of B · (C + 1) · LANES


Tile = tuple[slice, slice]
"""Images and pixels: a part of one image, or some whole images."""


@dataclass(frozen=True)
class TiledKernel:
    """A kernel made of the steps of a tile with logits ``(B, C, T)`` in float32 or float64, and labels ``(B, T)``."""

    scan: Callable[[Tensor, Tensor, int], tuple[Pixels, Bins]]
    """Logits, labels, ``ignore_index`` → pixels and their bins."""
    weigh: Callable[[Pixels, Weights, bool], tuple[Tensor, Tensor]]
    """Pixels, weights, ``by_rival`` → w_y p_y and w_k p_k, each ``(B, T)``; 0 where there is no such bin."""
    descend: Callable[[Tensor, Pixels, Tensor, Tensor, Tensor], None]
    """Logits, pixels, what ``weigh`` returns; the gradient ``(B, C, T)`` is written into the last."""
    tile: int
    """Pixels of a tile: fewer hold less memory at once, more have fewer fixed costs."""

    def forward(self, logits: Tensor, labels: Tensor, task: Task) -> tuple[Totals, tuple[Tensor, ...]]:
        num_images, num_classes = logits.shape[:2]
        z, y = logits.flatten(2), labels.flatten(1)
        pixels, totals = list[Tensor](), _zero_totals(num_images, num_classes)
        for tile in tiles(y, self.tile):
            found, bins = self.scan(readable(z, tile), y[tile], task.ignore_index)
            parts, num_wrong = _add_up(found, bins, num_classes, task)
            if num_wrong:
                _refuse(y[tile], num_classes, task.ignore_index)
            for total, part in zip(totals, parts, strict=True):
                total[tile[0]] += part
            pixels += found
        return totals, tuple(pixels)

    def backward(
        self, logits: Tensor, labels: Tensor, pixels: tuple[Tensor, ...], weights: Weights, task: Task
    ) -> Tensor:
        grad, size = empty_gradient(logits), len(Pixels._fields)
        z, flat = logits.flatten(2), grad.flatten(2)
        for number, tile in enumerate(tiles(labels.flatten(1), self.tile)):
            here = Pixels(*pixels[number * size : (number + 1) * size])
            scores, out = readable(z, tile), flat[tile[0], :, tile[1]]
            place = out if out.stride(2) == 1 and out.dtype == scores.dtype else torch.empty_like(scores)
            # No name for the shares, which would keep them until the next tile has its own.
            self.descend(
                scores, here, *self.weigh(here, Weights(*(each[tile[0]] for each in weights)), task.by_rival), place
            )
            if place is not out:
                out.copy_(place)
        return grad


def empty_gradient(logits: Tensor) -> Tensor:
    """An uninitialised gradient of ``logits`` whose pixels can be flattened without a copy."""
    is_last = logits.is_contiguous(memory_format=torch.channels_last)
    return torch.empty_like(logits, memory_format=torch.channels_last if is_last else torch.contiguous_format)


def tiles(pixels: Tensor, size: int) -> Iterator[Tile]:
    """The tiles of ``pixels`` ``(B, P)``."""
    num_images, num_pixels = pixels.shape
    together = max(1, size // max(1, num_pixels))
    for image in range(0, num_images, together):
        for begin in range(0, num_pixels, size):
            yield slice(image, image + together), slice(begin, begin + size)


def readable(z: Tensor, tile: Tile) -> Tensor:
    """A tile ``(B, C, T)`` of logits ``(B, C, P)`` in at least float32, each class's side by side."""
    part = z[tile[0], :, tile[1]]
    accurate = part if part.dtype == torch.float64 else part.float()
    return accurate if accurate.stride(2) == 1 else accurate.contiguous()


def _refuse(labels: Tensor, num_classes: int, ignore_index: int) -> NoReturn:
    wrong = labels[(labels != ignore_index) & ((labels < 0) | (labels >= num_classes))]
    raise ValueError(
        f"labels: {int(wrong[0])}: classes are 0 to {num_classes - 1} and {ignore_index} is void: correct the labels, "
        "or set ignore_index"
    )


def coded(label: Tensor, rival: Tensor, num_classes: int) -> tuple[Tensor, Bins]:
    """The code and the bins of pixels ``(B, T)`` with ``label`` and ``rival``, int32, each C if there is none."""
    image = torch.arange(len(label), dtype=torch.int32).unsqueeze(1)
    lane = torch.arange(label.shape[1], dtype=torch.int32) % LANES
    own = own_bins(label, rival, num_classes) + image * (2 * num_classes + 2)
    bins = Bins(own * LANES + lane, (rival + image * (num_classes + 1)) * LANES + lane)
    return label | rival << SHIFT, bins


def decoded(code: Tensor) -> tuple[Tensor, Tensor]:
    """Label and rival, int32, of a ``code``."""
    return code & ((1 << SHIFT) - 1), code >> SHIFT


def own_bins(label: Tensor, rival: Tensor, num_classes: int) -> Tensor:
    """The TP or FN bin of pixels with ``label`` and ``rival``, 2C if void; of a label that is no class, 2C + 1."""
    return label + torch.where((rival != num_classes) | (label == num_classes), num_classes, 0)


def weigh(pixels: Pixels, weights: Weights, by_rival: bool) -> tuple[Tensor, Tensor]:
    """See :attr:`TiledKernel.weigh`."""
    num_classes = weights.rival.shape[1] - 1
    label, rival = (each.long() for each in decoded(pixels.code))
    of_own, of_rival = weights.own.gather(1, own_bins(label, rival, num_classes)), weights.rival.gather(1, rival)
    if not by_rival:
        return of_own * pixels.p_label, of_rival * pixels.p_top
    missed = rival != num_classes
    return torch.where(missed, 0, of_own * pixels.p_label), torch.where(missed, (of_own + of_rival) * pixels.p_top, 0)


def _add_up(pixels: Pixels, bins: Bins, num_classes: int, task: Task) -> tuple[Totals, int]:
    """The totals of a tile, and how many of its labels are neither void nor a class: the sums know without a look."""
    p_own = pixels.p_label
    if task.by_rival:
        p_own = torch.where(decoded(pixels.code)[1] != num_classes, pixels.p_top, p_own)
    own_counts, own_sums = _binned(bins.own, p_own, 2 * num_classes + 2)
    rival_counts, rival_sums = _binned(bins.rival, pixels.p_top, num_classes + 1)
    own, rival = slice(2 * num_classes), slice(num_classes)
    totals = Totals(own_counts[:, own], own_sums[:, own], rival_counts[:, rival], rival_sums[:, rival])
    return totals, int(own_counts[:, -1].sum())


def _binned(bins: Tensor, values: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Counts and float64 sums ``(B, number)`` of ``values`` ``(B, T)`` by ``bins``."""
    shape = len(bins), number, LANES
    counts = torch.bincount(bins.flatten(), minlength=math.prod(shape))
    sums = torch.bincount(bins.flatten(), weights=values.flatten().double(), minlength=math.prod(shape))
    return counts.view(shape).sum(2), sums.view(shape).sum(2)


def _zero_totals(num_images: int, num_classes: int) -> Totals:
    own, rival = (num_images, 2 * num_classes), (num_images, num_classes)
    return Totals(
        torch.zeros(own, dtype=torch.int64),
        torch.zeros(own, dtype=torch.float64),
        torch.zeros(rival, dtype=torch.int64),
        torch.zeros(rival, dtype=torch.float64),
    )
