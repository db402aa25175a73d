"""The kernel for NVIDIA GPUs, in Triton: the logits are read once forward, and read and written once backward.

A program takes a tile of pixels with all their classes into registers. Forward it leaves the tile's bins, which are
then added up in float64 in a fixed order, so that equal inputs give equal results; backward it writes the gradient.
Nothing is kept between the two: what a pixel needs is computed again from the logits, which have to be read anyway.
A label that is neither void nor a class counts as void: to raise an error, the CPU would have to wait for the GPU.

TRITON_INTERPRET=1 runs it on the CPU, to be checked without a GPU.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuroiou_study.core.kernels.fused import Task, Totals, Weights
from neuroiou_study.core.kernels.tiled import empty_gradient

TILE_ELEMENTS = 4096
"""Classes × pixels of a tile: 32 registers of each thread of 4 warps. *Assumed*."""
SETS = 6  # counts of TP, FN and FP, then their sums


class TritonKernel:
    """See the module."""

    def forward(self, logits: Tensor, labels: Tensor, task: Task) -> tuple[Totals, tuple[Tensor, ...]]:
        num_images, num_classes = logits.shape[:2]
        rows, pixels, tiles = _tiling(logits)
        parts = logits.new_empty((num_images, tiles, SETS, rows), dtype=torch.float32)
        _forward[num_images, tiles](
            *_described(logits, labels), parts, task.ignore_index, BY_RIVAL=task.by_rival, ROWS=rows, PIXELS=pixels
        )
        totals = parts.sum(dim=1, dtype=torch.float64)[..., :num_classes]
        counts, sums = totals[:, :3].long(), totals[:, 3:]
        own_counts, own_sums = counts[:, :2].flatten(1), sums[:, :2].flatten(1)
        return Totals(own_counts, own_sums, counts[:, 2], sums[:, 2]), ()

    def backward(
        self, logits: Tensor, labels: Tensor, pixels: tuple[Tensor, ...], weights: Weights, task: Task
    ) -> Tensor:
        grad = empty_gradient(logits)
        rows, tile, tiles = _tiling(logits)
        own, rival = (each.contiguous() for each in weights)
        _backward[len(logits), tiles](
            *_described(logits, labels),
            grad,
            *grad.stride(),
            own,
            rival,
            task.ignore_index,
            BY_RIVAL=task.by_rival,
            ROWS=rows,
            PIXELS=tile,
        )
        return grad


def _tiling(logits: Tensor) -> tuple[int, int, int]:
    """Rows (classes, up to a power of two) and pixels of a tile, and the number of tiles of an image."""
    rows = triton.next_power_of_2(logits.shape[1])
    pixels = max(16, TILE_ELEMENTS // rows)
    return rows, pixels, triton.cdiv(logits.shape[2] * logits.shape[3], pixels)


def _described(logits: Tensor, labels: Tensor) -> tuple[Tensor | int, ...]:
    return (logits, *logits.stride(), *logits.shape[1:], labels, *labels.stride())


@triton.jit
def _load(
    logits, batch_stride, class_stride, row_stride, column_stride, classes, height, width,
    labels, label_batch_stride, label_row_stride, label_column_stride,
    ignore_index, ROWS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """A tile: class numbers, which elements there are, exp(z - greatest), and labels and predictions of its pixels."""
    image = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < height * width
    row, column = pixel // width, pixel % width
    number = tl.arange(0, ROWS)
    place = (row * row_stride + column * column_stride)[None, :] + number[:, None].to(tl.int64) * class_stride
    is_there = (number < classes)[:, None] & inside[None, :]
    z = tl.load(logits + image * batch_stride + place, mask=is_there, other=float("-inf")).to(tl.float32)
    z = tl.where(inside[None, :], z, 0.0)
    label_place = row * label_row_stride + column * label_column_stride
    label = tl.load(labels + image * label_batch_stride + label_place, mask=inside, other=ignore_index)
    top = tl.max(z, axis=0)
    z = z - top[None, :]
    preds = tl.min(tl.where(z == 0.0, number[:, None], ROWS), axis=0)
    valid = inside & (label >= 0) & (label < classes) & (label != ignore_index)
    missed = valid & (label != preds)
    return image, number, is_there, tl.exp(z), label, preds, valid, missed


@triton.jit
def _forward(
    logits, batch_stride, class_stride, row_stride, column_stride, classes, height, width,
    labels, label_batch_stride, label_row_stride, label_column_stride,
    parts, ignore_index, BY_RIVAL: tl.constexpr, ROWS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Write the counts and sums of a tile to ``parts`` ``(B, tiles, SETS, ROWS)``."""
    image, number, _, e, label, preds, valid, missed = _load(
        logits, batch_stride, class_stride, row_stride, column_stride, classes, height, width,
        labels, label_batch_stride, label_row_stride, label_column_stride, ignore_index, ROWS, PIXELS,
    )  # fmt: skip
    total = tl.sum(e, axis=0)
    is_label = number[:, None] == label[None, :]
    p_label = tl.sum(tl.where(is_label, e, 0.0), axis=0) / total
    p_top = 1.0 / total
    right_here = is_label & (valid & (missed == 0))[None, :]
    missed_here = is_label & missed[None, :]
    taken_here = (number[:, None] == preds[None, :]) & missed[None, :]
    of_missed = p_top if BY_RIVAL else p_label
    begin = parts + (image * tl.num_programs(1) + tl.program_id(1)) * (6 * ROWS) + number
    tl.store(begin, tl.sum(right_here.to(tl.float32), axis=1))
    tl.store(begin + ROWS, tl.sum(missed_here.to(tl.float32), axis=1))
    tl.store(begin + 2 * ROWS, tl.sum(taken_here.to(tl.float32), axis=1))
    tl.store(begin + 3 * ROWS, tl.sum(tl.where(right_here, p_label[None, :], 0.0), axis=1))
    tl.store(begin + 4 * ROWS, tl.sum(tl.where(missed_here, of_missed[None, :], 0.0), axis=1))
    tl.store(begin + 5 * ROWS, tl.sum(tl.where(taken_here, p_top[None, :], 0.0), axis=1))


