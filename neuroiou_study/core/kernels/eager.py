"""The steps of a tile in plain operations.

None makes a class × pixel tensor beside the gradient, and none finds a maximum's place by ``argmax``, which alone takes
longer than all of cross-entropy: the number of the class that equals the maximum is added up instead.
"""

import torch
from torch import Tensor

from neuroiou_study.core.kernels.tiled import Bins, Pixels, TiledKernel, bins_of, of_tiles, weigh


def scan(z: Tensor, labels: Tensor, ignore_index: int) -> tuple[Pixels, Bins]:
    """See :attr:`TiledKernel.scan`."""
    num_classes, top = z.shape[1], z.amax(dim=1)
    total, term = torch.zeros_like(top), torch.empty_like(top)
    for scores in z.unbind(1):
        total += torch.sub(scores, top, out=term).exp_()
    lse, valid, preds = top + total.log(), labels != ignore_index, _place(z, top)
    at_label = z.gather(1, torch.where(valid, labels, 0).unsqueeze(1)).squeeze(1)
    rivals = torch.where(valid & (labels != preds), preds, num_classes)
    pixels = Pixels(lse, at_label.sub_(lse).exp_(), total.reciprocal(), rivals)
    return pixels, bins_of(labels, rivals, num_classes, ignore_index)


def descend(z: Tensor, labels: Tensor, pixels: Pixels, of_label: Tensor, of_top: Tensor, out: Tensor) -> None:
    """See :attr:`TiledKernel.descend`."""
    less = -(of_label + of_top)
    for scores, gradient in zip(z.unbind(1), out.unbind(1), strict=True):
        torch.sub(scores, pixels.lse, out=gradient).exp_().mul_(less)
    # Where a label is void its share is 0, so any class may have it.
    out.scatter_add_(1, torch.where(of_label == 0, 0, labels).unsqueeze(1), of_label.unsqueeze(1))
    image, place = (pixels.rivals != z.shape[1]).nonzero(as_tuple=True)
    out.index_put_((image, pixels.rivals[image, place].long(), place), of_top[image, place], accumulate=True)


def arg_max(logits: Tensor) -> Tensor:
    """``(B, H, W)`` int64: the place of the greatest of ``logits`` ``(B, C, H, W)``, the first of equals."""
    return of_tiles(lambda z: _place(z, z.amax(dim=1)), logits)


def _place(z: Tensor, top: Tensor) -> Tensor:
    """``(B, T)`` int64: the first class whose logit in ``z`` ``(B, C, T)`` is ``top`` ``(B, T)``, the greatest."""
    base = 1 << z.shape[1].bit_length()
    code, is_top = torch.zeros_like(top), torch.empty_like(top)
    for number, scores in enumerate(z.unbind(1)):
        code.add_(torch.sub(scores, top, out=is_top).ge_(0), alpha=base + number)
    places = code.long() - base
    image, place = ((places < 0) | (places >= base)).nonzero(as_tuple=True)  # several are equal, or one is not finite
    if len(image):
        places[image, place] = z[image, :, place].max(dim=1).indices
    return places


KERNEL = TiledKernel(scan, weigh, descend)
