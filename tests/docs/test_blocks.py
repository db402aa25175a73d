"""Every code block of README and docs/: studies load, Python runs, commands exist and name the test that runs them."""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from typer.main import get_command

from neuroiou_study.cli import app
from neuroiou_study.spec import load_study
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
OWN_TEST = {"cluster.md"}
"""`tests/cluster/test_runbook.py` has a stricter one."""
DRAWINGS = ("", "text", "bibtex", "{command-line}", "{eval-rst}", "{study-files}", "{toctree}")
RUN_BY = {
    "neuroiou-study validate": "tests/test_cli.py",
    "neuroiou-study doctor": "tests/test_cli_doctor.py",
    "neuroiou-study data": "tests/test_cli.py",
    "neuroiou-study plan": "tests/test_cli_plan.py",
    "neuroiou-study run": "tests/test_watching.py",
    "neuroiou-study status": "tests/test_watching.py",
    "neuroiou-study report": "tests/report/test_page_in_browser.py",
    "neuroiou-study export": "tests/test_cli.py",
    "neuroiou-study sync": "tests/test_cli.py",
    "neuroiou-study schema": "tests/test_schemas.py",
    "neuroiou-study reproduce": "tests/orchestrate/test_reproduce.py",
    "neuroiou-study cluster": "tests/cluster/test_render.py",
    "make demo": "tests/test_on_ray.py",
    "make test": ".ci/run",
    "make bench": "tests/benchmarks/__main__.py",
    "ray up": "tests/cluster/test_onprem.py",
    "ray dashboard": "tests/cluster/test_onprem.py",
    "ray job": "tests/cluster/test_onprem.py",
    "python -m tests.benchmarks": "tests/benchmarks/__main__.py",
    "python -c": "tests/test_newcomer.py",
    "python3 -m venv": "Makefile",
    "pip install": "Makefile",
}
"""How a command begins → what runs it, on a study that is small enough."""


class Block(NamedTuple):
    page: Path
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            found.append(Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2]))
    return [block for block in found if block.page.name not in OWN_TEST]


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in blocks() if block.kind in kinds]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    known = {"sh", "bash", "python", "yaml", *DRAWINGS}
    assert [f"{each.place}: {each.kind}" for each in blocks() if each.kind not in known] == []


@pytest.mark.parametrize("block", of_kind("yaml"), ids=lambda block: block.place)
def test_a_study_loads(block: Block, tmp_path: Path) -> None:
    document = yaml.safe_load(block.text)
    if "name" not in document:  # a part, for the quickstart
        document = {**yaml.safe_load((REPOSITORY / "search_spaces" / "quickstart.yaml").read_text()), **document}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    load_study(tmp_path / "study.yaml")


@pytest.mark.parametrize("block", of_kind("python"), ids=lambda block: block.place)
def test_python_runs(block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from neuroiou_study.core import NeuroIoULoss, Surrogate, SurrogateConfig

    (tmp_path / "my_loss").mkdir()
    NeuroIoULoss(Surrogate(SurrogateConfig())).save(tmp_path / "my_loss")
    monkeypatch.chdir(tmp_path)
    logits, labels = torch.randn(2, 3, 8, 8, requires_grad=True), torch.zeros(2, 8, 8, dtype=torch.int64)
    variables = {"logits": logits, "labels": labels}
    exec(block.text, variables)
    if "def small" in block.text:
        network = variables["small"](num_classes=5, width=32)  # type: ignore[operator]
        assert network(torch.randn(1, 3, 8, 8)).shape == (1, 5, 8, 8)


def commands(block: Block) -> list[str]:
    whole = block.text.replace("\\\n", " ")
    lines = [line.partition(" #")[0].strip() for line in whole.splitlines()]
    parts = [part.strip() for line in lines if line and not line.startswith("#") for part in line.split("&&")]
    return [part for part in parts if not part.startswith(("export ", ". "))]


@pytest.mark.parametrize("block", of_kind("sh", "bash"), ids=lambda block: block.place)
def test_a_command_exists_and_is_run_by_a_test(block: Block) -> None:
    for command in commands(block):
        begin = next((each for each in RUN_BY if command.startswith(each)), None)
        assert begin is not None, f"{block.place}: {command}: say in RUN_BY what runs it"
        source = (REPOSITORY / RUN_BY[begin]).read_text()
        word = begin.split()[1].removeprefix("-m").removeprefix("-c") or "venv"
        assert word in source or begin.startswith(("make", "python")), f"{RUN_BY[begin]} has no {word!r}"
        if begin.startswith("neuroiou-study"):
            require_right(command)
        elif begin.startswith("make"):
            assert f"\n{command.split()[1]}:" in (REPOSITORY / "Makefile").read_text()


def require_right(command: str) -> None:
    """The program takes these words; nothing is run."""
    program: Any = get_command(app)
    words = shlex.split(command.partition(">")[0].partition("(")[0])[1:]
    while words and words[0] in getattr(program, "commands", {}):
        program = program.commands[words.pop(0)]
    program.make_context(command, words)


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="no-such"):
        require_right("neuroiou-study run study.yaml --no-such 1")
