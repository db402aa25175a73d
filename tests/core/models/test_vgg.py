import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroiou_study.core.models.fcn import FCN
from neuroiou_study.core.models.segnet import SegNet
from neuroiou_study.core.models.vgg import load_vgg16
from tests.core.models.vgg_file import BN_CONVOLUTIONS, BN_NORMS, CONVOLUTIONS, vgg16_tensors
from tests.core.planted import planted, planted_object

FCN_FILE, SEGNET_FILE = r"vgg16-397923af\.pth", r"vgg16_bn-6c64b313\.pth"
Tensors = dict[str, Tensor]


def _saved(document: object, folder: Path) -> Path:
    torch.save(document, folder / "vgg.pth")
    return folder / "vgg.pth"


@pytest.mark.parametrize(
    ("network", "features", "connected"),
    [(FCN(2, 32, 1), CONVOLUTIONS, [0, 3]), (SegNet(2, 1), sorted(BN_CONVOLUTIONS + BN_NORMS), [])],
    ids=["vgg16", "vgg16_bn"],
)
def test_the_layers_have_torchvision_s_names(network: FCN | SegNet, features: list[int], connected: list[int]) -> None:
    names = [f"features.{index}" for index in features] + [f"classifier.{index}" for index in connected]
    assert list(network.vgg16_layers()) == names


def test_vgg16_lands_in_every_layer_of_fcn(tmp_path: Path) -> None:
    network, tensors = FCN(5, 32, width=2).eval(), vgg16_tensors()
    load_vgg16(network, _saved(tensors, tmp_path))
    images = torch.randn(1, 3, 224, 224)
    hidden = images
    for index in CONVOLUTIONS:
        hidden = F.conv2d(hidden, tensors[f"features.{index}.weight"], tensors[f"features.{index}.bias"], padding=1)
        hidden = F.max_pool2d(hidden.relu(), 2) if index in (2, 7, 14, 21, 28) else hidden.relu()
    hidden = hidden.flatten(1)
    for index in (0, 3):
        hidden = F.linear(hidden, tensors[f"classifier.{index}.weight"], tensors[f"classifier.{index}.bias"]).relu()
    found = images
    for block in network.blocks:
        found = F.max_pool2d(block(found), 2)
    found = network.head(found)
    assert hidden.std() > 0.1
    torch.testing.assert_close(found.flatten(1), hidden, rtol=1e-4, atol=1e-5)


def test_vgg16_bn_lands_in_every_layer_of_segnet(tmp_path: Path) -> None:
    network, tensors = SegNet(5, width=2).eval(), vgg16_tensors(batch_norm=True)
    load_vgg16(network, _saved(tensors, tmp_path))
    images = torch.randn(2, 3, 64, 32)
    hidden = found = images
    for conv, norm in zip(BN_CONVOLUTIONS, BN_NORMS, strict=True):
        hidden = F.conv2d(hidden, tensors[f"features.{conv}.weight"], tensors[f"features.{conv}.bias"], padding=1)
        weight, bias, mean, var = (
            tensors[f"features.{norm}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")
        )
        hidden = F.batch_norm(hidden, mean, var, weight, bias).relu()
        hidden = F.max_pool2d(hidden, 2) if norm in (4, 11, 21, 31) else hidden
    for number, block in enumerate(network.encoder):
        found = block(F.max_pool2d(found, 2) if number else found)
    assert hidden.std() > 0.1
    torch.testing.assert_close(found, hidden, rtol=1e-4, atol=1e-5)


def test_newer_files_count_batches_and_some_have_no_connected_layers(tmp_path: Path) -> None:
    tensors = vgg16_tensors(batch_norm=True)
    counted = tensors | {f"features.{norm}.num_batches_tracked": torch.tensor(7) for norm in BN_NORMS}
    load_vgg16(SegNet(5, width=2), _saved(counted, tmp_path))
    features = {name: tensor for name, tensor in tensors.items() if name.startswith("features.")}
    load_vgg16(SegNet(5, width=2), _saved(features, tmp_path))


