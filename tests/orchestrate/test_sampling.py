"""TPE on the trials that matter: as good as on all of them, and the same while there are few."""

from typing import Any

from optuna import Study, create_study, logging
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from neuroiou_study.orchestrate.sampling import NUM_BEST, NUM_LATEST, BoundedTPESampler, worth_modelling


def filled(sampler: TPESampler, values: list[tuple[float, float]]) -> Study:
    """A study in which ``x`` has had a score, for each (x, score)."""
    logging.set_verbosity(logging.WARNING)
    study = create_study(direction="maximize", sampler=sampler)
    for x, score in values:
        study.add_trial(create_trial(params={"x": x}, distributions={"x": FloatDistribution(0, 1)}, value=score))
    return study


def drawn(study: Study, number: int = 20) -> list[float]:
    return [study.ask().suggest_float("x", 0, 1) for _ in range(number)]


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_few_trials_are_modelled_as_optuna_does() -> None:
    values = [(each / 100, -abs(each / 100 - 0.3)) for each in range(100)]
    ours, optunas = (filled(kind(seed=1), values) for kind in (BoundedTPESampler, TPESampler))
    assert drawn(ours) == drawn(optunas)


def test_the_latest_trials_and_the_best_and_running_of_the_earlier_are_kept_in_order() -> None:
    scores = [each * 37 % 101 for each in range(100)] + [0] * NUM_LATEST
    trials = filled(TPESampler(), [(0.5, score) for score in scores]).trials
    trials[3].state, trials[4].state, trials[5].state = TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL
    kept = numbers(worth_modelling(trials))
    best = sorted(set(range(100)) - {3, 4, 5}, key=lambda number: -scores[number])[:NUM_BEST]
    assert kept == sorted([*best, 3]) + list(range(100, 100 + NUM_LATEST))
    assert worth_modelling(trials[100:]) == trials[100:]


class Watched(TPESampler):
    """Remembers which trials it was given as good, and how many as the others."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.seen: list[list[int]] = []

    def _build_parzen_estimator(self, study: Study, space: Any, trials: list[FrozenTrial], handle_below: bool) -> Any:
        self.seen.append(numbers(trials))
        return super()._build_parzen_estimator(study, space, trials, handle_below)


class WatchedAndBounded(BoundedTPESampler, Watched):
    """The same of ours."""


def test_the_good_trials_are_those_of_all_and_the_others_the_latest() -> None:
    values = [(each / 2000, float(each * 37 % 1009)) for each in range(2000)]
    ours, optunas = (filled(kind(seed=0), values) for kind in (WatchedAndBounded, Watched))
    for study in (ours, optunas):
        drawn(study, 2)
    assert isinstance(ours.sampler, Watched) and isinstance(optunas.sampler, Watched)
    for (good, others), (expected, _) in zip(pairs(ours.sampler.seen), pairs(optunas.sampler.seen), strict=True):
        assert good == expected and len(good) == NUM_BEST
        assert len(others) <= NUM_LATEST + NUM_BEST
    assert 2000 in others  # the first of the two drawn, which runs


def pairs(seen: list[list[int]]) -> list[tuple[list[int], list[int]]]:
    return list(zip(seen[::2], seen[1::2], strict=True))
