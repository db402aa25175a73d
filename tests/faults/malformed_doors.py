"""The doors by which files come in: what makes sound files, and what reads them and judges the result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

from neuroiou_study.core.data.cached import CachedDataset, cached
from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.folder import FolderDataset
from neuroiou_study.core.models.fcn import FCN
from neuroiou_study.core.models.vgg import load_vgg16
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.spec import load_study
from neuroiou_study.stages.backend import LocalWorker, Pruned
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.records import Assignment, SeedRun, StudyRecords, TrialRecord
from neuroiou_study.stages.train_network import HISTORY_FILE, MODEL_FILE
from tests.core.data.made import make_folder, noise
from tests.core.examples import batch, surrogate
from tests.core.models.vgg_file import vgg16_tensors
from tests.spec.conftest import STUDY
from tests.stages.tiny import Heard, tiny_study, tiny_trial


@dataclass(frozen=True)
class Door:
    """A way in."""

    name: str
    target: str
    """The file that is damaged: a pattern below the folder."""
    make: Callable[[Path], object]
    """Leaves sound files in a folder."""
    enter: Callable[[Path], object]
    """Reads them; raises AssertionError if what it gets is wrong."""


CLASSES = ("a", "b", "c")
ADDRESS = "fit_surrogate/0123456789abcdef"
LISTED = (f"stages/{ADDRESS}/surrogate.safetensors", f"stages/{ADDRESS}/{MODEL_FILE}")
"""What a manifest lists: a small file, held against its SHA-256 whenever it is found, and a large one."""
TRIAL = tiny_trial(pretrain__epochs=2)
RECORD = TrialRecord(
    assignment=Assignment(arm="ce", number=7, values={"finetune.lr": 1e-3}),
    state="complete",
    score=0.25,
    error=None,
    seconds=1.5,
    runs=[SeedRun(seed=0, stages={"pretrain": "pretrain/01"}, history=[{"epoch": 1, "select_miou": 0.25}])],
)


def _make_study(folder: Path) -> None:
    (folder / "study.yaml").write_text(STUDY)


def _enter_study(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    assert [study.sample({}, arm=arm).seed for arm in study.arms] and study.identity.startswith(study.name)


def _make_data(folder: Path) -> None:
    make_folder(folder, ["1", "2", "3"], ["4", "5"])
    for photo in (folder / "images").iterdir():
        Image.fromarray(noise(1)).save(photo.with_suffix(".jpg"))
        if photo.name != "5.png":
            photo.unlink()
    (folder / "images/5.jpg").unlink()


def _enter_data(folder: Path) -> None:
    for split in ("train", "select", "val"):
        _require_samples(FolderDataset(folder, split, CLASSES, select_fraction=0.4))


def _require_samples(dataset: SegmentationDataset) -> None:
    assert dataset.summary().num_images == len(dataset)
    for sample in dataset.samples():
        assert sample.image.shape == (*sample.labels.shape, 3)
        assert ((sample.labels < dataset.num_classes) | (sample.labels == dataset.ignore_index)).all()


def _make_camvid(folder: Path) -> None:
    _make_data(folder)
    lines = [f"/SegNet/CamVid/images/{n}.jpg /SegNet/CamVid/masks/{n}.png\n" for n in (1, 2, 3)]
    for split in ("train", "val"):
        (folder / f"{split}.txt").write_text("".join(lines))


def _enter_camvid(folder: Path) -> None:
    for split in ("train", "val"):
        _require_samples(CamvidDataset(folder, split))


def _make_samples(folder: Path) -> None:
    _make_data(folder)
    cached(FolderDataset(folder, "val", CLASSES), folder)


def _enter_samples(folder: Path) -> None:
    dataset = FolderDataset(folder, "val", CLASSES)
    found = cached(dataset, folder)
    assert isinstance(found, CachedDataset)
    for index in range(len(dataset)):
        for one, other in zip(found.load(index), dataset.load(index), strict=True):
            assert str(one) == str(other), "a damaged cache was believed"


def _make_loss(folder: Path) -> None:
    NeuroIoULoss(surrogate().float()).save(folder)


def _enter_loss(folder: Path) -> None:
    loss, sound = NeuroIoULoss.load(folder), NeuroIoULoss(surrogate().float())
    assert (loss.aggregate, loss.ignore_index) == (sound.aggregate, sound.ignore_index)
    logits, labels = batch(void_fraction=0.0)
    assert torch.equal(loss(logits, labels), sound(logits, labels))


def _make_store(folder: Path) -> None:
    store = FolderStore(folder)
    workspace = store.workspace(ADDRESS)
    _make_loss(workspace)
    # More than is hashed whenever it is found.
    save_file({"weight": torch.arange(300_000, dtype=torch.float32)}, workspace / MODEL_FILE)
    store.commit(ADDRESS, {"version": 1, "fields": {"seed": 3}})
    (folder / "sound").mkdir()
    for path in store.verified(ADDRESS).iterdir():
        (folder / "sound" / path.name).write_bytes(path.read_bytes())


def _enter_store(folder: Path) -> None:
    store = FolderStore(folder)
    found = store.find(ADDRESS)
    assert found is not None
    assert found == store.verified(ADDRESS)
    for sound in (folder / "sound").iterdir():
        assert sound.name == "manifest.json" or (found / sound.name).read_bytes() == sound.read_bytes()


def _make_vgg(folder: Path) -> None:
    torch.save(vgg16_tensors(width=1), folder / "vgg.pth")


def _enter_vgg(folder: Path) -> None:
    network = FCN(5, 32, width=1)
    load_vgg16(network, folder / "vgg.pth")
    tensors = vgg16_tensors(width=1)
    for name, layer in network.vgg16_layers().items():
        for key, value in layer.state_dict().items():
            assert torch.equal(value.flatten(), tensors[f"{name}.{key}"].flatten())


def _make_training(folder: Path) -> None:
    for name, stop in (("cut", ("pretrain", 1)), ("whole", None)):
        (folder / name).mkdir()
        try:
            pretrain(TRIAL, {}, folder / name, LocalWorker(listener=Heard(stop=stop)))
        except Pruned:
            assert stop


def _enter_training(folder: Path) -> None:
    pretrain(TRIAL, {}, folder / "cut", LocalWorker(listener=Heard()))
    for name in (HISTORY_FILE, MODEL_FILE):
        assert (folder / "cut" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def _records(folder: Path) -> StudyRecords:
    return StudyRecords(tiny_study(), FolderStore(folder))


def _make_records(folder: Path) -> None:
    records = _records(folder)
    records.begin()
    records.hand_out(RECORD.assignment)
    records.write(RECORD)


def _enter_records(folder: Path) -> None:
    records = _records(folder)
    assert all(record == RECORD for record in records)
    assert records.find(RECORD.assignment) in (RECORD, None)


def _enter_begun(folder: Path) -> None:
    records = _records(folder)
    assert all(assignment == RECORD.assignment for assignment in records.handed_out())
    records.begin()


DOORS = (
    Door("study", "study.yaml", _make_study, _enter_study),
    Door("png", "images/5.png", _make_data, _enter_data),
    Door("labels", "masks/1.png", _make_data, _enter_data),
    Door("jpeg", "images/1.jpg", _make_data, _enter_data),
    Door("names", "train.txt", _make_data, _enter_data),
    Door("camvid list", "val.txt", _make_camvid, _enter_camvid),
    Door("image cache", "*.samples", _make_samples, _enter_samples),
    Door("loss settings", "loss.json", _make_loss, _enter_loss),
    Door("surrogate settings", "surrogate.json", _make_loss, _enter_loss),
    Door("surrogate weights", "surrogate.safetensors", _make_loss, _enter_loss),
    Door("manifest", f"stages/{ADDRESS}/manifest.json", _make_store, _enter_store),
    Door("surrogate in the store", LISTED[0], _make_store, _enter_store),
    Door("network in the store", LISTED[1], _make_store, _enter_store),
    Door("VGG-16", "vgg.pth", _make_vgg, _enter_vgg),
    Door("checkpoint", "cut/.checkpoint-*.pt", _make_training, _enter_training),
    Door("history", f"cut/{HISTORY_FILE}", _make_training, _enter_training),
    Door("record", "studies/*/trials/ce-007.json", _make_records, _enter_records),
    Door("begun", "studies/*/begun/ce-007.json", _make_records, _enter_begun),
    Door("study in the store", "studies/*/study.json", _make_records, _enter_begun),
)
