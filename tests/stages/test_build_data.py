"""Every data set that a study file can name is built with what the file says of it."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from neuroiou_study.core.data.cached import CachedDataset
from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.category import CategoryDataset
from neuroiou_study.core.data.cityscapes import CityscapesDataset
from neuroiou_study.core.data.dataset import SPLITS, SegmentationDataset
from neuroiou_study.core.data.folder import FolderDataset
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.data.transforms import FLIP_ONLY, Augment
from neuroiou_study.core.data.voc import VocDataset
from neuroiou_study.spec.data import AugmentSpec, DataSpec
from neuroiou_study.stages import build
from tests.core.data.made import filled, make_folder, noise, write

SIZE = [24, 32]


def make_camvid(root: Path) -> dict[str, Any]:
    for split in ("train", "val"):
        for i in range(4):
            write(root / split / f"{i}.png", noise(i))
            write(root / f"{split}annot" / f"{i}.png", filled(i))
        (root / f"{split}.txt").write_text("".join(f"{split}/{i}.png {split}annot/{i}.png\n" for i in range(4)))
    return {}


def make_voc(root: Path) -> dict[str, Any]:
    folder = root / "VOC2011"
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name, ids in (("some", "abcd"), ("seg11valid", "ef")):
        (folder / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(ids))
        for i in ids:
            write(folder / "JPEGImages" / f"{i}.jpg", noise(0))
            write(folder / "Masks" / f"{i}.png", filled(20))
    return {"year": "2011", "train_list": "some", "val_list": "seg11valid", "labels": "Masks"}


def make_cityscapes(root: Path) -> dict[str, Any]:
    for split in ("train", "val"):
        for i in range(4):
            write(root / "leftImg8bit" / split / "ulm" / f"{i}_leftImg8bit.png", noise(i))
            write(root / "gtFine" / split / "ulm" / f"{i}_gtFine_labelIds.png", filled(33))
    return {}


def make_any(root: Path) -> dict[str, Any]:
    make_folder(root, ["a", "b", "c", "d"], ["e"])
    return {"class_names": ["sky", "road", "car"], "ignore_index": 77, "background": "road"}


MADE = {
    "camvid": (make_camvid, CamvidDataset),
    "voc": (make_voc, VocDataset),
    "cityscapes": (make_cityscapes, CityscapesDataset),
    "folder": (make_any, FolderDataset),
}


def spec_of(name: str, root: Path, **changes: Any) -> DataSpec:
    document = {"name": name, "root": str(root), "size": SIZE, "select_fraction": 0.5, **MADE[name][0](root), **changes}
    spec: DataSpec = TypeAdapter(DataSpec).validate_python(document)
    return spec


def shapes(**changes: Any) -> DataSpec:
    document = {"name": "shapes", "num_train": 9, "num_select": 5, "num_val": 3, "size": SIZE, **changes}
    spec: DataSpec = TypeAdapter(DataSpec).validate_python(document)
    return spec


def test_every_data_set_of_a_study_file_is_tested_here() -> None:
    names = {kind.model_fields["name"].annotation.__args__[0] for kind in get_args(get_args(DataSpec)[0])}
    assert names == {"shapes", *MADE}


@pytest.mark.parametrize("name", MADE)
def test_files_are_read_with_the_size_and_share_of_the_spec(name: str, tmp_path: Path) -> None:
    spec = spec_of(name, tmp_path)
    datasets: list[SegmentationDataset] = [build.dataset(spec, split) for split in SPLITS]
    assert all(type(dataset) is MADE[name][1] for dataset in datasets)
    assert [len(dataset) for dataset in datasets[:2]] == [2, 2]
    assert all(dataset.load(0).image.shape == (*SIZE, 3) for dataset in datasets)


@pytest.mark.parametrize("name", MADE)
def test_without_a_size_files_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    assert build.dataset(spec_of(name, tmp_path, size=None), "val").load(0).labels.shape == (6, 8)


def test_a_voc_study_reads_year_lists_and_folder_of_its_own(tmp_path: Path) -> None:
    spec = spec_of("voc", tmp_path)
    assert [sample.name for sample in build.dataset(spec, "val").samples()] == ["e.jpg", "f.jpg"]
    assert (build.dataset(spec, "val").load(0).labels == 20).all()


def test_a_folder_has_the_classes_void_and_background_of_its_study(tmp_path: Path) -> None:
    dataset = build.dataset(spec_of("folder", tmp_path), "train")
    assert dataset.class_names == ("sky", "road", "car")
    assert (dataset.ignore_index, dataset.background) == (77, 1)
    assert build.dataset(spec_of("folder", tmp_path / "other", background=None), "train").background is None


def test_shapes_have_the_numbers_size_and_seed_of_the_spec() -> None:
    datasets = [build.dataset(shapes(), split) for split in SPLITS]
    assert [type(dataset) for dataset in datasets] == [ShapesDataset] * 3
    assert [len(dataset) for dataset in datasets] == [9, 5, 3]
    image, other = (build.dataset(shapes(seed=seed), "val").load(0).image for seed in (0, 1))
    assert image.shape == (*SIZE, 3)
    assert (image != other).any()


@pytest.mark.parametrize("name", MADE)
def test_any_data_set_can_be_one_category_against_the_rest(name: str, tmp_path: Path) -> None:
    whole = build.dataset(spec_of(name, tmp_path), "val")
    category = whole.class_names[-1]
    dataset = build.dataset(spec_of(name, tmp_path / "again", category=category), "val")
    assert isinstance(dataset, CategoryDataset)
    assert dataset.class_names == ("rest", category)
    assert len(dataset) == len(whole)


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.category: car: must be a class of the data set \(background, disc"):
        build.dataset(shapes(category="car"), "train")


def test_augmentation_is_what_the_spec_says_and_a_flip_by_default() -> None:
    assert build.augment(AugmentSpec()) == FLIP_ONLY == Augment(True, (1.0, 1.0), None, 0.0)
    spec = AugmentSpec(flip=False, scale=(0.5, 2.0), crop=(24, 32), colour=0.25)
    assert build.augment(spec) == Augment(flip=False, scale=(0.5, 2.0), crop=(24, 32), colour=0.25)


@pytest.mark.parametrize("name", MADE)
def test_files_are_cached_where_that_is_asked_for(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "cache"))
    spec = spec_of(name, tmp_path / "data")
    for split in SPLITS:
        dataset, expected = build.dataset(spec, split, cached=True), list(build.dataset(spec, split).samples())
        assert isinstance(dataset, CachedDataset)
        assert [sample.name for sample in dataset.samples()] == [sample.name for sample in expected]
        for one, other in zip(dataset.samples(), expected, strict=True):
            assert np.array_equal(one.image, other.image) and np.array_equal(one.labels, other.labels)
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 3


def test_all_categories_share_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "cache"))
    spec = spec_of("folder", tmp_path / "data")
    for category in (None, "sky", "car"):
        dataset = build.dataset(spec.model_copy(update={"category": category}), "train", cached=True)
        assert isinstance(dataset, CachedDataset if category is None else CategoryDataset)
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 1


def test_shapes_are_drawn_and_never_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path))
    assert isinstance(build.dataset(shapes(), "train", cached=True), ShapesDataset)
    assert list(tmp_path.iterdir()) == []
