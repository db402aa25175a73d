"""What a document breaks of a JSON schema, with the nearest field as the remedy."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import ValidationError
from jsonschema.validators import validator_for

from neuroiou_study.cluster.checks.problem import Problem, missing, shown, wrong

KINDS = {
    "object": "a mapping of keys",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def against(schema: Mapping[str, Any], document: Any, where: str = "") -> Iterator[Problem]:
    """A problem for each place of ``document`` that ``schema`` does not allow; ``where`` is put before places."""
    for error in validator_for(schema)(schema).iter_errors(document):
        yield from _explain(error, where)


def nearest(word: str, known: Iterable[str]) -> str:
    """*remedy* for a ``word`` that is not ``known``."""
    by_small = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), by_small, n=1)
    return f"did you mean {by_small[near[0]]}?" if near else "remove it"


def place(where: str, path: Iterable[object]) -> str:
    """A place as one writes it: ``node_config.Tags[0]``."""
    for part in path:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    return where


def _explain(error: ValidationError, where: str) -> Iterator[Problem]:
    at = place(where, error.absolute_path)
    value: Any = error.instance
    rule: Any = error.validator_value
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
            for key in sorted(set(map(str, value)) - set(known)):
                yield Problem(f"{place(at, [shown(key)])}: unknown key: {nearest(key, known)}")
        case "required":
            for key in sorted(set(rule) - set(value)):
                yield missing(place(at, [key]), "this key is required: add it")
        case "type":
            kinds = [rule] if isinstance(rule, str) else rule
            yield wrong(at, value, f"must be {' or '.join(KINDS[kind] for kind in kinds)}: change it")
        case "enum":
            known = [str(each) for each in rule]
            yield wrong(at, value, f"must be one of {shown(', '.join(known))}: {nearest(str(value), known)}")
        case _:
            yield wrong(at, value, f"{' '.join(shown(error.message).split())}: change it")
