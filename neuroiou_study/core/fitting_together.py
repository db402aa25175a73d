"""Fitting many surrogates of mixed shapes to one D together, which takes a fraction of the time of one after another.

Usage::

    fits = fit_together(rows, [(SurrogateConfig(depth=2), FitSettings()), (SurrogateConfig(width=16), FitSettings())])

The mathematics of each is that of :func:`~neuroiou_study.core.fitting.fit_surrogate`: the same split, start, order of
the rows, steps and stopping. Sums are added in another order, so that late weights differ as they do between machines.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from neuroiou_study.core.fitting import (
    DivergedError,
    Fit,
    FitSettings,
    Rows,
    fit_surrogate,
    require_images,
    split_by_image,
    start_surrogate,
)
from neuroiou_study.core.stacked_descent import Best, Descent
from neuroiou_study.core.stacked_rows import View, stacked_rows
from neuroiou_study.core.surrogate import Surrogate, SurrogateConfig

MAX_PADDING = 1.4
"""How much wider than its own a surrogate may be computed, to be in a stack with others; *measured*."""

NARROW = 16
"""Width up to which all are in one stack: the number of operations counts there, not their size; *measured*."""
MAX_LAYER = 52_000
"""Numbers in a layer of a stack (surrogates × rows of a step × width), so that a core's cache holds it; *measured*."""

Wanted = tuple[SurrogateConfig, FitSettings]


class FitFailed(NamedTuple):
    """A surrogate that could not be fitted, in words; the others of a group are not touched by it."""

    reason: str


def fit_together(rows: Rows, wanted: Sequence[Wanted]) -> list[Fit | FitFailed]:
    """What :func:`fit_surrogate` returns for each of ``wanted``, in order. A monotone surrogate is fitted alone.

    Raises ValueError if ``rows`` has fewer than two images.
    """
    fits = dict(fits_as_they_end(rows, wanted))
    return [fits[number] for number in range(len(wanted))]


def fits_as_they_end(rows: Rows, wanted: Sequence[Wanted]) -> Iterator[tuple[int, Fit | FitFailed]]:
    """Which of ``wanted`` has been fitted, and the fit: those of one group after those of another."""
    require_images(rows)
    for group in _groups(wanted):
        yield from zip(group, _fit_group(rows, [wanted[number] for number in group]), strict=True)


def _groups(wanted: Sequence[Wanted]) -> Iterator[list[int]]:
    """Which of ``wanted`` are fitted together: the members of each group, the deepest first."""
    alike: dict[object, list[int]] = defaultdict(list)
    for number, (config, settings) in enumerate(wanted):
        alike[(number,) if config.monotone else _key(config, settings)].append(number)
    for numbers in alike.values():
        for group in _of_like_width(wanted, sorted(numbers, key=lambda number: -wanted[number][0].width)):
            yield from _of_bounded_size(wanted, group)


def _key(config: SurrogateConfig, settings: FitSettings) -> object:
    """What surrogates must have in common: the rows of each step, and the form of the computation."""
    steps = (settings.seed, settings.held_out_fraction, settings.batch_size)
    return (*steps, config.activation, settings.flip_gain_weight > 0)


def _of_like_width(wanted: Sequence[Wanted], widest_first: Sequence[int]) -> Iterator[list[int]]:
    group: list[int] = []
    for number in widest_first:
        if group and wanted[group[0]][0].width > max(NARROW, MAX_PADDING * wanted[number][0].width):
            yield group
            group = []
        group.append(number)
    yield group


def _of_bounded_size(wanted: Sequence[Wanted], widest_first: Sequence[int]) -> Iterator[list[int]]:
    """Parts of like depth and about equal size, so that few networks wait for deeper ones."""
    config, settings = wanted[widest_first[0]]
    most = max(1, MAX_LAYER // (config.width * settings.batch_size))
    num_parts = -(-len(widest_first) // most)
    deepest_first = sorted(widest_first, key=lambda number: -wanted[number][0].depth)
    for part in torch.tensor(deepest_first).tensor_split(num_parts):
        yield part.tolist()


def _fit_group(rows: Rows, group: Sequence[Wanted]) -> list[Fit | FitFailed]:
    if any(config.monotone for config, _ in group):
        return [_fit_alone(rows, *each) for each in group]
    settings = [each for _, each in group]
    order = torch.Generator().manual_seed(settings[0].seed)
    seen, held_out = split_by_image(rows, settings[0].held_out_fraction, order)
    members = [start_surrogate(config, each.seed, seen) for config, each in group]
    views, index = _views(members, settings)
    descent = Descent(members, settings, index)
    with_gains = settings[0].flip_gain_weight > 0
    seen_rows, held_out_rows = (stacked_rows(each, views, with_gains=with_gains) for each in (seen, held_out))
    descent.run(seen_rows, held_out_rows, order)
    return [
        _result(member, held_out, best, each)
        for member, best, each in zip(members, descent.best, settings, strict=True)
    ]


def _fit_alone(rows: Rows, config: SurrogateConfig, settings: FitSettings) -> Fit | FitFailed:
    try:
        return fit_surrogate(rows, config, settings)
    except DivergedError as error:
        return FitFailed(str(error))


def _views(members: Sequence[Surrogate], settings: Sequence[FitSettings]) -> tuple[list[View], torch.Tensor]:
    """The different views of the rows, and which of them each member has."""
    keys = [(member.config.inputs, each.gains) for member, each in zip(members, settings, strict=True)]
    different = list(dict.fromkeys(keys))
    views = [(members[keys.index(key)], key[1]) for key in different]
    return views, torch.tensor([different.index(key) for key in keys])


def _result(surrogate: Surrogate, held_out: Rows, best: Best, settings: FitSettings) -> Fit | FitFailed:
    if best.epoch == 0:
        return FitFailed(str(DivergedError(settings.lr)))
    return Fit(surrogate, held_out, best.epoch, best.error)
