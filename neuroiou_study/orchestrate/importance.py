"""Which of the searched values mattered: Optuna's importance, from the records of a study."""

from collections.abc import Sequence

import optuna
from optuna.storages import InMemoryStorage

from neuroiou_study.orchestrate.arm import open_arm
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import TrialRecord

MIN_TRIALS = 8
"""Fewer complete trials say nothing; *assumed*."""


def importances(study: StudySpec, records: Sequence[TrialRecord]) -> dict[str, dict[str, float]]:
    """Arm → searched name → the share of the scores' variance that it explains, the greatest first.

    fANOVA of the complete trials (Hutter et al. 2014), the same each time. Arms with fewer than two ranges or than
    MIN_TRIALS complete trials, or with equal scores, are left out.
    """
    found = {arm: _of_arm(study, arm, [r for r in records if r.assignment.arm == arm]) for arm in study.arms}
    return {arm: each for arm, each in found.items() if each}


def _of_arm(study: StudySpec, arm: str, records: Sequence[TrialRecord]) -> dict[str, float]:
    complete = [record for record in records if record.state == "complete" and record.score is not None]
    if len(study.ranges(arm)) < 2 or len(complete) < MIN_TRIALS or len({record.score for record in complete}) < 2:
        return {}
    # It brings scikit-learn, which takes a second to import: most studies are looked at before they have enough trials.
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would say that a study was made
    made = open_arm(study, arm, InMemoryStorage(), complete, ())
    return get_param_importances(made.study, evaluator=FanovaImportanceEvaluator(seed=0))