@triton.jit
def _backward(
    logits, batch_stride, class_stride, row_stride, column_stride, classes, height, width,
    labels, label_batch_stride, label_row_stride, label_column_stride,
    grad, grad_batch_stride, grad_class_stride, grad_row_stride, grad_column_stride,
    own_weights, rival_weights, ignore_index, BY_RIVAL: tl.constexpr, ROWS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Write the gradient of a tile."""
    image, number, is_there, e, label, preds, valid, missed = _load(
        logits, batch_stride, class_stride, row_stride, column_stride, classes, height, width,
        labels, label_batch_stride, label_row_stride, label_column_stride, ignore_index, ROWS, PIXELS,
    )  # fmt: skip
    p = e / tl.sum(e, axis=0)[None, :]
    is_label = number[:, None] == label[None, :]
    is_top = number[:, None] == preds[None, :]
    own_bin = tl.where(valid, label + tl.where(missed, classes, 0), 2 * classes)
    rival_bin = tl.where(missed, preds, classes)
    of_own = tl.load(own_weights + image * (2 * classes + 1) + own_bin)
    of_rival = tl.load(rival_weights + image * (classes + 1) + rival_bin)
    if BY_RIVAL:
        of_rival = tl.where(missed, of_rival + of_own, 0.0)
        of_own = tl.where(missed, 0.0, of_own)
    w_label = of_own * tl.sum(tl.where(is_label, p, 0.0), axis=0)
    w_top = of_rival * tl.sum(tl.where(is_top, p, 0.0), axis=0)
    gradient = (
        tl.where(is_label, w_label[None, :], 0.0)
        + tl.where(is_top & missed[None, :], w_top[None, :], 0.0)
        - (w_label + w_top)[None, :] * p
    )
    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    row, column = pixel // width, pixel % width
    target = (row * grad_row_stride + column * grad_column_stride)[None, :]
    target += number[:, None].to(tl.int64) * grad_class_stride
    tl.store(grad + image * grad_batch_stride + target, gradient.to(grad.dtype.element_ty), mask=is_there)
