"""Is one network really better than another? A paired bootstrap over images and seeds, and Holm's correction.

Two arms are compared on the same images and the same seeds: what makes an image or a seed easy for both cancels. Images
are drawn with replacement. Seeds answer for the next training, not only for these networks; they are far too few to be
drawn (three seeds agree in sign by chance in a quarter of all cases), so what a draw of seeds adds comes from Student's
t with the spread that the seeds' differences show.
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
    """R draws: how often each of N images was drawn, and the error of a mean over S seeds in standard errors."""

    images: Tensor  # (R, N) float64
    seeds: Tensor  # (R,) float64, Student's t with S - 1 degrees of freedom; 0 for a single seed, which shows no spread


def draw(num_seeds: int, num_images: int, *, resamples: int, images_per_block: int = 1, seed: int = 0) -> Draws:
    """``resamples`` draws. ``images_per_block`` neighbours are drawn together: frames of a film resemble each other."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.arange(num_images) // images_per_block
    blocks = _times_drawn(int(block[-1]) + 1, resamples, generator)
    return Draws(blocks[:, block], _students_t(num_seeds - 1, resamples, generator))


def _students_t(freedom: int, number: int, generator: torch.Generator) -> Tensor:
    if freedom < 1:
        return torch.zeros(number, dtype=torch.float64)
    normal = torch.randn(number, freedom + 1, generator=generator, dtype=torch.float64)
    return normal[:, 0] / normal[:, 1:].square().mean(1).sqrt()


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
    """``(R, S, 2 + C)`` scores of each draw of images, for each seed; ``counts`` ``(S, N, C, 3)``."""
    pooled = torch.einsum("rn,snck->rsck", draws.images, counts.double())
    return scores(pooled, background=background)


def mean_scores(counts: Tensor, *, background: int | None = None) -> Tensor:
    """``(2 + C,)`` scores of all images, averaged over seeds; ``counts`` ``(S, N, C, 3)``."""
    return scores(counts.sum(1), background=background).nanmean(0)


@dataclass(frozen=True)
class Scored:
    """An arm's scores on all images and on each draw of images."""

    per_seed: Tensor  # (S, 2 + C)
    resampled: Tensor  # (R, S, 2 + C)


def scored(counts: Tensor, draws: Draws, *, background: int | None = None) -> Scored:
    """The scores of an arm's ``counts`` ``(S, N, C, 3)``; every comparison of the arm uses them."""
    return Scored(scores(counts.sum(1), background=background), resampled_scores(counts, draws, background=background))


def differences(
    ours: Tensor, theirs: Tensor, draws: Draws, *, background: int | None = None, confidence: float = 0.95
) -> list[Difference]:
    """How much better ``ours`` is than ``theirs``, both counts ``(S, N, C, 3)`` of the same seeds and images.

    In the order of :func:`scores`. Percentile intervals. A score that neither has is NaN throughout.
    """
    a, b = (scored(counts, draws, background=background) for counts in (ours, theirs))
    return differences_of(a, b, draws, confidence=confidence)


def differences_of(ours: Scored, theirs: Scored, draws: Draws, *, confidence: float = 0.95) -> list[Difference]:
    """:func:`differences` of arms that have been scored on the same ``draws``."""
    per_seed = ours.per_seed - theirs.per_seed
    drawn = (ours.resampled - theirs.resampled).nanmean(1) + draws.seeds.unsqueeze(1) * _standard_error(per_seed)
    observed = per_seed.nanmean(0)
    return [_difference(float(value), each, confidence) for value, each in zip(observed, drawn.T, strict=True)]


def _standard_error(per_seed: Tensor) -> Tensor:
    """``(M,)`` standard error of the mean of ``per_seed`` ``(S, M)`` over the seeds that have a value; 0 for one."""
    number = (~per_seed.isnan()).sum(0)
    deviations = (per_seed - per_seed.nanmean(0)).square().nansum(0)
    return (deviations / (number - 1).clamp(min=1) / number.clamp(min=1)).sqrt()


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
