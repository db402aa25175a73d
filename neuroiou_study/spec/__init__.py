"""What a study file may say, validated once at the door."""

from neuroiou_study.spec.document import SpecError
from neuroiou_study.spec.load import load_study
from neuroiou_study.spec.ranges import ChoiceRange, FloatRange, IntRange, Range, Scalar
from neuroiou_study.spec.study import SURROGATE_ARM, StudySpec
from neuroiou_study.spec.trial import TrialSpec

__all__ = [
    "SURROGATE_ARM",
    "ChoiceRange",
    "FloatRange",
    "IntRange",
    "Range",
    "Scalar",
    "SpecError",
    "StudySpec",
    "TrialSpec",
    "load_study",
]
