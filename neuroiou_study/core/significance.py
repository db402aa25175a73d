"""Is one network really better than another? A paired bootstrap over images and seeds, and Holm's correction.

Two arms are compared on the same images and the same seeds, so both are drawn together: what makes an image or a seed
easy for both cancels. Drawing seeds too answers for the next training, not only for these networks. With few seeds the
interval is a little too narrow: S seeds show (S - 1) / S of their variance.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from neuroiou_study.core.metrics import iou


@dataclass(frozen=True)
class Difference:
    """How much higher a score is than another: the observed value, its interval, and a two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Draws:
    """R draws with replacement from S seeds and N images, as how often each was drawn."""

    seeds: Tensor  # (R, S) float64
    images: Tensor  # (R, N) float64


def draw(num_seeds: int, num_images: int, *, resamples: int, images_per_block: int = 1, seed: int = 0) -> Draws:
    """``resamples`` draws. ``images_per_block`` neighbours are drawn together: frames of a film resemble each other."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.arange(num_images) // images_per_block
    blocks = _times_drawn(int(block[-1]) + 1, resamples, generator)
    return Draws(_times_drawn(num_seeds, resamples, generator), blocks[:, block])


def _times_drawn(number: int, resamples: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(number, (resamples, number), generator=generator)
    return torch.zeros(resamples, number, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(1).double().expand_as(drawn)
    )


def scores(counts: Tensor, *, background: int | None = None) -> Tensor:
    """``(..., 2 + C)`` mean IoU, mean IoU without ``background``, IoU of each class; of ``counts`` ``(..., C, 3)``."""
    per_class = iou(counts)
    foreground = [index for index in range(counts.shape[-2]) if index != background]
    means = [per_class.nanmean(-1, keepdim=True), per_class[..., foreground].nanmean(-1, keepdim=True)]
    return torch.cat([*means, per_class], dim=-1)


def resampled_scores(counts: Tensor, draws: Draws, *, background: int | None = None) -> Tensor:
    """``(R, 2 + C)`` scores of each draw, averaged over its seeds; ``counts`` ``(S, N, C, 3)`` of S seeds, N images."""
    pooled = torch.einsum("rn,snck->rsck", draws.images, counts.double())
    each = scores(pooled, background=background)
    weights = draws.seeds.unsqueeze(-1) * ~each.isnan()
    return (each.nan_to_num() * weights).sum(1) / weights.sum(1)


def mean_scores(counts: Tensor, *, background: int | None = None) -> Tensor:
    """``(2 + C,)`` scores of all images, averaged over seeds; ``counts`` ``(S, N, C, 3)``."""
    return scores(counts.sum(1), background=background).nanmean(0)


def differences(
    ours: Tensor, theirs: Tensor, draws: Draws, *, background: int | None = None, confidence: float = 0.95
) -> list[Difference]:
    """How much better ``ours`` is than ``theirs``, both counts ``(S, N, C, 3)`` of the same seeds and images.

    In the order of :func:`scores`. Percentile intervals. A score that neither has is NaN throughout.
    """
    observed = mean_scores(ours, background=background) - mean_scores(theirs, background=background)
    resampled = resampled_scores(ours, draws, background=background)
    resampled = resampled - resampled_scores(theirs, draws, background=background)
    return [_difference(float(value), drawn, confidence) for value, drawn in zip(observed, resampled.T, strict=True)]


def _difference(value: float, drawn: Tensor, confidence: float) -> Difference:
    drawn = drawn[~drawn.isnan()]
    if value != value or not len(drawn):
        return Difference(value, float("nan"), float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = torch.quantile(drawn, torch.tensor([tail, 1 - tail], dtype=drawn.dtype)).tolist()
    smaller_tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Difference(value, low, high, min(1.0, 2 * (smaller_tail + 1) / (len(drawn) + 1)))


Key = TypeVar("Key", bound=Hashable)


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """The p-values of a family of comparisons, corrected for their number (Holm 1979); NaN stays and does not count."""
    known = sorted((key for key, p in p_values.items() if p == p), key=lambda key: p_values[key])
    corrected, least = dict(p_values), 0.0
    for rank, key in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p_values[key]))
        corrected[key] = least
    return corrected
