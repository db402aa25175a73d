"""Every code block of README and docs/: studies load, Python runs, commands exist and name the test that runs them."""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from markdown_it import MarkdownIt
from typer.main import get_command

from neuroiou_study.cli import app
from neuroiou_study.spec import load_study
from tests.benchmarks.__main__ import SUBJECTS
from tests.conftest import REPOSITORY
from tests.studies import call, write_study

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
RUNBOOK = REPOSITORY / "docs" / "cluster.md"
"""`tests/cluster/test_runbook.py` has a stricter test of its ``bash`` blocks."""
COMMANDS = ("sh", "bash")
DIRECTIVES = ("{command-line}", "{eval-rst}", "{study-files}", "{toctree}")
"""The strict build runs them."""
SHOWN = {
    ("README.md", "my_data/"): "a folder as tests/test_newcomer.py makes it",
    ("README.md", "@inproceedings{neuroiou2018,"): "a citation",
    (
        "docs/architecture.md",
        "cli, jobs ─┬─► orchestrate ─► report ─► stages ─┬─► spec   (pydantic, yaml)",
    ): "a drawing",
    ("docs/architecture.md", "study.yaml ─load_study─► StudySpec ─sample(values)─► TrialSpec (frozen, complete)"): (
        "a drawing"
    ),
    ("docs/own_network_and_data.md", "my_data/"): "a folder as tests/test_newcomer.py makes it",
}
"""Page and first line of a block that nothing can run → what it is. Output of a command needs no entry."""
RUN_BY = {
    "neuroiou-study validate": ("tests/test_cli.py", r'call\("validate"'),
    "neuroiou-study doctor": ("tests/test_cli_doctor.py", r'call\("doctor"'),
    "neuroiou-study data": ("tests/docs/test_blocks.py", r'call\("data"'),
    "neuroiou-study plan": ("tests/test_cli.py", r'call\("plan"'),
    "neuroiou-study run": ("tests/test_on_ray.py", r'call\("run"'),
    "neuroiou-study status": ("tests/test_watching.py", r'command\("status"'),
    "neuroiou-study report": ("tests/report/test_page_in_browser.py", r'call\("report", .*"--html"'),
    "neuroiou-study export": ("tests/test_cli.py", r'call\("export"'),
    "neuroiou-study sync": ("tests/test_cli.py", r'call\("sync"'),
    "neuroiou-study schema": ("tests/test_cli.py", r'call\("schema"'),
    "neuroiou-study reproduce": ("tests/orchestrate/test_reproduce.py", r'\["reproduce", '),
    "neuroiou-study cluster render": ("tests/cluster/aws.py", r'call\("cluster", "render"'),
    "neuroiou-study cluster check": ("tests/cluster/aws.py", r'call\("cluster", "check"'),
    "neuroiou-study cluster token": ("tests/cluster/aws.py", r'call\("cluster", "token"'),
    "make test": (".ci/run", r"^make test$"),
    "ray up": ("tests/cluster/test_aws.py", r'ray\("up"'),
    "ray dashboard": ("tests/cluster/onprem.py", r'"dashboard"'),
    "ray job submit": ("tests/cluster/test_onprem.py", r'"job", "submit"'),
    "python -c": ("tests/test_newcomer.py", r'blocks\("sh"\)'),
}
"""How a command begins → what runs it, on a study that is small enough, and the words there that do."""
NOT_RUN = {
    "make demo": "minutes; tests/docs/test_as_written.py does where NEUROIOU_DEMO is set",
    "make bench": "minutes and more; its options are held against the program, its parts run by tests/benchmarks",
    "python3 -m venv": "whoever runs this test has done it, by `make install`",
    "pip install": "likewise",
}
"""How a command begins → why no test runs it."""
SEPARATOR = re.compile(r'(?:&&|[;|])(?=(?:[^"]*"[^"]*")*[^"]*$)')
"""Between two commands of a line, and not between quotes."""


