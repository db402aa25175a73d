"""What is wrong with a study file, in lines *where: value: rule: remedy*."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from neuroiou_study.spec.base import Spec
from neuroiou_study.spec.parse import printable

MAX_LINES = 20
"""Mistakes that are explained at a time; *assumed*: some are slow to explain, and nobody reads so many."""


def explain(error: ValidationError, document: Any, spec: type[Spec]) -> list[str]:
    """A line for each of the first mistakes in ``document``, which is not a ``spec``."""
    details = error.errors(include_url=False)
    more = [f"{len(details) - MAX_LINES} more mistakes: correct these first"] if len(details) > MAX_LINES else []
    return [_line(detail, document, spec) for detail in details[:MAX_LINES]] + more


def rule(detail: ErrorDetails, spec: type[Spec] = Spec) -> str:
    """*rule: remedy* of one mistake in a ``spec``."""
    remedy = f"change it ({spec.described_by} describes it)"
    message = detail["msg"][:1].lower() + detail["msg"][1:]
    match detail["type"]:
        case "broken":
            return detail["msg"]
        case "union_tag_invalid":
            return f"must be one of {detail['ctx']['expected_tags']}: choose one"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be a mapping of keys: {remedy}"
        case _:
            return f"{message}: {remedy}"


def unknown_key(path: Sequence[str], spec: type[Spec]) -> str:
    """*rule: remedy* for a ``path`` that names no field of ``spec``."""
    nearest = _nearest(path, [spec])
    if not nearest:
        return f"unknown key: remove it ({spec.described_by} lists the keys)"
    if nearest == list(path):
        return f"unknown key: it belongs to another {'.'.join([*path[:-1], 'name'])}: remove it"
    return f"unknown key: did you mean {'.'.join(nearest)}?"


def _line(detail: ErrorDetails, document: Any, spec: type[Spec]) -> str:
    path, value = _path(detail["loc"], document), detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return f"{'.'.join(path)}: {unknown_key(path, spec)}"
        case "missing":
            return _missing([*path, printable(detail["loc"][-1])], spec)
        case "union_tag_not_found":
            return _missing([*path, "name"], spec)
        case "union_tag_invalid":
            path, value = [*path, "name"], detail["ctx"]["tag"]
        case "broken":
            path, value = [*path, *detail["ctx"]["at"]], detail["ctx"]["value"]
    return f"{'.'.join(path)}: {_shortened(value)}: {rule(detail, spec)}"


def _missing(path: list[str], spec: type[Spec]) -> str:
    return f"{'.'.join(path)}: missing: this key is required: add it ({spec.described_by} describes it)"


_USER = re.compile(r"://[^/\s'\"]*@")
"""User and password in an address, which no message repeats."""


def _shortened(value: object) -> str:
    text = _USER.sub("://…@", repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _path(parts: Sequence[int | str], document: Any) -> list[str]:
    """The keys as the file has them: pydantic also names the alternative of a union that was tried."""
    path = []
    for part in parts:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(printable(part))
    return path


def _nearest(path: Sequence[str], specs: Iterable[type[BaseModel]]) -> list[str]:
    """``path`` with each unknown key replaced by the nearest known one; empty if a key is like none."""
    if not path:
        return []
    fields = {name: field.annotation for spec in specs for name, field in spec.model_fields.items()}
    near = difflib.get_close_matches(path[0], fields, n=1)
    if not near:
        return []
    annotation = fields[near[0]]
    free = list(path[1:2]) if get_origin(annotation) is dict else []
    rest = path[1 + len(free) :]
    nearest = _nearest(rest, _specs(annotation))
    return [] if rest and not nearest else [*near, *free, *nearest]


def _specs(annotation: object) -> Iterator[type[BaseModel]]:
    """The specs that an annotation is made of, however deep in unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _specs(argument)
