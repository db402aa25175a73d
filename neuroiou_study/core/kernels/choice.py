"""Which kernel is taken: the fastest that runs here, unless one is asked for.

The answer depends on the logits' device, type and size alone, so that a resumed training computes what an uninterrupted
one would. ``NEUROIOU_KERNEL`` in the environment overrules ``auto``.
"""

import functools
import importlib.util
import logging
import os
from typing import Literal, get_args

import torch
from torch import Tensor

from neuroiou_study.core.kernels import compiled, eager
from neuroiou_study.core.kernels.fused import Kernel

KernelName = Literal["auto", "reference", "eager", "compiled", "triton"]
VARIABLE = "NEUROIOU_KERNEL"
COMPILE_FROM_PIXELS = 1 << 17
"""Pixels of a batch from which ``auto`` compiles. *Measured*: there it saves 10 ms a step; compiling takes seconds."""

_log = logging.getLogger(__name__)


def choose(logits: Tensor, name: KernelName = "auto") -> Kernel | None:
    """The kernel for ``logits`` ``(B, C, H, W)``; None is the reference. The first time, the log says which.

    Raises ValueError if the name is unknown, or that kernel does not run on the logits' device.
    """
    if torch.compiler.is_compiling():  # somebody compiles the loss itself: give the compiler operations it knows
        return None
    asked = os.environ.get(VARIABLE, name) if name == "auto" else name
    chosen = _automatic(logits) if asked == "auto" else asked
    _require_runs(chosen, logits.device.type)
    _tell(chosen, logits.device.type, asked)
    return _kernel(chosen)


def _automatic(logits: Tensor) -> str:
    if logits.device.type == "cuda":
        return "triton" if _has_triton() and logits.dtype != torch.float64 else "reference"
    if logits.device.type != "cpu":
        return "reference"
    num_pixels = len(logits) * logits.shape[2:].numel()
    is_large = num_pixels >= COMPILE_FROM_PIXELS and logits.dtype != torch.float64
    return "compiled" if is_large and compiled.works() else "eager"


def _require_runs(name: str, device: str) -> None:
    if name not in get_args(KernelName):
        raise ValueError(f"kernel: {name!r}: one of {', '.join(get_args(KernelName))}: choose one")
    where = {"eager": "cpu", "compiled": "cpu", "triton": "cuda"}.get(name, device)
    if where != device:
        raise ValueError(f"kernel: {name}: runs on {where}, the logits are on {device}: use auto")
    if name == "compiled" and not compiled.works():
        raise ValueError("kernel: compiled: needs a C++ compiler: install g++ (or name one in CXX), or use auto")
    if name == "triton" and not _has_triton():
        raise ValueError("kernel: triton: needs the package triton: install it, or use auto")


def _kernel(name: str) -> Kernel | None:
    match name:
        case "eager":
            return eager.KERNEL
        case "compiled":
            return compiled.KERNEL
        case "triton":
            from neuroiou_study.core.kernels.on_gpu import TritonKernel

            return TritonKernel()
    return None


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _tell(chosen: str, device: str, asked: str) -> None:
    _log.info("IoU statistics on %s: kernel %s%s", device, chosen, "" if asked == "auto" else " (asked for)")
