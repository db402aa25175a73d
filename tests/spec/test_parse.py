"""YAML from anybody: bombs, depth, numbers, tags, encodings. Each is an error that names the file, and soon."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroiou_study.spec import load_study
from neuroiou_study.spec.parse import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, MAX_NODES, ParseError, parse, printable
from tests.spec.conftest import STUDY, WriteStudy
from tests.spec.test_load import mistake

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60))
END = ": must be YAML in UTF-8: correct that place"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, f"at most {MAX_NODES} keys and values and {MAX_DEPTH} in each other, aliases written out"),
        (MERGES, f"at most {MAX_NODES} keys and values"),
        ("&a {x: 1, y: [" + "*a, " * 10 + "]}", "an alias must not stand for what it is a part of"),
        ("a: &a [*a]", "an alias must not stand for what it is a part of"),
        ("[" * 39 + "[" + "]" * 40 + "]", "expected '<document start>', but found"),
        ("[" * 50 + "]" * 50, f"{MAX_DEPTH} in each other"),
        ("[" * 100_000, f"in each other: at most {MAX_DEPTH}"),
        ("a: " * 1000, "mapping values are not allowed here"),
        ("? " * 50_000, f"in each other: at most {MAX_DEPTH}"),
        ("- " * 50_000, f"in each other: at most {MAX_DEPTH}"),
        ("{" + ", ".join(f"a{n}: 1" for n in range(30_000)) + "}", f"at most {MAX_NODES} keys and values"),
        ("name: " + "9" * 1_000_000, "a value must have at most 2048 letters"),
        ("name: 0x" + "f" * 1_000_000, "a value must have at most 2048 letters"),
        ("name: 1" + ":59" * 300_000, "a value must have at most 2048 letters"),
        ("name: " + "9" * 2000, f"an integer must be at most {MAX_INTEGER}"),
        ("name: 0x" + "f" * 2000, f"an integer must be at most {MAX_INTEGER}"),
        ("name: 1" + ":59" * 600, f"an integer must be at most {MAX_INTEGER}"),
        ("name: 1" + ":59" * 600 + ".5", "too large to convert to float"),
        (f"name: {-MAX_INTEGER - 1}", f"an integer must be at most {MAX_INTEGER}"),
        ("name: !!int ''", "string index out of range"),
        ("name: !!float ''", "string index out of range"),
        ("name: !!bool maybe", "'maybe'"),
        ("name: !!timestamp x", "'NoneType' object has no attribute 'groupdict'"),
        ("name: 0000-01-01", "year 0 is out of range"),
        ("name: !!set [1]", "expected a mapping node"),
        ("name: !!python/object/apply:os.system [touch ran]", "could not determine a constructor"),
        ("name: !!python/object/new:os.system [touch ran]", "could not determine a constructor"),
        ("name: !!python/name:os.system", "could not determine a constructor"),
        ("name: !thing x", "could not determine a constructor"),
        ("? [a]\n: 1", "found unhashable key"),
        ("? {a: 1}\n: 1", "found unhashable key"),
        ("name: a\0b", "unacceptable character #x0000"),
        ("name: a\x1bb", "unacceptable character #x001b"),
        ("--- 1\n--- 2", "expected a single document"),
        ('"\\e[31m": 1\n"\\e[31m": 1', r"key \x1b[31m stands twice"),
    ],
)
def test_a_hostile_file_is_refused_at_once(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    before = time.process_time()
    said = mistake(path)
    assert time.process_time() - before < 10
    assert message in said and said.endswith(END) and len(said) < 1000
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", STUDY.encode("utf-16"), STUDY.encode() + b"# \xe4", b"\x80" * 99])
def test_what_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    assert mistake(path).endswith(END)


def test_a_file_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + "#" * MAX_BYTES)
    assert mistake(path) == f"more than {MAX_BYTES} bytes" + END
    assert mistake(Path("/dev/zero")) == f"more than {MAX_BYTES} bytes" + END


@pytest.mark.parametrize("path", ["a\0b", "a" * 5000, "/"])
def test_a_path_that_is_no_file_is_named(path: str) -> None:
    said = mistake(Path(path))
    assert said.endswith((END, ": must be a readable file: check the path"))


def test_aliases_and_merged_keys_of_honest_files_are_read() -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: &d [1, *a]\ne: [*d, *d]"
    assert parse(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 3},
        "d": [1, {"x": 1, "y": 2}],
        "e": [[1, {"x": 1, "y": 2}]] * 2,
    }
    assert parse("") is None
    assert parse(str(MAX_INTEGER)) == MAX_INTEGER


@pytest.mark.parametrize(
    "text", ["name: 1e999", "pretrain: {epochs: 3, lr: 1e999}", "pretrain: {epochs: 3, lr: -.inf}"]
)
def test_a_number_that_is_infinite_is_refused_where_it_stands(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert "inf: input should be a" in mistake(path)


def _positions(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for key, part in parts for place in _positions(part, (*path, key)))]


def _replaced(document: Any, path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = _replaced(document[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize(
    "wrong", ["{}", "[]", "[[]]", "{1: 2}", "{null: [1]}", "''", "2020-01-01", "!!binary YQ==", "-1"]
)
def test_another_type_at_any_key_is_a_mistake_or_a_study(tmp_path: Path, wrong: str) -> None:
    document, path = parse(STUDY), tmp_path / "study.yaml"
    for place in _positions(document):
        path.write_text(yaml.safe_dump(_replaced(document, place, parse(wrong))))
        if place in (("pretrain", "lr"), ("data", "name")):
            assert ".".join(place) in mistake(path)
        elif place not in (("search",), ("controls",), ("pretrain",), ("finetune",)):
            assert mistake(path)


def test_of_many_mistakes_the_first_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + "".join(f"finetune{n}: 1\n" for n in range(5000)))
    before = time.process_time()
    said = mistake(path).splitlines()
    assert time.process_time() - before < 10
    assert len(said) == 21 and said[-1] == "4980 more mistakes: correct these first"


def test_keys_do_not_steer_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + '"\\e[31m": "\\e[2J"\n' + "a" * 900 + ": 1\n")
    said = mistake(path)
    assert r"\x1b[31m: unknown key" in said and all(line.isprintable() for line in said.splitlines())
    assert len(said) < 500
    assert printable("a" * 100) == "a" * 57 + "..."
    path.write_text(STUDY + '"\\uD800": 1\n')
    assert mistake(path).isprintable()


def test_more_pairs_of_values_than_can_be_tried_are_refused(write_study: WriteStudy) -> None:
    values = ", ".join(f"{n / 10_000}" for n in range(1, 300))
    path = write_study(
        "finetune.lr: {float: [1e-4, 1e-2], log: true}",
        f"finetune.lr: {{choice: [{values}]}}\n  pretrain.lr: {{choice: [{values}]}}",
    )
    before = time.process_time()
    assert mistake(path).startswith("search: 91")
    assert time.process_time() - before < 5


@pytest.mark.parametrize("value", [LAUGHS, "9" * 5000, "[" * 2000, "!!int ''", "a\0b"])
def test_an_override_is_parsed_as_a_file_is(write_study: WriteStudy, value: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)^--set name=.*: must name a field and give it a YAML value"):
        load_study(write_study(), [f"name={value}"])
    with pytest.raises(ParseError):
        parse(value)
