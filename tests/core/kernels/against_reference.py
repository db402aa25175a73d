"""Every kernel against the float64 reference, on inputs of all the kinds that a training meets."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from neuroiou_study.core.counts import Reading, probability_statistics
from neuroiou_study.core.kernels.choice import KernelName


class Case(NamedTuple):
    """Logits ``(B, C, H, W)`` of any layout and type, and labels ``(B, H, W)``."""

    name: str
    logits: Tensor
    labels: Tensor
    ignore_index: int = 255


def cases(seed: int, device: str = "cpu") -> Iterator[Case]:
    """Fresh random inputs: odd sizes, void, absent classes, ties, layouts, half precision."""
    yield Case("small", *_random(seed, 2, 4, 5, 7))
    yield Case("large", *_random(seed + 1, 3, 19, 97, 131))
    yield Case("one image", *_random(seed + 2, 1, 21, 64, 65))
    yield Case("two classes", *_random(seed + 3, 2, 2, 33, 1))
    yield Case("many classes", *_random(seed + 4, 2, 151, 16, 24))
    logits, labels = _random(seed + 5, 2, 11, 24, 32)
    yield Case("void is the next class", logits, torch.where(labels == 255, 11, labels), 11)
    yield Case("all void", logits, torch.full_like(labels, 255))
    yield Case("one class in the labels", logits, torch.full_like(labels, 3))
    yield Case("channels last", logits.to(memory_format=torch.channels_last), labels)
    yield Case("transposed", logits.transpose(2, 3), labels.transpose(1, 2))
    yield Case("part of a larger tensor", torch.cat([logits, logits], dim=3)[:, 1:9, 1:, ::2], labels[:, 1:] % 8)
    yield Case("bfloat16", logits.bfloat16(), labels)
    yield Case("float16, channels last", logits.half().to(memory_format=torch.channels_last), labels)
    yield Case("ties", logits.round(), labels)
    yield Case("constant", torch.zeros_like(logits), labels)
    yield Case("very sure", logits * 40, labels)


def differences(case: Case, reading: Reading, kernel: KernelName) -> tuple[bool, float, float]:
    """Are the counts equal? The greatest error of a sum by its count, and of the gradient by its greatest value."""
    exact = case.logits.detach().double().requires_grad_()
    mine = case.logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    expected = probability_statistics(
        exact, case.labels, reading=reading, ignore_index=case.ignore_index, kernel="reference"
    )
    found = probability_statistics(mine, case.labels, reading=reading, ignore_index=case.ignore_index, kernel=kernel)
    weights = torch.rand(found.sums.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    weights = weights.to(found.sums.device)
    for sums in (expected.sums, found.sums):
        (sums * weights).sum().backward()
    assert exact.grad is not None and mine.grad is not None
    scale = exact.grad.abs().max().clamp(min=1e-30)
    return (
        torch.equal(expected.counts, found.counts),
        float(((expected.sums - found.sums).detach().abs() / expected.counts.clamp(min=1)).max()),
        float((exact.grad - mine.grad).abs().max() / scale) if scale > 1e-20 else float(mine.grad.abs().max()),
    )


def tolerance(logits: Tensor) -> float:
    """Of a gradient by its greatest value: a few roundings of the type it is stored in, and of float32 logits."""
    stored = 4 * torch.finfo(logits.dtype).eps if logits.dtype in (torch.bfloat16, torch.float16) else 1e-5
    return stored + 2 * torch.finfo(torch.float32).eps * float(logits.abs().max())


def require_equal(
    kernel: KernelName,
    seed: int,
    device: str = "cpu",
    told: Callable[[str], object] = print,
    max_pixels: int | None = None,
) -> None:
    """Raise AssertionError naming the first case and reading in which ``kernel`` is not the reference."""
    for case in cases(seed):
        if max_pixels is not None and case.labels.numel() > max_pixels:
            continue
        moved = case._replace(logits=case.logits.to(device), labels=case.labels.to(device))
        for reading in get_args(Reading):
            same, sums, gradient = differences(moved, reading, kernel)
            told(f"{kernel}: {case.name}, {reading}: sums {sums:.1e}, gradient {gradient:.1e}")
            assert same, f"{kernel}: {case.name}, {reading}: other counts"
            assert sums < 2e-6, f"{kernel}: {case.name}, {reading}: sums differ by {sums:.1e}"
            assert gradient < tolerance(case.logits), f"{kernel}: {case.name}, {reading}: gradient {gradient:.1e}"


def _random(seed: int, images: int, classes: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, height, width, generator=generator)
    # The last class is never a label, and about every tenth pixel is void.
    labels = torch.randint(max(1, classes - 1), (images, height, width), generator=generator)
    logits.scatter_add_(1, labels.unsqueeze(1), 3 * torch.rand(images, 1, height, width, generator=generator))
    return logits, torch.where(torch.rand(labels.shape, generator=generator) < 0.1, 255, labels)
