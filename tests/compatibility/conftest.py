"""A loss that was exported as its user does, and installed where this project is not."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.studies import call, write_study


@dataclass(frozen=True)
class Exported:
    """What `neuroiou-study export` wrote, and where pip has put it."""

    folder: Path
    installed: Path

    def block(self, *words: str) -> str:
        """The one Python block of its README that has all ``words``."""
        blocks = re.findall(r"```python\n(.*?)```", (self.folder / "README.md").read_text(), re.DOTALL)
        [found] = [block for block in blocks if all(word in block for word in words)]
        return str(found)

    def run(self, program: str) -> str:
        """What ``program`` prints in a process that finds the package and must not find this project."""
        away = "import sys\nsys.modules['neuroiou_study'] = None\n"
        environment = {**os.environ, "PYTHONPATH": str(self.installed), "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [sys.executable, "-c", away + program],
            env=environment,
            cwd=self.folder.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    study, to = write_study(folder, budget={"max_trials": 1}, controls={}), folder / "my_loss"
    for arguments in (("run", study, "--backend", "local"), ("export", study, "--to", to)):
        done = call(*arguments, "--store", folder / "runs")
        assert done.returncode == 0, done.stderr
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", folder / "installed", to], check=True)
    return Exported(to, folder / "installed")
