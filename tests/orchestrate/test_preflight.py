"""All checks together: what is found, in which order, and what depends on what."""

import sys
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.orchestrate.findings import Finding
from neuroiou_study.orchestrate.preflight import preflight
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.open_store import open_store
from tests.core.data.made import make_folder, truncate
from tests.orchestrate.listeners import closed_port
from tests.stages.tiny import tiny_study

NAMES = ["custom code", "store", "tracking", "optuna", "clocks", "resources", "data", "GPU memory", "disks"]


def found(study: StudySpec, folder: Path, **options: Any) -> dict[str, Finding]:
    where = Where("local", tracking_uri=f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    return {each.name: each for each in preflight(study, FolderStore(folder / "runs"), where, **options)}


def states(findings: dict[str, Finding]) -> list[str]:
    return [finding.state for finding in findings.values()]


def test_a_study_with_all_that_it_needs(tmp_path: Path) -> None:
    findings = found(tiny_study(), tmp_path)
    assert list(findings) == NAMES
    passed, skipped = "passed", "skipped"
    assert states(findings) == [skipped, passed, passed, passed, passed, skipped, passed, skipped, passed]
    assert findings["data"].text == "16 images and their labels: opened"
    assert list(tmp_path.iterdir()) == [], "nothing of it stays"


def test_who_watches_hears_of_everything(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    found(tiny_study(), tmp_path, watch=lambda *progress: heard.append(progress))
    assert list(dict.fromkeys(name for name, _, _ in heard)) == NAMES[1:]
    assert [done for name, done, total in heard if (name, total) == ("data", 16)] == list(range(1, 17))


def folder_study(root: Path) -> StudySpec:
    """Twelve images to train on, of which three are for select, and one that decides."""
    make_folder(root, list("abcdefghijkl"), ["v"])
    data = {"name": "folder", "root": str(root), "class_names": ["x", "y", "z"], "select_fraction": 0.25}
    return tiny_study(data=data)


def test_damage_is_found_by_opening_everything_or_what_is_sampled(tmp_path: Path) -> None:
    study = folder_study(tmp_path / "data")
    assert found(study, tmp_path)["data"].text == "13 images and their labels: opened"
    truncate(tmp_path / "data" / "images" / "b.png")  # the second of nine
    full, sampled = found(study, tmp_path), found(study, tmp_path, at_most=3)
    assert full["data"].state == "failed"
    assert "b.png" in full["data"].text
    assert [full[name].state for name in ("GPU memory", "disks")] == ["skipped", "skipped"]
    text = "7 images and their labels, an even sample: at most 3 of each split: opened"
    assert (sampled["data"].state, sampled["data"].text) == ("passed", text)
    truncate(tmp_path / "data" / "images" / "a.png")  # the first of all is in every sample
    assert found(study, tmp_path, at_most=3)["data"].state == "failed"


def test_a_sample_asks_for_every_file_all_the_same(tmp_path: Path) -> None:
    study = folder_study(tmp_path / "data")
    (tmp_path / "data" / "masks" / "b.png").unlink()
    assert "1 files of the train split are missing" in found(study, tmp_path, at_most=3)["data"].text


@pytest.fixture
def planted_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module whose import can be seen in ``sys.modules``."""
    (tmp_path / "planted_network.py").write_text(
        "from neuroiou_study.core.models.unet import UNet\n"
        "def make(num_classes):\n    return UNet(num_classes, width=4, levels=1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NEUROIOU_ALLOW_CODE", raising=False)
    sys.modules.pop("planted_network", None)
    return "planted_network"


def test_code_runs_only_when_it_is_allowed(
    planted_module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(model={"name": "custom", "factory": f"{planted_module}:make"})
    findings = found(study, tmp_path)
    assert findings["custom code"].state == "failed"
    assert (
        "model.factory: planted_network:make: runs code of its own: pass --allow-code" in findings["custom code"].text
    )
    assert [findings[name].state for name in NAMES[-3:]] == ["skipped"] * 3
    assert planted_module not in sys.modules
    monkeypatch.setenv("NEUROIOU_ALLOW_CODE", "1")
    findings = found(study, tmp_path)
    assert [findings[name].state for name in ("custom code", "data")] == ["passed", "passed"]
    assert planted_module in sys.modules


def test_no_secret_is_in_any_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, f"planted-{name}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:planted-1@127.0.0.1:{closed_port()}")
    where = Where(
        backend="local",
        tracking_uri=f"http://me:planted-2@127.0.0.1:{closed_port()}",
        optuna_url=f"postgresql+psycopg2://127.0.0.1:{closed_port()}/x?user=me&password=planted-3",
    )
    findings = {each.name: each for each in preflight(tiny_study(), open_store("s3://bucket/x"), where)}
    assert [findings[name].state for name in NAMES[1:4]] == ["failed"] * 3
    assert "planted" not in str(findings.values())
    assert "planted" not in repr(where).replace("planted-2", ""), "the tracking uri is shown nowhere as it is"


def test_what_the_environment_keeps_secret_is_cut_out_of_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroiou_study.orchestrate.findings import find

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-key")
    monkeypatch.setenv("PGPASSWORD", "x")

    def leak() -> tuple[Any, str]:
        raise RuntimeError("server:\n said planted-key at postgresql://me:p@ss@host/x?password=other&a=1")

    assert find("any", leak).text == "server: said *** at postgresql://***@host/x?password=***&a=1"
