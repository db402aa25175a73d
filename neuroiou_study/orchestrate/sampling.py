"""What to try next, at a cost that does not grow: Optuna's TPE on the trials that matter to it.

Optuna models all trials of an arm for every new one, which takes 5 ms with a hundred of them and 70 with 5,000
(measured). It asks which values the best 25 trials have that the others have not, and weighs the others by their age.
So the best of all and the latest are enough, and with NUM_LATEST trials or fewer nothing differs.
"""

import heapq
from collections.abc import Container
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

NUM_LATEST = 500
"""*Assumed*: many times what a density in some ten dimensions needs."""
NUM_BEST = 25
"""As many as TPE calls good at most; *cited* (Optuna's ``default_gamma``)."""


class BoundedTPESampler(TPESampler):
    """Optuna's TPE over the best and the latest trials of an arm that is maximised."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Called once a trial, for the values that are drawn together."""
        return super().sample_relative(_Bounded(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Called for each other value."""
        return super().sample_independent(_Bounded(study), trial, param_name, param_distribution)


class _Bounded(Study):
    """A study of which only some trials are seen; Optuna's Hyperband hides trials in the same way."""

    def __init__(self, study: Study) -> None:
        self.__dict__.update(study.__dict__)
        # Optuna forgets this cache at each ``ask``, and nothing changes while it answers.
        self._worth_modelling = worth_modelling(study._get_trials(deepcopy=False, use_cache=True))

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [each for each in self._worth_modelling if states is None or each.state in states]


def worth_modelling(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The latest of ``trials``, and of the earlier ones the best and those that still run; in the same order."""
    earlier, latest = trials[:-NUM_LATEST], trials[-NUM_LATEST:]
    running = [each for each in earlier if each.state == TrialState.RUNNING]
    best = heapq.nlargest(NUM_BEST, (each for each in earlier if each.state == TrialState.COMPLETE), key=_value)
    return sorted(running + best, key=lambda trial: trial.number) + latest


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None  # Optuna calls no trial without one complete
    return trial.value