class Block(NamedTuple):
    page: Path
    line: int
    kind: str
    text: str
    follows: str
    """The kind of the block before it on the page."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def is_known(self) -> bool:
        """Does something run it, or is it the output of a command, or said to be shown only?"""
        if self.page == RUNBOOK:
            return self.kind == "bash"
        is_output = self.kind == "text" and self.follows in (*COMMANDS, "python")
        name = (str(self.page.relative_to(REPOSITORY)), self.text.partition("\n")[0])
        return self.kind in (*COMMANDS, "python", "yaml", *DIRECTIVES) or is_output or name in SHOWN


def blocks_of(page: Path, text: str) -> list[Block]:
    """The fenced blocks of a page, wherever and however they are fenced; those of the runbook have a test too."""
    found: list[Block] = []
    for token in MarkdownIt().parse(text):
        if token.type == "fence":
            assert token.map is not None
            follows = found[-1].kind if found else ""
            found.append(Block(page, token.map[0] + 1, token.info.strip(), token.content, follows))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page, page.read_text())]


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds and block.page != RUNBOOK]


def test_something_runs_every_block() -> None:
    remedy = "make it sh, python or yaml, let it follow the command whose output it is, or say in SHOWN what it is"
    assert [f"{each.place}: {each.kind or 'no language'}: {remedy}" for each in BLOCKS if not each.is_known] == []


def test_what_is_shown_only_is_there() -> None:
    there = {(str(each.page.relative_to(REPOSITORY)), each.text.partition("\n")[0]) for each in BLOCKS}
    assert set(SHOWN) <= there


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("```rust\nx\n```", "rust"),
        ("~~~\nx\n~~~", ""),
        ("* item\n\n  ```text\n  x\n  ```", "text"),
        ("````\nx\n````", ""),
    ],
)
def test_a_block_that_nothing_runs_is_seen(text: str, kind: str) -> None:
    for page in (REPOSITORY / "README.md", RUNBOOK):
        [block] = blocks_of(page, text)
        assert block.kind == kind and not block.is_known


def test_a_block_of_the_runbook_is_bash_or_nobody_s() -> None:
    kinds = {block.kind: block.is_known for block in blocks_of(RUNBOOK, "```bash\nx\n```\n\n```sh\nx\n```")}
    assert kinds == {"bash": True, "sh": False}


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


def commands(text: str) -> list[str]:
    """The commands of a block, without comments and what only prepares the shell."""
    whole = text.replace("\\\n", " ")
    lines = [line.partition(" #")[0].strip() for line in whole.splitlines()]
    parts = [part.strip() for line in lines if line and not line.startswith("#") for part in SEPARATOR.split(line)]
    return [part for part in parts if not part.startswith(("export ", ". "))]


def beginning(command: str) -> str | None:
    """The entry of RUN_BY or NOT_RUN that ``command`` begins with, word by word; the longest."""
    fits = [each for each in (*RUN_BY, *NOT_RUN) if f"{command} ".startswith(f"{each} ")]
    return max(fits, key=len, default=None)


@pytest.mark.parametrize("block", of_kind(*COMMANDS), ids=lambda block: block.place)
def test_a_command_exists_and_is_run_by_a_test(block: Block) -> None:
    for command in commands(block.text):
        assert beginning(command), (
            f"{block.place}: {command}: say in RUN_BY what runs it, or in NOT_RUN why nothing does"
        )
        require_right(command)


@pytest.mark.parametrize("begin", RUN_BY)
def test_what_is_said_to_run_a_command_does(begin: str) -> None:
    file, words = RUN_BY[begin]
    assert re.search(words, (REPOSITORY / file).read_text(), re.MULTILINE), (
        f"{file} has no {words}: {begin}: who runs it?"
    )


def require_right(command: str) -> None:
    """The program takes these words; nothing is run."""
    words = shlex.split(command.partition(">")[0] if command.startswith("neuroiou-study") else command)
    if words[0] == "neuroiou-study":
        _require_parsed(words[1:])
    elif words[0] == "make":
        _require_target(words[1])
        for word in words[2:]:
            name, _, options = word.partition("=")
            assert name == "BENCH_ARGS", f"{command}: {name}: no variable of the Makefile that a page may set"
            _require_bench(shlex.split(options))


def _require_parsed(words: list[str]) -> None:
    program: Any = get_command(app)
    while words and words[0] in getattr(program, "commands", {}):
        program, words = program.commands[words[0]], words[1:]
    program.make_context("neuroiou-study", words)


def _require_target(name: str) -> None:
    assert re.search(rf"^{re.escape(name)}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE), f"no target {name}"


def _require_bench(options: list[str]) -> None:
    for option in options:
        allowed = ("--quick", "--json", "--only", *SUBJECTS)
        assert option in allowed or option.endswith(".json"), f"{option}: no option of make bench"


@pytest.mark.parametrize(
    "command",
    ["neuroiou-study run study.yaml --no-such 1", "make nonsense", 'make bench BENCH_ARGS="--onlyy loss"'],
)
def test_a_wrong_command_would_be_noticed(command: str) -> None:
    with pytest.raises(Exception, match=r"no-such|nonsense|onlyy"):
        require_right(command)


def test_every_command_of_a_line_counts() -> None:
    text = "make test | frobnicate; other 'x' && more \"a; b\"  # not this\n# nor this"
    assert commands(text) == ["make test", "frobnicate", "other 'x'", 'more "a; b"']
    assert beginning("frobnicate") is None and beginning("make tester") is None


def test_the_demo_is_a_command_that_the_program_takes() -> None:
    recipe = (REPOSITORY / "Makefile").read_text().partition("\ndemo:")[2].splitlines()[1]
    _, _, words = recipe.partition("neuroiou-study ")
    assert "search_spaces/quickstart.yaml" in words
    _require_parsed(shlex.split(words))


def test_data_says_how_frequent_each_class_is(tmp_path: Path) -> None:
    done = call("data", write_study(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "background" in done.stdout and "void" in done.stdout
