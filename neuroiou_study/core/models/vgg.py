"""VGG-16's convolutions (Simonyan and Zisserman 2015), with torchvision's weights where wanted.

Usage::

    network = FCN(num_classes=21)
    load_vgg16(network, "vgg16-397923af.pth")
"""

import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

_BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Channels of each convolution of each block, in widths of 64. *Cited*: Simonyan and Zisserman, table 1, column D."""

_DAMAGED = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
    *(ArithmeticError, pickle.PickleError, struct.error, zipfile.BadZipFile),
)
"""What torch.load raises for a file that is no pickle of tensors. *Measured* with 8000 files, cut short or garbled."""


class OnVgg16(Protocol):
    """A network that begins with VGG-16."""

    def vgg16_layers(self) -> dict[str, nn.Module]:
        """The layers with weights under torchvision's names, in order."""


def vgg16_channels(width: int) -> list[list[tuple[int, int]]]:
    """(inputs, outputs) of each convolution of each of the five blocks; ``width`` 64 is the original."""
    blocks, inputs = [], 3
    for multiples in _BLOCKS:
        outputs = [multiple * width for multiple in multiples]
        blocks.append(list(zip([inputs, *outputs], outputs, strict=False)))
        inputs = outputs[-1]
    return blocks


def vgg16_blocks(width: int, *, batch_norm: bool = False) -> nn.ModuleList:
    """The five blocks of 3 × 3 convolutions, without the pooling that follows each."""
    return nn.ModuleList(
        nn.Sequential(*(layer for pair in pairs for layer in convolution(*pair, batch_norm=batch_norm)))
        for pairs in vgg16_channels(width)
    )


def convolution(inputs: int, outputs: int, *, batch_norm: bool) -> list[nn.Module]:
    """A 3 × 3 convolution that keeps the size, normalised if wanted, and a ReLU."""
    # The bias has no effect before the normalisation; torchvision's weights and SegNet's definition have it.
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    return [conv, *([nn.BatchNorm2d(outputs)] if batch_norm else []), nn.ReLU(inplace=True)]


def feature_layers(blocks: Iterable[nn.Module]) -> dict[str, nn.Module]:
    """The layers of ``blocks`` that have weights, under torchvision's names."""
    layers, index = {}, 0
    for block in blocks:
        for layer in block.children():
            if next(layer.parameters(), None) is not None:
                layers[f"features.{index}"] = layer
            index += 1
        index += 1  # torchvision counts the pooling too
    return layers


def he_initialise(network: nn.Module) -> None:
    """Draw every convolution's weights as He et al. 2015 for ReLU, so that 16 layers can learn; biases are 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None, "all of these networks' convolutions have one"
            nn.init.zeros_(layer.bias)


def load_vgg16(network: OnVgg16, path: Path | str) -> None:
    """Give every layer of VGG-16 in ``network`` the weights of torchvision's file at ``path``.

    The layers may have another width than 64 if the file has it too. The original's last layer, of ImageNet's classes,
    is left out. Raises FileNotFoundError, or ValueError if the file holds anything else; ``network`` is then unchanged.
    Nothing that the file may hold is run.
    """
    layers = network.vgg16_layers()
    wanted = _weights(layers)
    batch_norm = any(isinstance(layer, nn.BatchNorm2d) for layer in layers.values())
    remedy = f"name torchvision's {'vgg16_bn-6c64b313' if batch_norm else 'vgg16-397923af'}.pth"
    found = _read(Path(path), remedy)
    try:
        _check_names(found, wanted)
        for name, tensor in wanted.items():
            _check_tensor(name, found[name], _file_shape(name, tensor))
    except ValueError as error:
        raise ValueError(f"model.weights: {path}: {error}: {remedy}") from None
    for name, tensor in wanted.items():
        # A fully connected layer on C × 7 × 7 is a 7 × 7 convolution, with its weights in the same order.
        tensor.copy_(found[name].reshape(tensor.shape))


def _weights(layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of ``layers``, sharing their memory, under the names of the file."""
    tensors = {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()}
    return {name: tensor for name, tensor in tensors.items() if not _is_counter(name)}


def _is_counter(name: str) -> bool:
    """Is it a number that files of older torchvisions do not have, and that nothing here uses?"""
    return name.endswith(".num_batches_tracked")


def _read(path: Path, remedy: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"model.weights: {path}: no such file: must be there on every node: {remedy}")
    try:
        _require_sound_archive(path)
        document = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"model.weights: {path}: {reason}: must be a readable file of tensors: {remedy}") from error
    if not isinstance(document, dict) or not all(_is_named_tensor(*item) for item in document.items()):
        raise ValueError(f"model.weights: {path}: {type(document).__name__}: must be a dict of tensors: {remedy}")
    return document


def _require_sound_archive(path: Path) -> None:
    """Raise ValueError if a small file would become a large one (torch.save compresses nothing), or a byte changed."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                if record.compress_type != zipfile.ZIP_STORED or record.file_size > path.stat().st_size:
                    raise ValueError(f"{record.filename} is compressed")
            damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"the checksum of {damaged} differs")


def _is_named_tensor(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"{len(missing)} of {len(wanted)} tensors are missing, first {missing[0]}: must be VGG-16")
    other = [name for name in found if name not in wanted and not _is_counter(name)]
    strange = [name for name in other if not name.startswith("classifier.")]
    if strange:
        raise ValueError(f"{len(strange)} tensors more than VGG-16 has, first {strange[0]}: must be VGG-16")


def _file_shape(name: str, tensor: Tensor) -> tuple[int, ...]:
    is_connected = name.startswith("classifier.") and tensor.dim() > 1
    return (tensor.shape[0], tensor[0].numel()) if is_connected else tuple(tensor.shape)


def _check_tensor(name: str, found: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(found.shape) != shape:
        sizes = f"{'×'.join(map(str, found.shape))}, the network's {'×'.join(map(str, shape))}"
        raise ValueError(f"{name} is {sizes}: must be equal, as they are with model.width 64")
    if found.layout is not torch.strided or not found.is_floating_point() or found.is_meta:
        raise ValueError(f"{name} is {found.layout}, {found.dtype}: must be dense numbers in floating point")
    if not found.isfinite().all():
        raise ValueError(f"{name} has NaN or infinite numbers: must be finite")
