"""Networks."""

import importlib
import inspect
import os
from collections.abc import Callable
from typing import Literal, assert_never

import torch
from torch import nn

from neuroiou_study.core.models.fcn import FCN
from neuroiou_study.core.models.segnet import SegNet
from neuroiou_study.core.models.unet import UNet
from neuroiou_study.core.models.vgg import load_vgg16
from neuroiou_study.spec.model import CustomModelSpec, FcnSpec, ModelSpec, SegNetSpec, UNetSpec
from neuroiou_study.stages.weights import weights_file

ALLOW_CODE = "NEUROIOU_ALLOW_CODE"
"""The environment variable that is 1 where a study may run code of its own; ``--allow-code`` sets it."""
_STRIDES: dict[str, Literal[8, 16, 32]] = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}


def model(spec: ModelSpec, num_classes: int, seed: int, *, pretrained: bool = False) -> nn.Module:
    """A network whose random weights depend on ``seed`` alone.

    ``pretrained`` also reads the weights that ``spec`` names, if any; leave it out where all weights are loaded anyway.
    Raises ValueError, FileNotFoundError or RuntimeError if those weights or a custom network are not as they must be;
    nothing of a custom network is imported unless NEUROIOU_ALLOW_CODE is 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(spec, num_classes)
    if pretrained and isinstance(network, FCN | SegNet) and isinstance(spec, FcnSpec | SegNetSpec) and spec.weights:
        load_vgg16(network, weights_file(spec.weights))
    return network


def _network(spec: ModelSpec, num_classes: int) -> nn.Module:
    match spec:
        case UNetSpec():
            return UNet(num_classes, width=spec.width, levels=spec.levels)
        case FcnSpec():
            return FCN(num_classes, _STRIDES[spec.name], spec.width)
        case SegNetSpec():
            return SegNet(num_classes, spec.width)
        case CustomModelSpec():
            return _custom(spec, num_classes)
        case _:
            assert_never(spec)


def _custom(spec: CustomModelSpec, num_classes: int) -> nn.Module:
    if os.environ.get(ALLOW_CODE) != "1":
        rule = "runs code of its own: pass --allow-code if you trust it"
        raise ValueError(f"model.factory: {spec.factory}: {rule}")
    factory = _factory(spec.factory)
    try:
        inspect.signature(factory).bind(num_classes=num_classes, **spec.options)
    except TypeError as error:
        rule = f"{spec.factory} must take num_classes and each option: change model.options"
        raise ValueError(f"model.options: {', '.join(spec.options) or 'none'}: {error}: {rule}") from error
    network = factory(num_classes=num_classes, **spec.options)
    if not isinstance(network, nn.Module):
        rule = "must return a torch.nn.Module: change the factory"
        raise ValueError(f"model.factory: {spec.factory}: returned {type(network).__name__}: {rule}")
    return network


def _factory(address: str) -> Callable[..., object]:
    module_name, _, name = address.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        rule = "must be importable on every node: install the package or add its folder to PYTHONPATH"
        raise ValueError(f"model.factory: {address}: {error}: {rule}") from error
    factory: Callable[..., object] | None = getattr(module, name, None)
    if not callable(factory):
        has = "is not callable" if hasattr(module, name) else "does not exist"
        rule = "must be a function or class: correct the name after the colon"
        raise ValueError(f"model.factory: {address}: {name} {has} in {module.__file__}: {rule}")
    return factory
