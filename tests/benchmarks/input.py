"""Images a second of the loader over what a training step consumes, with images from files and from the cache."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from time import perf_counter

import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from neuroiou_study.core.data.cached import cached, file_name
from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.files import FilesDataset
from neuroiou_study.core.data.folder import FolderDataset
from neuroiou_study.core.data.loading import Batch, Loader
from neuroiou_study.core.data.sample_file import SampleFile
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.data.transforms import FLIP_ONLY, Augment
from neuroiou_study.core.models.unet import UNet
from tests.benchmarks.figures import Figure, in_turns

GOAL = 1.2
"""The loader's images over the step's; the project's own: the step never waits."""
_SOURCES = ("files", "cache", "cache, all augmentation")
_NUM_BATCHES = 4
"""Batches of one measurement."""


@dataclass
class _Case:
    """A size of images, and the step that they feed."""

    height: int
    width: int
    batch_size: int
    unet_width: int
    rounds: int
    epochs: Iterator[int] = field(default_factory=count)

    @property
    def name(self) -> str:
        return f"{self.height}×{self.width} × {self.batch_size}, U-Net of width {self.unet_width}"

    @property
    def varied(self) -> Augment:
        """All that a study can ask for."""
        return Augment(scale=(0.5, 2.0), crop=(self.height, self.width), colour=0.3)

    def load(self, dataset: SegmentationDataset, augment: Augment = FLIP_ONLY) -> list[Batch]:
        """Some batches of an epoch that was not there before."""
        loader = Loader(dataset)
        batches = loader.training_batches(self.batch_size, seed=0, epoch=next(self.epochs), augment=augment)
        return list(islice(batches, _NUM_BATCHES))


def measure(quick: bool) -> Iterator[Figure]:
    cases = (
        [_Case(96, 128, 8, 8, rounds=5)]
        if quick
        else [_Case(96, 128, 8, 8, rounds=25), _Case(360, 480, 4, 8, rounds=8)]
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for case in cases:
                yield from _figures(case, _images(Path(folder), (case.height, case.width)), Path(folder) / "cache")
    finally:
        torch.set_num_threads(threads)


def _figures(case: _Case, plain: FilesDataset, folder: Path) -> Iterator[Figure]:
    yield from _making(case, plain, folder)
    stored, step = cached(plain, folder), _step(case, plain)
    calls: dict[str, Callable[[], object]] = {
        "files": lambda: case.load(plain),
        "cache": lambda: case.load(stored),
        "cache, all augmentation": lambda: case.load(stored, case.varied),
        "step": step,
    }
    seconds = in_turns(calls, case.rounds, warm_up=1)
    per_image = {name: value / case.batch_size / _NUM_BATCHES for name, value in seconds.items()}
    per_image["step"] *= _NUM_BATCHES
    yield from _ratios(case, per_image)


def _ratios(case: _Case, per_image: Mapping[str, float]) -> Iterator[Figure]:
    for name in _SOURCES:
        yield Figure(case.name, f"loader over step, {name}", per_image["step"] / per_image[name], at_least=GOAL)
    for name in _SOURCES:
        waits = per_image[name] / (per_image[name] + per_image["step"])
        yield Figure(case.name, f"epoch spent loading, {name}", 100 * waits, "%")
    yield Figure(case.name, "images/s of the loader, cache over files", per_image["files"] / per_image["cache"])


def _making(case: _Case, plain: FilesDataset, folder: Path) -> Iterator[Figure]:
    """What the cache itself costs: making it once, opening it, and the first look at each image."""
    begin = perf_counter()
    cached(plain, folder)
    yield Figure(case.name, "making the cache, an image", 1e3 * (perf_counter() - begin) / len(plain), "ms")
    opening = in_turns({"open": lambda: cached(plain, folder)}, 5)["open"]
    yield Figure(case.name, f"opening a cache of {len(plain)} images", 1e3 * opening, "ms")
    fresh = SampleFile(folder / file_name(plain))
    seconds = []
    for _ in range(5):
        begin = perf_counter()
        for index in range(len(fresh)):
            fresh.load(index)
        seconds.append(perf_counter() - begin)
    check = (seconds[0] - min(seconds[1:])) / len(fresh)
    yield Figure(case.name, "checking, an image, once in a process", 1e3 * check, "ms")


def _step(case: _Case, dataset: SegmentationDataset) -> "_Step":
    return _Step(UNet(dataset.num_classes, width=case.unet_width), case.load(dataset)[0], dataset.ignore_index)


class _Step:
    """A training step with cross-entropy, on the CPU or the GPU that is there."""

    def __init__(self, model: torch.nn.Module, batch: Batch, ignore_index: int) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.ignore_index = model.to(device), ignore_index
        self.images, self.labels = batch.images.to(device), batch.labels.to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        cross_entropy(self.model(self.images), self.labels, ignore_index=self.ignore_index).backward()
        self.optimizer.step()


def _images(folder: Path, size: tuple[int, int]) -> FilesDataset:
    """CamVid, resized to ``size``; shapes as PNG files where it is not at hand."""
    repository = Path(__file__).parents[2]
    camvid = Path(os.environ.get("NEUROIOU_DATA", repository.parent / "shared" / "data")) / "camvid"
    if camvid.is_dir():
        return CamvidDataset(camvid, "train", size=size)
    root = folder / "shapes"
    if not root.is_dir():
        _write_shapes(root)
    return FolderDataset(root, "train", ShapesDataset.class_names, size=size, select_fraction=0.0)


def _write_shapes(root: Path) -> None:
    """As many images as the largest measurement loads, of CamVid's size."""
    samples = list(ShapesDataset("train", 33, 360, 480).samples())
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for image, labels, name in samples:
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(labels).save(root / "masks" / f"{name}.png")
    (root / "train.txt").write_text("\n".join(sample.name for sample in samples[:-1]))
    (root / "val.txt").write_text(samples[-1].name)
