"""What is found at the door: damage, sizes that do not fit one batch, batches that do not fit the data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.check_data import check_data, num_samples
from tests.core.data.made import make_folder, noise, truncate, write
from tests.stages.tiny import tiny_study

ONE = {"batch_size": 1}
SIZES = r"data: split {split} has {names}: images of one batch must have one size: set data\.size, or to 1: {settings}$"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``c`` is trained on, ``d`` is for select; a test may give one another size."""
    make_folder(tmp_path, ["a", "b", "c", "d"], ["e", "f"])
    return tmp_path


def study(root: Path, data: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    document = {"name": "folder", "root": str(root), "class_names": ["x", "y", "z"], "select_fraction": 0.5}
    batches = {"pretrain": {"epochs": 2, "batch_size": 2}, "finetune": {"epochs": 2, "batch_size": 2}}
    return tiny_study(data={**document, **(data or {})}, **{**batches, **changes})


def widen(root: Path, name: str) -> None:
    write(root / "images" / f"{name}.png", np.zeros((6, 9, 3)))
    write(root / "masks" / f"{name}.png", np.zeros((6, 9)))


def test_every_sample_is_opened_and_named(root: Path) -> None:
    assert list(check_data(study(root))) == ["a.png", "c.png", "b.png", "d.png", "e.png", "f.png"]
    assert num_samples(study(root)) == 6


@pytest.mark.parametrize(
    ("split", "name", "names", "settings"),
    [
        ("train", "c", "a.png of 8×6 and c.png of 9×6", "collect_pairs.batch_size, pretrain.batch_size, finetune.ba.*"),
        ("select", "d", "b.png of 8×6 and d.png of 9×6", "pretrain.batch_size, finetune.batch_size, evaluate.batc.*"),
        ("val", "f", "e.png of 8×6 and f.png of 9×6", "evaluate.batch_size"),
    ],
)
def test_sizes_that_do_not_fit_one_batch_are_named(
    root: Path, split: str, name: str, names: str, settings: str
) -> None:
    widen(root, name)
    with pytest.raises(ValueError, match=SIZES.format(split=split, names=names, settings=settings)):
        list(check_data(study(root)))
    assert len(list(check_data(study(root, {"size": [8, 8]})))) == 6


def test_a_crop_frees_training_and_its_own_selection(root: Path) -> None:
    widen(root, "c")
    cropped = {"augment": {"crop": [8, 8]}}
    message = SIZES.format(split="train", names=".*", settings="collect_pairs.batch_size")
    with pytest.raises(ValueError, match=message):
        list(check_data(study(root, cropped)))
    assert len(list(check_data(study(root, cropped, collect_pairs=ONE)))) == 6
    widen(root, "d")
    message = SIZES.format(split="select", names=".*", settings="evaluate.batch_size")
    with pytest.raises(ValueError, match=message):
        list(check_data(study(root, cropped, collect_pairs=ONE)))
    assert len(list(check_data(study(root, cropped, collect_pairs=ONE, evaluate=ONE)))) == 6


def test_images_one_by_one_may_have_any_size(root: Path) -> None:
    for name in "cdf":
        widen(root, name)
    alone = {name: {"epochs": 2, **ONE} for name in ("pretrain", "finetune")}
    assert len(list(check_data(study(root, collect_pairs=ONE, evaluate=ONE, **alone)))) == 6
    searched = {"finetune.batch_size": {"int": [1, 2]}}
    with pytest.raises(ValueError, match=r"one batch must have one size.*: finetune\.batch_size$"):
        list(check_data(study(root, collect_pairs=ONE, evaluate=ONE, search=searched, **alone)))


def test_damage_is_named_when_it_is_reached(root: Path) -> None:
    write(root / "images" / "d.png", noise(3))
    truncate(root / "images" / "d.png")
    checked = check_data(study(root))
    assert [next(checked) for _ in range(3)] == ["a.png", "c.png", "b.png"]
    with pytest.raises(ValueError, match=r"images/d\.png: .*must be a readable image"):
        next(checked)


def test_an_empty_split_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="data: split select is empty: it needs an image"):
        list(check_data(study(root, {"select_fraction": 0.01})))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrain": {"epochs": 2, "batch_size": 3}}, "^pretrain.batch_size: 3: .*at most the 2 training images"),
        ({"search": {"finetune.batch_size": {"int": [1, 4]}}}, "^search.finetune.batch_size: 4: "),
        ({"resources": {"workers": 3}}, "^pretrain.batch_size: 2: at least one image for each of 3 workers"),
    ],
)
def test_batches_that_do_not_fit_the_data_are_named(root: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(check_data(study(root, **changes)))


def test_class_weights_that_do_not_fit_the_classes_are_refused(root: Path) -> None:
    weighted = {"name": "weighted_cross_entropy", "class_weights": [1.0, 2.0]}
    with pytest.raises(ValueError, match="class_weights: 2 numbers: one for each of 3 classes"):
        list(check_data(study(root, controls={"weighted": weighted})))


def test_a_network_that_cannot_be_built_is_found_before_any_sample_is_opened(tmp_path: Path) -> None:
    study = tiny_study(model={"name": "fcn8s", "width": 2, "weights": str(tmp_path / "vgg16.pth")})
    with pytest.raises(FileNotFoundError, match=r"vgg16\.pth"):
        next(check_data(study))
    with pytest.raises(ValueError, match=r"model\.factory"):
        next(check_data(tiny_study(model={"name": "custom", "factory": "no.such:network"})))
