"""The trials of a screened arm: the surrogates that were sent, in turns; other ranges are left to the sampler."""

import optuna
from optuna.trial import TrialState

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.draw import own_values
from neuroiou_study.stages.screen import find_screening
from neuroiou_study.stages.store import Store


def enqueue_screened(study: StudySpec, store: Store, arm: str, optuna_study: optuna.Study) -> None:
    """Let the arm's next trial have the next of the surrogates that were sent; call it before each ask.

    The first trial has the study file's own values in the other ranges. Does nothing for an arm that is not screened,
    nor where a dead driver had enqueued the next trial already. Raises RuntimeError if the arm is not screened yet.
    """
    if arm not in study.screened_arms or optuna_study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        return
    screening = find_screening(study, arm, store)
    if screening is None:
        rule = "its trials need the screening: run the study again"
        raise RuntimeError(f"{arm}: not screened in {store.address}: {rule}")
    sent, number = screening.sent(study), len(optuna_study.get_trials(deepcopy=False))
    fixed = sent[number % len(sent)]
    if number == 0:
        others = {name: bounds for name, bounds in study.ranges(arm).items() if name not in fixed}
        own = own_values(study, arm, others)
        fixed = {**{name: value for name, value in own.items() if others[name].contains(value)}, **fixed}
    optuna_study.enqueue_trial(fixed)
