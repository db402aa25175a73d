"""An exported loss as a small package, which needs torch and safetensors and nothing of this project.

It has the very modules of ``core`` that the loss is made of, so that there is no second implementation to keep right.
"""

import ast
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from string import Template

import neuroiou_study
from neuroiou_study import __version__
from neuroiou_study.core import neuroiou
from neuroiou_study.core.neuroiou import LOSS_FILE
from neuroiou_study.core.surrogate import CONFIG_FILE, WEIGHTS_FILE

PACKAGE = "neuroiou_loss"
OURS = neuroiou_study.__name__
HERE, SOURCES = Path(__file__).parent, Path(neuroiou_study.__file__).parents[1]
FILES = (WEIGHTS_FILE, CONFIG_FILE, LOSS_FILE)
_NOTICE = "Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0\n"


def write_package(folder: Path) -> None:
    """Make ``folder``, which has an exported loss and its README, a package that pip installs."""
    package = folder / PACKAGE
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(_filled("init.py.txt"))
    for module in sorted(needed_modules(neuroiou.__name__)):
        path = package / _file(module).relative_to(SOURCES / OURS)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_file(module).read_text().replace(f"{OURS}.", f"{PACKAGE}."))
    for parent in {path.parent for path in package.rglob("*.py")} - {package}:
        (parent / "__init__.py").touch()
    (folder / "pyproject.toml").write_text(_filled("pyproject.toml.txt"))
    (folder / "LICENSE").write_text(_license())
    readme = folder / "README.md"
    readme.write_text(f"{readme.read_text().rstrip()}\n\n{_filled('usage.md')}")


def needed_modules(module: str) -> set[str]:
    """``module`` of this project and all that it imports of it; packages that only hold modules are left out."""
    found, new = set[str](), {module}
    while new:
        found |= new
        new = {name for each in new for name in _imported(each)} - found
    return {name for name in found if _file(name).name != "__init__.py"}


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_file(module).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{OURS}."):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in (node.module, *names) if _file(name).is_file())


def _file(module: str) -> Path:
    path = SOURCES.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _filled(template: str) -> str:
    text = (HERE / template).read_text(encoding="utf-8")
    return Template(text).substitute(package=PACKAGE, version=__version__, files=", ".join(FILES), include=_include())


def _include() -> str:
    return "\n".join(f'"{name}" = "{PACKAGE}/{name}"' for name in FILES)


def _license() -> str:
    try:
        return distribution("neuroiou-study").read_text("licenses/LICENSE") or _NOTICE
    except PackageNotFoundError:
        return _NOTICE