def _without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"conv1.weight": torch.rand(64, 3, 7, 7)}, r"30 of 30 tensors are missing, first features\.0\.wei"),
        (lambda _: vgg16_tensors(batch_norm=True), r"\d+ of 30 tensors are missing, first features\.2\.weight: must"),
        (_without("classifier.3.bias"), r"1 of 30 tensors are missing, first classifier\.3\.bias: must be VGG-16"),
        (lambda tensors: tensors | {"features.30.bias": torch.rand(2)}, r"1 tensors more .*, first features\.30\.bias"),
        (lambda _: vgg16_tensors(width=3), r"features\.0\.weight is 3×3×3×3, the network's 2×3×3×3: .*model\.width 64"),
        (lambda tensors: tensors | {"classifier.0.weight": torch.rand(784, 128)}, r"784×128, the network's 128×784"),
        (
            lambda tensors: tensors | {"classifier.0.bias": torch.full((128,), torch.nan)},
            r"classifier\.0\.bias has NaN",
        ),
        (lambda tensors: {"state_dict": tensors, "epoch": 3}, r"dict: must be a dict of tensors"),
        (lambda tensors: list(tensors.values()), r"list: must be a dict of tensors"),
        (lambda _: nn.Conv2d(3, 2, 1), r"Weights only load failed.*: must be a readable file of tensors"),
    ],
)
def test_another_file_is_refused_and_changes_nothing(
    tmp_path: Path, change: Callable[[Tensors], object], message: str
) -> None:
    network = FCN(5, 32, width=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    path = _saved(change(vgg16_tensors()), tmp_path)
    with pytest.raises(ValueError, match=rf"^model\.weights: {path}: .*{message}.*: name torchvision's {FCN_FILE}$"):
        load_vgg16(network, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_segnet_asks_for_the_file_with_normalisation(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"are missing, first features\.1\.weight: .*: name torchvision's {SEGNET_FILE}"
    ):
        load_vgg16(SegNet(5, width=2), _saved(vgg16_tensors(), tmp_path))


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("wrap", [lambda thing: thing, lambda thing: {"features.0.weight": thing}])
def test_a_pickle_that_runs_something_is_refused_before_it_does(
    tmp_path: Path, is_zip: bool, wrap: Callable[[object], object]
) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(wrap(planted_object(tmp_path / "ran")), path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=rf"^model\.weights: {path}: Weights only load failed.*: must be a readable"):
        load_vgg16(FCN(5, 32, width=1), path)
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists(), "the file is not hostile, and the test shows nothing"


def test_a_bare_pickle_is_refused_before_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    path.write_bytes(planted(tmp_path / "ran"))
    with pytest.raises(ValueError, match=rf"^model\.weights: {path}: .*: must be a readable file of tensors"):
        load_vgg16(FCN(5, 32, width=1), path)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_inflates_is_refused(tmp_path: Path) -> None:
    torch.save(vgg16_tensors(width=1), tmp_path / "stored.pth")
    with (
        zipfile.ZipFile(tmp_path / "stored.pth") as stored,
        zipfile.ZipFile(tmp_path / "vgg.pth", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    with pytest.raises(ValueError, match=r"is compressed: must be a readable file of tensors"):
        load_vgg16(FCN(5, 32, width=1), tmp_path / "vgg.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.to_sparse(), r"is torch\.sparse_coo, torch\.float32: must be dense"),
        (lambda tensor: tensor.long(), r"is torch\.strided, torch\.int64: must be dense"),
        (lambda tensor: tensor.to("meta"), "is torch.strided, torch.float32: must be dense|cannot"),
    ],
)
def test_tensors_of_another_kind_are_refused(tmp_path: Path, change: Callable[[Tensor], Tensor], message: str) -> None:
    tensors = vgg16_tensors(width=2)
    path = _saved({**tensors, "features.0.weight": change(tensors["features.0.weight"])}, tmp_path)
    with pytest.raises(ValueError, match=rf"^model\.weights: {path}: .*{message}"):
        load_vgg16(FCN(5, 32, width=2), path)


def test_tensors_without_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dict: must be a dict of tensors"):
        load_vgg16(FCN(5, 32, width=2), _saved(dict(enumerate(vgg16_tensors().values())), tmp_path))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vgg.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^model\.weights: {path}: .+: must be a readable file of tensors: name"):
        load_vgg16(FCN(5, 32, width=1), path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "vgg.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match=rf"^model\.weights: {path}: no such file: .*: name .*{FCN_FILE}$"):
            load_vgg16(FCN(5, 32, width=1), path)
