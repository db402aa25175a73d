"""Fitting many surrogates of mixed shapes to one D together, which takes a fraction of the time of one after another.

Usage::

    fits = fit_together(rows, [(SurrogateConfig(depth=2), FitSettings()), (SurrogateConfig(width=16), FitSettings())])

The mathematics of each is that of :func:`~neuroiou_study.core.fitting.fit_surrogate`: the same split, start, order of
the rows, steps and stopping. Sums are added in another order, so that late weights differ as they do between machines.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
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
"""How much wider than its own a surrogate may be computed, to be in a stack with others; *assumed*."""

NARROW = 16
"""Width up to which all are in one stack: the number of operations counts there, not their size; *measured*."""
MAX_LAYER = 104_000
"""Numbers in a layer of a stack (surrogates × rows of a step × width), which bounds the memory. *Measured*: a
quarter of it takes a third longer."""

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
    """Which of ``wanted`` has been fitted, and the fit: those of a group together, the groups as they end.

    Groups are fitted at the same time, each on one of the threads that torch may use: their operations are too small to
    be worth two. So torch has one thread for anything else meanwhile.
    """
    require_images(rows)
    alone, together = _groups(wanted)
    descents = [(group, _Group(rows, [wanted[number] for number in group])) for group in together]
    with _one_thread_each() as pool:
        fits = {pool.submit(each.fit): group for group, each in descents}
        for done in as_completed(fits):
            yield from zip(fits[done], done.result(), strict=True)
    for number in alone:
        yield number, _fit_alone(rows, *wanted[number])


@contextlib.contextmanager
def _one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch may use, each of which computes alone."""
    number = torch.get_num_threads()
    pool = ThreadPoolExecutor(number, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(number)


def _groups(wanted: Sequence[Wanted]) -> tuple[list[int], list[list[int]]]:
    """Which of ``wanted`` are fitted alone, and which together: the deepest first, the widest group first."""
    alone = [number for number, (config, _) in enumerate(wanted) if config.monotone]
    alike: dict[object, list[int]] = defaultdict(list)
    for number in sorted(set(range(len(wanted))) - set(alone), key=lambda number: -wanted[number][0].width):
        alike[_key(*wanted[number])].append(number)
    of_like_width = [group for numbers in alike.values() for group in _of_like_width(wanted, numbers)]
    groups = [part for group in of_like_width for part in _of_bounded_size(wanted, group)]
    return alone, sorted(groups, key=lambda group: -wanted[group[0]][0].width)


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


class _Group:
    """The members of a group at their start, which takes random numbers that threads would share; then their fit."""

    def __init__(self, rows: Rows, group: Sequence[Wanted]) -> None:
        self._settings = [each for _, each in group]
        self._order = torch.Generator().manual_seed(self._settings[0].seed)
        self._seen, self._held_out = split_by_image(rows, self._settings[0].held_out_fraction, self._order)
        self._members = [start_surrogate(config, each.seed, self._seen) for config, each in group]

    def fit(self) -> list[Fit | FitFailed]:
        """The members' fits, in order."""
        views, index = _views(self._members, self._settings)
        descent = Descent(self._members, self._settings, index)
        with_gains = self._settings[0].flip_gain_weight > 0
        seen, held_out = (stacked_rows(each, views, with_gains=with_gains) for each in (self._seen, self._held_out))
        descent.run(seen, held_out, self._order)
        ends = zip(self._members, descent.best, self._settings, strict=True)
        return [_result(member, self._held_out, best, each) for member, best, each in ends]


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
