"""An exported loss is a package that needs torch and safetensors, and computes what this project does."""

import ast
import sys
from pathlib import Path

import torch

from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.report.exported.package import PACKAGE, needed_modules
from tests.compatibility.conftest import Exported

COMPUTE = """
import torch
logits, labels = torch.randn(2, 6, 24, 32, generator=torch.Generator().manual_seed(0)).requires_grad_(), None
labels = torch.randint(0, 6, (2, 24, 32), generator=torch.Generator().manual_seed(1))
"""
TELL = "print(loss.item().hex(), logits.grad.double().abs().sum().item().hex())"


def test_it_computes_the_same_bit_by_bit_without_this_project(exported: Exported) -> None:
    told = exported.run(
        f"{COMPUTE}\nimport {PACKAGE}\nloss = {PACKAGE}.load()(logits, labels)\nloss.backward()\n{TELL}"
    )
    variables: dict[str, object] = {"loss_fn": NeuroIoULoss.load(exported.folder)}
    exec(f"{COMPUTE}\nloss = loss_fn(logits, labels)\nloss.backward()", variables)
    loss, logits = variables["loss"], variables["logits"]
    assert isinstance(loss, torch.Tensor) and isinstance(logits, torch.Tensor) and logits.grad is not None
    values = (loss.item(), logits.grad.double().abs().sum().item())
    assert told.split() == [float(value).hex() for value in values]
    assert logits.grad.abs().sum() > 0


def test_it_works_from_the_folder_too(exported: Exported) -> None:
    program = f"import sys\nsys.path.insert(0, {str(exported.folder)!r})\nimport {PACKAGE}\nprint({PACKAGE}.__file__)"
    assert Exported(exported.folder, exported.folder).run(f"{program}\n{PACKAGE}.load()").strip() == str(
        exported.folder / PACKAGE / "__init__.py"
    )


def test_another_void_label_may_be_given(exported: Exported) -> None:
    assert exported.run(f"import {PACKAGE}\nprint({PACKAGE}.load(ignore_index=7).ignore_index)").strip() == "7"


def test_it_is_small_and_has_nothing_of_this_project_and_no_other_needs(exported: Exported) -> None:
    files = [path for path in (exported.installed / PACKAGE).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert not any("neuroiou_study" in path.read_text() for path in files if path.suffix == ".py" and _imports(path))
    packages = {name for path in files if path.suffix == ".py" for name in _imports(path)} - {PACKAGE, "triton"}
    assert packages - set(sys.stdlib_module_names) == {"torch", "safetensors"}
    assert "Apache License" in (exported.folder / "LICENSE").read_text()


def test_the_loss_needs_few_modules() -> None:
    needed = needed_modules("neuroiou_study.core.neuroiou")
    assert {"neuroiou_study.core.counts", "neuroiou_study.core.kernels.tiled"} <= needed
    assert all(name.startswith("neuroiou_study.core.") for name in needed) and len(needed) < 16


def _imports(path: Path) -> set[str]:
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
    return names
