"""`docs/cluster.md`: every command in it is run by the test it names, or says that it is not run here."""

import re
import shlex
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
RUNBOOK = (REPOSITORY / "docs" / "cluster.md").read_text()
BLOCK = re.compile(r"^```bash\n(?P<commands>.*?)^```\n\n(?P<after>[^\n]*)", re.DOTALL | re.MULTILINE)
BLOCKS = [(match["commands"], match["after"]) for match in BLOCK.finditer(RUNBOOK)]
PROGRAMS = {"ray": 2, "kubectl": 2, "neuroiou-study": 2, "ssh": 1}
"""How many words of a command say what it does."""


def what_it_does(command: str) -> list[str]:
    """The words of ``command`` that a test has to have: program, sub-commands; of a variable its name."""
    words = shlex.split(command)
    while re.fullmatch(r"RAY_\w+=\w+", words[0]):
        words = words[1:]
    if words[0] == "export":
        return [words[1].partition("=")[0]]
    most = 3 if words[:2] in (["ray", "job"], ["neuroiou-study", "cluster"]) else PROGRAMS[words[0]]
    said = [word for word in words[:most] if not word.startswith("-") and "/" not in word and "." not in word]
    return [word for word in said if word != "neuroiou-study"]  # tests call it as a module


def source_of(test: Path) -> str:
    """The text of a test and of the modules of tests that it takes from."""
    text = test.read_text()
    for module in re.findall(r"^from (tests\.[\w.]+) import", text, re.MULTILINE):
        text += (REPOSITORY / f"{module.replace('.', '/')}.py").read_text()
    return text


@pytest.mark.parametrize(("commands", "after"), BLOCKS, ids=[block[0].splitlines()[0][:40] for block in BLOCKS])
def test_a_command_is_run_or_says_that_it_is_not(commands: str, after: str) -> None:
    if after == "Not run here.":
        return
    named = re.fullmatch(r"Run by `(tests/\S+\.py)`\.", after)
    assert named is not None, f"{after!r} must say what runs it"
    source = source_of(REPOSITORY / named[1])
    for command in commands.splitlines():
        for word in what_it_does(command):
            assert re.search(rf"\b{re.escape(word)}\b", source), f"{named[1]} has no {word!r} of {command!r}"


def test_there_are_commands() -> None:
    assert len(BLOCKS) == RUNBOOK.count("```bash") > 8


def test_files_that_are_named_are_there() -> None:
    linked = re.findall(r"\]\((\.\./[^)#]+|[\w-]+\.md)", RUNBOOK)
    assert len(linked) >= 2
    assert all((REPOSITORY / "docs" / each).exists() for each in linked)
