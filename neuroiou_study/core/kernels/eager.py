"""The steps of a tile in plain operations.

None makes a class × pixel tensor beside the gradient, and none finds a maximum's place by ``argmax``, which alone takes
longer than all of cross-entropy: of x = z - max z only the place of the maximum has ⌊exp x⌋ = 1.
"""

import torch
from torch import Tensor

from neuroiou_study.core.kernels.tiled import Pixels, TiledKernel, of_tiles, weigh


def scan(z: Tensor, labels: Tensor, ignore_index: int) -> Pixels:
    """See :attr:`TiledKernel.scan`."""
    top, preds, total = _softmax_top(z)
    lse, valid = top + total.log(), labels != ignore_index
    at_label = z.gather(0, torch.where(valid, labels, 0).unsqueeze(0)).squeeze(0)
    rivals = torch.where(valid & (labels != preds), preds, len(z))
    return Pixels(lse, at_label.sub_(lse).exp_(), total.reciprocal(), rivals)


def descend(z: Tensor, labels: Tensor, pixels: Pixels, of_label: Tensor, of_top: Tensor, out: Tensor) -> None:
    """See :attr:`TiledKernel.descend`."""
    less = -(of_label + of_top)
    for scores, gradient in zip(z, out, strict=True):
        torch.sub(scores, pixels.lse, out=gradient).exp_().mul_(less)
    # Where a label is void its share is 0, so any class may have it.
    out.scatter_add_(0, torch.where(of_label == 0, 0, labels).unsqueeze(0), of_label.unsqueeze(0))
    missed = (pixels.rivals != len(z)).nonzero().squeeze(1)
    out.index_put_((pixels.rivals[missed].long(), missed), of_top[missed], accumulate=True)


def arg_max(logits: Tensor) -> Tensor:
    """``(B, H, W)`` int64: the place of the greatest of ``logits`` ``(B, C, H, W)``, the first of equals."""
    return of_tiles(lambda z: _softmax_top(z)[1], logits)


def _softmax_top(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The greatest of logits ``(C, T)``, its first place int64, and Σ exp(z - greatest), each ``(T,)``."""
    base = 1 << len(z).bit_length()
    top = z.amax(dim=0)
    total, code, term = torch.zeros_like(top), torch.zeros_like(top), torch.empty_like(top)
    for number, scores in enumerate(z):
        total += torch.sub(scores, top, out=term).exp_()
        code.add_(term.floor_(), alpha=base + number)
    place = code.nan_to_num_(nan=2 * base).long() - base
    tied = (place >= base).nonzero().squeeze(1)
    if len(tied):
        place[tied] = z[:, tied].max(dim=0).indices
    return top, place, total


KERNEL = TiledKernel(scan, weigh, descend)
