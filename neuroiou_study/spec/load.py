"""From a YAML file to a StudySpec that is known to be right, or to an error that says what to change."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

from pydantic import ValidationError

from neuroiou_study.spec.document import SpecError, load_document
from neuroiou_study.spec.explain import rule, unknown_key
from neuroiou_study.spec.ranges import Scalar
from neuroiou_study.spec.study import StudySpec
from neuroiou_study.spec.trial import TrialSpec

MAX_PAIRS = 20_000
"""Pairs of values of two ranges that are tried when a file is loaded, in seconds; *assumed*: ours have some hundred."""


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> StudySpec:
    """The study in the file at ``path`` with ``key=value`` overrides applied.

    Raises SpecError if the file cannot be read, a key or value is wrong, or an end of a range would make a wrong
    trial.
    """
    study = load_document(path, overrides, StudySpec)
    _require_valid_ranges(study, f"{path}: search")
    _require_valid_variants(study, f"{path}: variants")
    return study


def _require_valid_ranges(study: StudySpec, where: str) -> None:
    """Put every corner of every range, and of every two ranges together, into a trial."""
    num_corners = [len(bounds.corners) for bounds in study.search.values()]
    num_pairs = sum(one * other for one, other in combinations(num_corners, 2))
    if num_pairs > MAX_PAIRS:
        rule = f"at most {MAX_PAIRS}, each of which must make a trial: shorten the choices"
        raise SpecError(f"{where}: {num_pairs} pairs of values: {rule}")
    for names in [*combinations(study.search, 1), *combinations(study.search, 2)]:
        for corners in product(*(study.search[name].corners for name in names)):
            _require_valid(study, dict(zip(names, corners, strict=True)), where)


def _require_valid_variants(study: StudySpec, where: str) -> None:
    """Every variant must make a trial, also with every corner of each range that is left to it."""
    for arm, values in study.variants.items():
        _require_valid(study, values, f"{where}.{arm}")
        for name, bounds in study.ranges(arm).items():
            for corner in bounds.corners:
                _require_valid(study, {**values, name: corner}, f"{where}.{arm}")


def _require_valid(study: StudySpec, values: Mapping[str, Scalar], where: str) -> None:
    try:
        study.sample(values)
    except KeyError as error:
        name = error.args[0]
        raise SpecError(f"{where}.{name}: {unknown_key(name.split('.'), TrialSpec)}") from None
    except ValidationError as error:
        detail = error.errors()[0]
        if detail["type"] == "extra_forbidden":
            name = next(name for name in values if name.split(".")[-1] == detail["loc"][-1])
            raise SpecError(f"{where}.{name}: {unknown_key(name.split('.'), TrialSpec)}") from error
        given = " with ".join(f"{name}: {value!r}" for name, value in values.items())
        raise SpecError(f"{where}.{given}: {rule(detail)}") from error
