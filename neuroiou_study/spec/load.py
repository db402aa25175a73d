"""From a YAML file to a StudySpec that is known to be right, or to an error that says what to change."""

import difflib
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from neuroiou_study.spec.study import SURROGATE_ARM, StudySpec, put
from neuroiou_study.spec.trial import TrialSpec


class SpecError(ValueError):
    """A study file is wrong; the message has a line *where: value: rule: remedy* for each mistake."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-4`` as a number, as YAML 1.2 does and YAML 1.1 does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


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
        raise SpecError(_explain(error, str(path), document)) from error
    _require_valid_ranges(study, str(path))
    return study


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506  a SafeLoader with one resolver more
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}: must be a readable study file: check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {' '.join(str(error).split())}: must be YAML: correct that place") from error
    if not isinstance(document, dict):
        raise SpecError(f"{path}: {type(document).__name__}: must be a mapping of keys: see search_spaces/")
    return document


def _override(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SpecError(f"--set {override}: must be key=value: write for example finetune.lr=1e-3")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506
        if key.startswith("search."):
            document.setdefault("search", {})[key.removeprefix("search.")] = value
        else:
            _put_creating_parents(document, key, value)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise SpecError(f"--set {override}: must name a field and give it a YAML value: correct it") from error


def _put_creating_parents(document: dict[str, Any], key: str, value: object) -> None:
    parent = document
    for part in key.split(".")[:-1]:
        parent = parent.setdefault(part, {})
    put(document, key, value)


def _require_valid_ranges(study: StudySpec, path: str) -> None:
    """Put every end and every choice of every range into a trial."""
    for name, bounds in study.search.items():
        for value in bounds.corners:
            where = f"{path}: search.{name}"
            try:
                study.sample({name: value}, arm=SURROGATE_ARM)
            except KeyError:
                raise SpecError(f"{where}: {_unknown(name.split('.')[0], name, TrialSpec)}") from None
            except ValidationError as error:
                raise SpecError(_explain(error, where, {})) from error


def _explain(error: ValidationError, where: str, document: dict[str, Any]) -> str:
    return "\n".join(f"{where}: {_line(detail, document)}" for detail in error.errors())


def _line(detail: ErrorDetails, document: dict[str, Any]) -> str:
    location = _location(detail["loc"], document)
    match detail["type"]:
        case "extra_forbidden":
            return _unknown(str(detail["loc"][-1]), location, StudySpec)
        case "missing" | "union_tag_not_found":
            return f"{location}: missing: this key is required: add it (`neuroiou-study schema` describes it)"
        case "value_error":
            return f"{location}: {detail['msg'].removeprefix('Value error, ')}"
    rule = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{location}: {_shortened(detail['input'])}: {rule}: change it (`neuroiou-study schema` describes it)"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _location(parts: tuple[int | str, ...], document: Any) -> str:
    """The dotted path as the file has it: pydantic also names the alternative of a union that was tried."""
    path = []
    for index, part in enumerate(parts):
        inside = isinstance(document, dict) and part in document
        if inside or index == len(parts) - 1 or not isinstance(document, dict):
            path.append(str(part))
            document = document[part] if inside else None
    return ".".join(path)


def _unknown(key: str, location: str, spec: type[BaseModel]) -> str:
    near = difflib.get_close_matches(key, sorted(_field_names(spec)), n=1)
    remedy = f"did you mean {near[0]}?" if near else "remove it (`neuroiou-study schema` lists the keys)"
    return f"{location}: unknown key: {remedy}"


def _field_names(spec: type[BaseModel]) -> set[str]:
    names = set(spec.model_fields)
    for definition in spec.model_json_schema().get("$defs", {}).values():
        names |= set(definition.get("properties", {}))
    return names
