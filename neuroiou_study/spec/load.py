"""From a YAML file to a StudySpec that is known to be right, or to an error that says what to change."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neuroiou_study.spec.explain import explain, rule, unknown_key
from neuroiou_study.spec.parse import MAX_BYTES, ParseError, parse
from neuroiou_study.spec.ranges import Scalar
from neuroiou_study.spec.study import StudySpec
from neuroiou_study.spec.trial import TrialSpec


class SpecError(ValueError):
    """A study file is wrong; the message has a line *where: value: rule: remedy* for each mistake."""


MAX_PAIRS = 20_000
"""Pairs of values of two ranges that are tried when a file is loaded, in seconds; *assumed*: ours have some hundred."""


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> StudySpec:
    """The study in the file at ``path`` with ``key=value`` overrides applied.

    Raises SpecError if the file cannot be read, a key or value is wrong, or an end of a range would make a wrong
    trial.
    """
    document = _read(Path(path))
    for override in overrides:
        _override(document, override)
    try:
        study = StudySpec.model_validate(document)
    except ValidationError as error:
        lines = explain(error, document, StudySpec)
        raise SpecError("\n".join(f"{path}: {line}" for line in lines)) from error
    _require_valid_ranges(study, f"{path}: search")
    _require_valid_variants(study, f"{path}: variants")
    return study


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ParseError(f"more than {MAX_BYTES} bytes")
        document = parse(content.decode("utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}: must be a readable study file: check the path") from error
    except ValueError as error:
        raise SpecError(f"{path}: {' '.join(str(error).split())}: must be YAML in UTF-8: correct that place") from error
    if not isinstance(document, dict):
        raise SpecError(f"{path}: {type(document).__name__}: must be a mapping of keys: see search_spaces/")
    return document


def _override(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SpecError(f"--set {override}: must be key=value: write for example finetune.lr=1e-3")
    # The names of ranges have dots of their own.
    parts = key.split(".", 1 if key.startswith("search.") else -1)
    try:
        _put(document, parts, parse(text))
    except (ValueError, TypeError) as error:
        raise SpecError(f"--set {override}: must name a field and give it a YAML value: correct it") from error


def _put(document: dict[str, Any], parts: Sequence[str], value: object) -> None:
    """Set the field at ``parts``, creating parents that are missing or empty."""
    *parents, last = parts
    for parent in parents:
        if document.get(parent) is None:
            document[parent] = {}
        document = document[parent]
        if not isinstance(document, dict):
            raise TypeError(parent)
    document[last] = value


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
