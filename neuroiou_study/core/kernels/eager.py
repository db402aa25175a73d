"""The steps of a tile in plain operations.

None makes a class × pixel tensor beside the gradient, and none finds a maximum's place by ``argmax``, which alone takes
longer than all of cross-entropy: the number of the class that equals the maximum is added up instead.
"""

import torch
from torch import Tensor

from neuroiou_study.core.kernels.tiled import Bins, Pixels, TiledKernel, coded, decoded, readable, tiles, weigh

TILE = 1 << 15
"""*Measured*: with 2^13 a third slower, with 2^17 hardly faster."""


def scan(z: Tensor, labels: Tensor, ignore_index: int) -> tuple[Pixels, Bins]:
    """See :attr:`TiledKernel.scan`."""
    num_classes, top = z.shape[1], z.amax(dim=1)
    total, term = torch.zeros_like(top), torch.empty_like(top)
    for scores in z.unbind(1):
        total += torch.sub(scores, top, out=term).exp_()
    lse, preds = top + total.log(), _place(z, top)
    label, index = _labelled(labels, num_classes, ignore_index)
    at_label = z.gather(1, index.unsqueeze(1)).squeeze(1)
    rival = torch.where((label == preds) | (label == num_classes), num_classes, preds)
    code, bins = coded(label, rival, num_classes)
    return Pixels(lse, at_label.sub_(lse).exp_(), total.reciprocal(), code), bins


def descend(z: Tensor, pixels: Pixels, of_label: Tensor, of_top: Tensor, out: Tensor) -> None:
    """See :attr:`TiledKernel.descend`."""
    less = -(of_label + of_top)
    for scores, gradient in zip(z.unbind(1), out.unbind(1), strict=True):
        torch.sub(scores, pixels.lse, out=gradient).exp_().mul_(less)
    for number, share in zip(decoded(pixels.code), (of_label, of_top), strict=True):
        # Where there is no label or no rival the share is 0, so any class may have it.
        out.scatter_add_(1, number.clamp(max=z.shape[1] - 1).long().unsqueeze(1), share.unsqueeze(1))


def arg_max(logits: Tensor) -> Tensor:
    """``(B, H, W)`` int64: the place of the greatest of ``logits`` ``(B, C, H, W)``, the first of equals."""
    z = logits.flatten(2)
    result = torch.empty(len(z), z.shape[2], dtype=torch.int64)
    for tile in tiles(result, TILE):
        part = readable(z, tile)
        result[tile] = _place(part, part.amax(dim=1))
    return result.view(len(z), *logits.shape[2:])


def _labelled(labels: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """``labels`` as int32, C where they are void and C + 1 where they are no class; and int64 where they may index."""
    labels = labels.long()
    index = labels.clamp(0, num_classes - 1)
    label = index.int().masked_fill_(index != labels, num_classes + 1)
    return label.masked_fill_(labels == ignore_index, num_classes), index


def _place(z: Tensor, top: Tensor) -> Tensor:
    """``(B, T)`` int32: the first class whose logit in ``z`` ``(B, C, T)`` is ``top`` ``(B, T)``, the greatest."""
    base = 1 << z.shape[1].bit_length()
    code, is_top = torch.zeros_like(top), torch.empty_like(top)
    for number, scores in enumerate(z.unbind(1)):
        code.add_(torch.sub(scores, top, out=is_top).ge_(0), alpha=base + number)
    places = code.int() - base
    image, place = ((places < 0) | (places >= base)).nonzero(as_tuple=True)  # several are equal, or one is not finite
    if len(image):
        places[image, place] = z[image, :, place].max(dim=1).indices.int()
    return places


KERNEL = TiledKernel(scan, weigh, descend, TILE)
