"""A YAML file with a spec in it, and ``key=value`` overrides of what it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from neuroiou_study.spec.base import Spec
from neuroiou_study.spec.explain import explain
from neuroiou_study.spec.parse import MAX_BYTES, ParseError, parse

Kind = TypeVar("Kind", bound=Spec)


class SpecError(ValueError):
    """A file is wrong; the message has a line *where: value: rule: remedy* for each mistake."""


def load_document(path: Path | str, overrides: Sequence[str], kind: type[Kind]) -> Kind:
    """The ``kind`` in the file at ``path`` with ``key=value`` overrides applied.

    Raises SpecError if the file cannot be read, or a key or value is wrong.
    """
    document = read_document(Path(path), kind)
    for override in overrides:
        _override(document, override)
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        lines = explain(error, document, kind)
        raise SpecError("\n".join(f"{path}: {line}" for line in lines)) from error


def read_document(path: Path, kind: type[Spec] = Spec) -> dict[str, Any]:
    """The mapping in the YAML file at ``path``, which is to be a ``kind``. Raises SpecError if there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ParseError(f"more than {MAX_BYTES} bytes")
        document = parse(content.decode("utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}: must be a readable file: check the path") from error
    except ValueError as error:
        raise SpecError(f"{path}: {' '.join(str(error).split())}: must be YAML in UTF-8: correct that place") from error
    if not isinstance(document, dict):
        raise SpecError(f"{path}: {type(document).__name__}: must be a mapping of keys: see {kind.described_by}")
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
