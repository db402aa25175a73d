"""What a surrogate sees: its input set, computed from the statistics of a row (one image and class, or one class).

Four input sets: ``prob3`` (the three probability sums; the paper's NeuroIoU-3), ``prob6`` (sums and means; NeuroIoU-6),
``hinge3`` (the three hinge sums; NeuroIoU-Hinge) and ``hinge6``.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from neuroiou_study.core.counts import Reading, Statistics, hinge_statistics, probability_statistics

InputSet = Literal["prob3", "prob6", "hinge3", "hinge6"]
Scale = Literal["raw", "pixels", "union", "self", "log"]
MeansGradient = Literal["detached", "full"]


@dataclass(frozen=True)
class Inputs:
    """An input set with its reading of the paper. The defaults are the ones that fine-tune best (``docs/science.md``).

    ``means_gradient="detached"`` differentiates by the three sums alone, as the paper's eq. 5 does; ``full`` lets six
    inputs cancel each other, and the loss harms.
    """

    name: InputSet = "prob3"
    reading: Reading = "complement"
    scale: Scale = "union"
    means_gradient: MeansGradient = "detached"

    def __post_init__(self) -> None:
        for field, allowed in _ALLOWED.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field}: {getattr(self, field)!r}: one of {', '.join(allowed)}: choose one")

    @property
    def uses_hinge(self) -> bool:
        return self.name.startswith("hinge")

    @property
    def has_means(self) -> bool:
        return self.name.endswith("6")

    @property
    def num_features(self) -> int:
        return 6 if self.has_means else 3

    @property
    def right_signs(self) -> tuple[int, int, int]:
        """The sign that the loss's derivative by the TP, FP and FN sum must have for a step to help."""
        if self.uses_hinge:
            return (1, 1, 1)
        return (-1, 1, -1) if self.reading == "class" else (-1, 1, 1)

    def statistics(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Statistics:
        """Counts and sums ``(B, C, 3)`` of ``logits`` ``(B, C, H, W)`` against ``labels`` ``(B, H, W)``."""
        if self.uses_hinge:
            return hinge_statistics(logits, labels, ignore_index=ignore_index)
        return probability_statistics(logits, labels, reading=self.reading, ignore_index=ignore_index)

    def features(self, counts: Tensor, sums: Tensor, num_pixels: Tensor) -> Tensor:
        """``(M, 3 | 6)`` features of M rows: ``counts`` and ``sums`` ``(M, 3)``, valid pixels ``(M,)``."""
        scaled = self._scaled(counts, sums, num_pixels)
        if not self.has_means:
            return scaled
        means = sums / counts.clamp(min=1)
        return torch.cat([scaled, means.detach() if self.means_gradient == "detached" else means], dim=-1)

    def _scaled(self, counts: Tensor, sums: Tensor, num_pixels: Tensor) -> Tensor:
        match self.scale:
            case "raw":
                return sums
            case "pixels":
                return sums / num_pixels.clamp(min=1).unsqueeze(-1)
            case "union":
                return sums / counts.sum(-1, keepdim=True).clamp(min=1)
            case "self":
                return sums / sums.sum(-1, keepdim=True).clamp(min=1e-12)
            case "log":
                return sums.log1p()


_ALLOWED = {
    "name": get_args(InputSet),
    "reading": get_args(Reading),
    "scale": get_args(Scale),
    "means_gradient": get_args(MeansGradient),
}
