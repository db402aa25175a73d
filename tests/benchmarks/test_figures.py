import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.benchmarks.figures import Figure, in_turns, line, write_json
from tests.benchmarks.loss import example, peak_memory
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("figure", "is_met", "goal"),
    [
        (Figure("a", "b", 1.0), None, ""),
        (Figure("a", "b", 0.7, at_most=0.7), True, "≤ 0.7"),
        (Figure("a", "b", 0.71, at_most=0.7), False, "≤ 0.7"),
        (Figure("a", "b", 8.0, at_least=8), True, "≥ 8"),
        (Figure("a", "b", 7.9, at_least=8), False, "≥ 8"),
        (Figure("a", "b", float("nan"), at_most=1), False, "≤ 1"),
    ],
)
def test_a_figure_is_held_against_its_goal(figure: Figure, is_met: bool | None, goal: str) -> None:
    assert (figure.is_met, figure.goal) == (is_met, goal)


def test_a_row_says_what_was_missed() -> None:
    assert line("loss", Figure("2×19", "ratio", 0.81, at_most=0.7)).endswith("0.81 ×  ≤ 0.7     MISSED")


def test_calls_take_turns_and_the_first_rounds_do_not_count() -> None:
    order: list[str] = []

    def calls(name: str) -> Callable[[], object]:
        return lambda: order.append(name)

    seconds = in_turns({name: calls(name) for name in "ab"}, rounds=3, warm_up=1)
    assert "".join(order) == "ab" * 4 and set(seconds) == {"a", "b"}


def test_json_has_the_figures_the_machine_and_what_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_json(path, {"loss": [Figure("a", "b", 0.8, at_most=0.7)]}, {"study": "needs ray"}, quick=True)
    document = json.loads(path.read_text())
    (figure,) = document["figures"]["loss"]
    assert figure["value"] == 0.8 and figure["met"] is False
    assert document["skipped"] == {"study": "needs ray"} and document["machine"]["torch"] == torch.__version__


def test_peak_memory_of_a_step_that_is_known() -> None:
    logits, _ = example((1, 4, 64, 64), torch.float32, "cpu")

    def step() -> None:
        (logits.detach() * 2) + (logits.detach() * 3)

    assert peak_memory(step, logits) == pytest.approx(3, abs=0.01)  # two products, and their sum


def test_the_subjects_of_core_run_without_ray_and_pydantic() -> None:
    banned = "import sys; sys.modules.update(dict.fromkeys(['ray', 'pydantic', 'optuna', 'mlflow', 'yaml']))"
    names = ", ".join(f"tests.benchmarks.{name}" for name in ("loss", "step", "fits", "input"))
    done = subprocess.run(
        [sys.executable, "-c", f"{banned}; import {names}"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
