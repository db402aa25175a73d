"""The losses that are written down, not learned; :mod:`neuroiou_study.core.lovasz` has one more."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroiou_study.core.counts import at_least_float32, loss_type, membership
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.gains import Gains, right_gains
from neuroiou_study.core.metrics import iou_loss
from neuroiou_study.core.reduction import RowLoss, SegmentationLoss


class CrossEntropyLoss(SegmentationLoss):
    """Softmax cross-entropy, averaged over valid pixels; with ``class_weights`` ``(C,)`` a weighted average.

    The weighted form divides by the sum of the pixels' weights, as ``torch.nn.CrossEntropyLoss`` does.
    """

    class_weights: Tensor | None

    def __init__(self, ignore_index: int = 255, class_weights: Sequence[float] | Tensor | None = None) -> None:
        super().__init__(ignore_index)
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        total = F.cross_entropy(logits, labels, weight=weights, ignore_index=self.ignore_index, reduction="sum")
        return self.reduced(total, self._weight(labels, weights), len(labels))

    def _weight(self, labels: Tensor, weights: Tensor | None) -> Tensor:
        valid = labels != self.ignore_index
        return valid.sum() if weights is None else weights[labels[valid]].sum()


class SoftIoULoss(RowLoss):
    """1 - Σ p·y / Σ (p + y - p·y) per class: IoU-Appx of Rahman and Wang (2016), the paper's handcrafted rival.

    Averaged over the classes present in the labels of each image, or of the batch (``aggregate``).
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        probs = logits.softmax(dim=1) * (labels != self.ignore_index).unsqueeze(1)
        num_classes = logits.shape[1]
        own = membership(labels, labels, num_classes, self.ignore_index)
        size = _per_class(own.own, torch.ones_like(labels, dtype=torch.float64), own.shape)
        at_label = probs.gather(1, torch.where(labels == self.ignore_index, 0, labels).unsqueeze(1)).squeeze(1)
        intersection = _per_class(own.own, at_label.double(), own.shape)
        # The union is P + Y - I; stated as soft TP, FP, FN it is the sum of the three.
        soft_fp = probs.sum(dim=(2, 3), dtype=torch.float64) - intersection
        sums = torch.stack([intersection, soft_fp, size - intersection], dim=-1)
        counts = torch.stack([size, torch.zeros_like(size), torch.zeros_like(size)], dim=-1)
        return self.mean_over_rows(counts, sums).to(logits.dtype)

    def row_losses(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor) -> Tensor:
        return 1 - sums[:, 0] / sums.sum(dim=-1)


class StatisticsLoss(RowLoss):
    """A loss of the sums that a surrogate sees: those of ``inputs``."""

    def __init__(self, ignore_index: int = 255, aggregate: str = "image", inputs: Inputs | None = None) -> None:
        super().__init__(ignore_index, aggregate)
        self.inputs = inputs or Inputs()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        statistics = self.inputs.statistics(logits, labels, self.ignore_index, self.kernel)
        return self.mean_over_rows(*statistics).to(loss_type(logits))


class ClosedFormLoss(StatisticsLoss):
    """(FP + FN) / (TP + FP + FN) of probability sums: the IoU loss with sums for counts, nothing learned."""

    def row_losses(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor) -> Tensor:
        return 1 - sums[:, 0] / sums.sum(dim=-1).clamp(min=1e-12)


class FlipLoss(StatisticsLoss):
    """The IoU loss itself, with the gain of moving one pixel between the sets as its derivative by the sums.

    Where no pixel of a class is right its IoU loss is flat in the counts, yet a flip gains 1 / U: this loss pulls
    there. What a surrogate with flip-gain supervision learns, unlearned; also of hinges and log losses (``inputs``),
    and with the gains of the whole way to a prediction without errors (``gains="path"``).
    """

    def __init__(
        self,
        ignore_index: int = 255,
        aggregate: str = "image",
        inputs: Inputs | None = None,
        gains: Gains = "step",
    ) -> None:
        super().__init__(ignore_index, aggregate, inputs)
        self.gains = gains

    def row_losses(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor) -> Tensor:
        gains = right_gains(counts, self.inputs.right_signs, self.gains)
        return iou_loss(counts) + (gains * (sums - sums.detach())).sum(dim=-1)


class MixedLoss(SegmentationLoss):
    """A weighted sum of losses, which must agree on what is void."""

    def __init__(self, weights: Mapping[SegmentationLoss, float]) -> None:
        void = {part.ignore_index for part in weights}
        if len(void) != 1:
            raise ValueError(f"weights: ignore_index of the parts {sorted(void)}: must be one: give all the same")
        super().__init__(void.pop())
        self.parts = nn.ModuleList(weights)
        self.weights = tuple(weights.values())

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        parts = [weight * part(logits, labels) for weight, part in zip(self.weights, self.parts, strict=True)]
        return torch.stack(parts).sum()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("sum_over_workers", "reduction", "kernel"):
            for part in getattr(self, "parts", ()):
                setattr(part, name, value)


def _per_class(bins: Tensor, values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """``(B, C)`` float64 sums of pixel ``values`` by image and label, from the TP bins of a membership."""
    total = torch.zeros(shape[0] * shape[1] * 3 + 1, dtype=torch.float64, device=values.device)
    return total.index_add(0, bins, values.flatten())[:-1].view(shape)[..., 0]


def median_frequency_weights(pixels_per_class: Tensor) -> Tensor:
    """``(C,)`` class weights median(f) / f; 1 for a class never seen (Eigen and Fergus 2015, as SegNet uses it).

    f is a class's share of all pixels, void ones too, of the training images that have it. ``pixels_per_class``
    ``(N, C + 1)``: pixels of each of N training images by class, void last.
    """
    pixels = pixels_per_class.double()
    present = (pixels > 0).double()
    frequency = (pixels.sum(dim=0) / (present * pixels.sum(dim=1, keepdim=True)).sum(dim=0))[:-1]
    return (frequency.nanquantile(0.5) / frequency).nan_to_num(nan=1.0).float()


def enet_weights(pixels_per_class: Tensor) -> Tensor:
    """``(C,)`` class weights 1 / ln(1.02 + f), f being a class's share of the valid pixels (Paszke et al. 2016).

    1.02 keeps them between 1 and 50 (*cited*). ``pixels_per_class`` ``(N, C + 1)`` as in
    :func:`median_frequency_weights`.
    """
    pixels = pixels_per_class[:, :-1].double().sum(dim=0)
    return (1 / (1.02 + pixels / pixels.sum().clamp(min=1)).log()).float()
