"""Small studies as files and commands, for tests that use the program as a person does."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "shapes", "num_train": 16, "num_select": 4, "num_val": 4, "size": [16, 24]},
    "model": {"name": "unet", "width": 4, "levels": 1},
    "pretrain": {"epochs": 2, "lr": 3e-3},
    "fit_surrogate": {"depth": 2, "epochs": 10},
    "gate": {"enabled": False},
    "finetune": {"epochs": 3},
    "search": {
        "fit_surrogate.depth": {"int": [1, 3]},
        "fit_surrogate.inputs": {"choice": ["prob3", "hinge3"]},
        "finetune.lr": {"float": [1e-4, 1e-2], "log": True},
    },
    "controls": {"ce": {"name": "cross_entropy"}, "soft_iou": {"name": "soft_iou"}},
    "pruner": {"name": "none"},
    "budget": {"max_trials": 3},
}


def write_study(folder: Path, **changes: Any) -> Path:
    """The tiny study with ``changes`` to its top-level keys, as a file in ``folder``."""
    path = folder / "study.yaml"
    # JSON is YAML, and quotes what is text.
    path.write_text(json.dumps({**TINY, **changes}))
    return path


def command(*arguments: object) -> list[str]:
    """``neuroiou-study`` with ``arguments``."""
    return [sys.executable, "-m", "neuroiou_study", *map(str, arguments)]


def call(*arguments: object, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run ``neuroiou-study`` to its end."""
    return subprocess.run(command(*arguments), env=env, capture_output=True, text=True, check=False)


def stray(errors: str) -> list[str]:
    """The lines on stderr of a ``run`` that are no events of its trials."""
    event = re.compile(r"\d{4}-\d\d-\d\dT\S+ (shared|\w+-\d{3,}(-seed\d+)?) ")
    return [line for line in errors.splitlines() if not event.match(line)]


def report(study: Path, store: Path, *options: str) -> dict[str, Any]:
    """The leaderboard as data."""
    done = call("report", study, "--store", store, "--json", *options)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def made(store: Path, stage: str) -> list[Path]:
    """The complete folders of a stage."""
    return sorted(path.parent for path in (store / "stages" / stage).glob("*/manifest.json"))
