"""A trial reads decoded images where that is wanted; its results and its addresses are the same either way."""

import os
from pathlib import Path

import pytest

from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.check_data import check_data
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import run_stages
from neuroiou_study.stages.train_network import read_history
from tests.core.data.made import make_folder
from tests.stages.tiny import tiny_study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudySpec:
    """A study of eight training images, four to choose with and two that decide."""
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "cache"))
    make_folder(tmp_path / "data", [f"t{number}" for number in range(12)], ["v0", "v1"])
    data = {"name": "folder", "root": str(tmp_path / "data"), "class_names": ["a", "b", "c"]}
    weighted = {"name": "weighted_cross_entropy"}
    return tiny_study(
        data={**data, "size": [16, 24], "select_fraction": 0.34},
        pretrain={"epochs": 2, "batch_size": 4, "loss": weighted},
        controls={"weighted": weighted},
    )


def run(
    study: StudySpec, store: Path, *, arm: str = "neuroiou", image_cache: bool = True, loader_workers: int = 0
) -> dict[str, object]:
    """What a trial of ``study`` leaves, evaluated on ``val``, by address."""
    worker = LocalWorker(resources=ResourcesSpec(image_cache=image_cache, loader_workers=loader_workers))
    plan = run_stages(study.sample({"evaluate.split": "val"}, arm=arm), FolderStore(store), worker)
    folders = {name: FolderStore(store).root / "stages" / step.address for name, step in plan.items()}
    histories = {plan[name].address: read_history(folders[name]) for name in ("pretrain", "finetune")}
    return {**histories, plan["evaluate"].address: read_metrics(folders["evaluate"])}


def damage_images(root: Path) -> None:
    """Make every image unreadable, and leave it its size and time, by which a cache knows it."""
    for path in root.rglob("*.png"):
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_with_and_without_a_cache_a_trial_is_the_same(study: StudySpec, tmp_path: Path) -> None:
    without = run(study, tmp_path / "without", image_cache=False)
    assert not (tmp_path / "cache").exists()
    for loader_workers in (0, 1):
        store = tmp_path / f"with-{loader_workers}"
        assert run(study, store, loader_workers=loader_workers) == without
    names = [path.name.rsplit("-", 2)[0] for path in (tmp_path / "cache" / "images").iterdir()]
    assert sorted(names) == ["folder-select", "folder-train", "folder-val"]


def test_every_stage_uses_the_cache_and_a_check_reads_the_files(study: StudySpec, tmp_path: Path) -> None:
    for split in ("train", "select", "val"):
        build.dataset(study.data, split, cached=True)
    assert len(list(check_data(study))) == 14
    damage_images(tmp_path / "data")
    for arm in ("neuroiou", "weighted"):
        assert len(run(study, tmp_path / "store", arm=arm)) == 3
    with pytest.raises(ValueError, match=r"images/.*\.png: .*: must be a readable image"):
        list(check_data(study))
