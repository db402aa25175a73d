"""Many surrogates fitted together over one after another: the time, and that the surrogates are as good.

The rows are those of a made-up network that is like a trained one: images with blobs of eleven classes, the first a
hundred times as frequent as the last, and smooth logits of which a part is wrong; one class is dead.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.counts import probability_statistics
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import Fit, FitSettings, Rows, fit_surrogate, make_rows
from neuroiou_study.core.fitting_together import Wanted, fit_together
from neuroiou_study.core.surrogate import SurrogateConfig
from tests.benchmarks.figures import Figure

NUM_CLASSES = 11
SIZE = (60, 80)
DEPTHS, WIDTHS = (2, 3, 4, 6), (16, 32, 64, 100)
RATES = ((1e-3, 1.0), (3e-3, 1.0), (3e-3, 0.1), (1e-2, 1.0))


def measure(quick: bool) -> Iterator[Figure]:
    """Figures for the paper's objective and for learned gains."""
    torch.set_num_threads(os.cpu_count() or 1)
    rows = made_rows(60 if quick else 120)
    for weight in (0.0, 1.0):
        yield from _measure(rows, weight, quick)


def mixed(weight: float, epochs: int) -> list[Wanted]:
    """64 surrogates: four depths × four widths × four pairs of learning rate and weight decay."""
    return [
        (
            SurrogateConfig(depth=depth, width=width),
            FitSettings(epochs=epochs, lr=lr, weight_decay=decay, flip_gain_weight=weight),
        )
        for depth, width, (lr, decay) in product(DEPTHS, WIDTHS, RATES)
    ]


def made_rows(num_images: int, seed: int = 0) -> Rows:
    """The rows of ``num_images`` images of :data:`NUM_CLASSES` classes."""
    generator = torch.Generator().manual_seed(seed)
    statistics = probability_statistics(*_outputs(num_images, generator), reading="complement", ignore_index=255)
    return make_rows(*statistics, generator=generator)


def _outputs(num_images: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Logits ``(B, C, H, W)`` and labels ``(B, H, W)``."""
    frequency = torch.logspace(0, -2, NUM_CLASSES)[:, None, None]
    labels = (_smooth_noise(num_images, generator) * 1.5 + frequency.log() * 0.5).argmax(1)
    quality = 1.5 + 1.5 * torch.rand(num_images, 1, 1, 1, generator=generator)
    seen = F.one_hot(labels, NUM_CLASSES).permute(0, 3, 1, 2) * (quality * frequency**0.1)
    seen[:, -1] = -3.0
    return seen + 1.2 * _smooth_noise(num_images, generator), labels


def _smooth_noise(num_images: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(num_images, NUM_CLASSES, SIZE[0] // 10, SIZE[1] // 10, generator=generator)
    return F.interpolate(coarse, SIZE, mode="bicubic")


def _measure(rows: Rows, weight: float, quick: bool) -> Iterator[Figure]:
    # A fit's time is that of its epochs, of which the quick mode has fewer.
    wanted = mixed(weight, epochs=16 if quick else 200)
    sample = range(0, len(wanted), 9)  # each depth, width and pair of rates twice
    fit_together(rows, wanted[::16])  # what a first call loads is not the fits' time
    turn = _turn(rows, wanted, sample)
    case = f"64 mixed, {len(rows)} rows, flip gain weight {weight:g}"
    faster = turn.seconds_alone / turn.seconds_together
    yield Figure(case, f"faster than alone ({len(sample)} measured)", faster, at_least=8)
    yield Figure(case, "seconds together", turn.seconds_together, "s")
    yield from _quality(case, turn)


@dataclass(frozen=True)
class _Turn:
    """All surrogates fitted together, then a sample of them alone, whose time stands for all."""

    together: list[Fit]
    alone: list[Fit]
    seconds_together: float
    seconds_alone: float


def _turn(rows: Rows, wanted: Sequence[Wanted], sample: Sequence[int]) -> _Turn:
    begin = perf_counter()
    fits = fit_together(rows, wanted)
    between = perf_counter()
    alone = [fit_surrogate(rows, *wanted[number]) for number in sample]
    seconds_alone = (perf_counter() - between) * len(wanted) / len(sample)
    together = [fit for number in sample if isinstance(fit := fits[number], Fit)]
    return _Turn(together, alone, between - begin, seconds_alone)


def _quality(case: str, turn: _Turn) -> Iterator[Figure]:
    pairs = zip(turn.together, turn.alone, strict=True)
    ratios = [ours.held_out_error / theirs.held_out_error for ours, theirs in pairs]
    yield Figure(case, "held-out error over alone, median", median(ratios), at_most=1.02)
    signs = [[_least_sign(fit) for fit in fits] for fits in (turn.together, turn.alone)]
    yield Figure(case, "least sign agreement, median", median(signs[0]), "", at_least=median(signs[1]) - 0.01)


def _least_sign(fit: Fit) -> float:
    report = fidelity(fit.surrogate, fit.held_out)
    return min(value for name in ("sign_tp", "sign_fp", "sign_fn") if not math.isnan(value := report[name]))
