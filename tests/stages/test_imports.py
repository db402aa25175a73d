"""The lower layers can be imported where nothing of the upper ones is installed."""

import subprocess
import sys

import pytest

ORCHESTRATION = ("ray", "optuna", "mlflow", "boto3")
SCRIPT = """
import importlib, pkgutil, sys

package, *blocked = sys.argv[1:]

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not installed")

sys.meta_path.insert(0, Blocker())
for name in blocked:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} is not blocked")
modules = [module.name for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")]
for module in modules:
    importlib.import_module(module)
print(len(modules))
"""


@pytest.mark.parametrize(
    ("package", "blocked"),
    [
        ("core", (*ORCHESTRATION, "pydantic", "yaml", "typer", "rich")),
        ("spec", (*ORCHESTRATION, "torch", "numpy", "typer", "rich")),
        ("stages", (*ORCHESTRATION, "typer", "rich")),
    ],
)
def test_a_layer_imports_without_those_above(package: str, blocked: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", SCRIPT, f"neuroiou_study.{package}", *blocked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
