"""The loss: forward and backward over eager cross-entropy's, memory over the logits', and the physical limit.

First every kernel that runs here is held against the float64 reference: a wrong loss has no speed.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.counts import probability_statistics
from neuroiou_study.core.kernels import choice
from neuroiou_study.core.kernels.choice import KernelName
from neuroiou_study.core.losses import SoftIoULoss
from neuroiou_study.core.lovasz import LovaszLoss
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.surrogate import Surrogate, SurrogateConfig
from tests.benchmarks.figures import Figure, in_turns
from tests.core.kernels.against_reference import require_equal

SHAPES = ((4, 21, 128, 128), (2, 19, 256, 512), (4, 21, 375, 500), (1, 19, 512, 1024))
LARGE = ((2, 19, 256, 512), (1, 19, 512, 1024))
SMALLEST = (4, 21, 128, 128)
COPY = "limit: read, read, write at the speed of a copy"
GOALS: dict[KernelName, dict[tuple[int, ...], float]] = {
    "eager": dict.fromkeys(SHAPES, 1.7),
    "compiled": {**dict.fromkeys(LARGE, 0.7), SMALLEST: 1.0},
    "triton": dict.fromkeys(SHAPES, 0.6),
}


def measure(quick: bool) -> Iterator[Figure]:
    """Every shape on one thread of the CPU, or on the GPU in both precisions."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kernels = _kernels(device)
    for kernel in kernels:
        require_equal(kernel, torch.seed() % 2**32, device, told=lambda _: None, max_pixels=2000 if quick else None)
        yield Figure("all inputs", f"{kernel}: cases that differ from the reference", 0, "", at_most=0)
    for shape in (SMALLEST, LARGE[1]) if quick else SHAPES:
        for dtype in (torch.float32, torch.bfloat16) if device == "cuda" else (torch.float32,):
            yield from _of_shape(shape, dtype, device, kernels, rounds=3 if quick else 31)


def _kernels(device: str) -> list[KernelName]:
    found: list[KernelName] = []
    for kernel in get_args(KernelName):
        with contextlib.suppress(ValueError):
            choice._require_runs(kernel, device)
            found.append(kernel)
    return [kernel for kernel in found if kernel not in ("auto", "reference")]


def _of_shape(
    shape: tuple[int, ...], dtype: torch.dtype, device: str, kernels: list[KernelName], rounds: int
) -> Iterator[Figure]:
    case = "×".join(map(str, shape)) + (", bfloat16" if dtype == torch.bfloat16 else "")
    logits, labels = example(shape, dtype, device)
    cross_entropy = _step(logits, lambda: F.cross_entropy(logits, labels, ignore_index=255))
    compiled = torch.compile(F.cross_entropy)
    losses: dict[str, Callable[[], Tensor]] = {
        **{f"NeuroIoU, {kernel}": _of_kernel(kernel, logits, labels) for kernel in kernels},
        **{f"statistics alone, {kernel}": _statistics(kernel, logits, labels) for kernel in kernels},
        "compiled cross-entropy": lambda: compiled(logits, labels, ignore_index=255),
        "soft IoU": lambda: SoftIoULoss()(logits, labels),
        "Lovász": lambda: LovaszLoss()(logits, labels),
        "NeuroIoU, reference": _of_kernel("reference", logits, labels),
    }
    steps = {name: _step(logits, loss) for name, loss in losses.items()}
    limit = _copying(logits) if device == "cuda" else _exponentials(logits)
    seconds = in_turns({"cross-entropy": cross_entropy, **steps, **limit}, rounds, warm_up=3)
    yield Figure(case, "cross-entropy, milliseconds", 1e3 * seconds["cross-entropy"], "ms")
    for name in (*steps, *limit):
        kernel = name.removeprefix("NeuroIoU, ") if name.startswith("NeuroIoU") else ""
        goal = GOALS.get(kernel, {}).get(shape)  # type: ignore[call-overload]
        yield Figure(case, f"{name} ÷ cross-entropy", seconds[name] / seconds["cross-entropy"], at_most=goal)
    for kernel in kernels:
        whole, part = seconds[f"NeuroIoU, {kernel}"], seconds[f"statistics alone, {kernel}"]
        yield Figure(
            case, f"surrogate part, {kernel} ÷ cross-entropy", (whole - part) / seconds["cross-entropy"], at_most=0.05
        )
        if device == "cuda":
            share = seconds[COPY] / whole
            yield Figure(case, f"share of copy bandwidth, {kernel}", share, "", at_least=0.7)
    for name in ("cross-entropy", *(f"NeuroIoU, {kernel}" for kernel in kernels)):
        step = {"cross-entropy": cross_entropy, **steps}[name]
        goal = None if name == "cross-entropy" else 1.3
        yield Figure(case, f"peak memory ÷ logits, {name}", peak_memory(step, logits), at_most=goal)


def example(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Logits that are right about four pixels in five, and labels in blobs, some void."""
    generator = torch.Generator().manual_seed(0)
    images, classes, height, width = shape
    coarse = torch.randint(classes, (images, 1, 1 + height // 16, 1 + width // 16), generator=generator)
    labels = F.interpolate(coarse.float(), (height, width)).squeeze(1).long()
    logits = 2 * torch.randn(shape, generator=generator)
    hit = torch.rand(labels.shape, generator=generator) < 0.8
    logits.scatter_add_(1, labels.unsqueeze(1), torch.where(hit, 8.0, 0.0).unsqueeze(1))
    labels[torch.rand(labels.shape, generator=generator) < 0.05] = 255
    return logits.to(device, dtype).requires_grad_(), labels.to(device)


def steep_surrogate() -> Surrogate:
    """One of the paper's size with random weights: as it starts it is flat, and all gradients would be 0."""
    surrogate = Surrogate(SurrogateConfig())
    for parameter in surrogate.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return surrogate


def peak_memory(step: Callable[[], object], logits: Tensor) -> float:
    """The most that ``step`` holds at once, beside its inputs, over the logits' bytes."""
    step()
    logits.grad = None
    if logits.is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / logits.nbytes
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    held = peak = 0
    assert profile.profiler is not None and profile.profiler.kineto_results is not None
    events = sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    for event in events:
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / logits.nbytes


def _of_kernel(kernel: KernelName, logits: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    loss_fn = NeuroIoULoss(steep_surrogate().to(logits.device))
    loss_fn.kernel = kernel
    return lambda: loss_fn(logits, labels)


def _statistics(kernel: KernelName, logits: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    return lambda: probability_statistics(logits, labels, kernel=kernel).sums.sum()


def _step(logits: Tensor, loss: Callable[[], Tensor]) -> Callable[[], None]:
    def step() -> None:
        logits.grad = None
        loss().backward()

    return step


def _copying(logits: Tensor) -> dict[str, Callable[[], object]]:
    """One and a half copies move as many bytes as two readings and a writing."""
    source, target = torch.empty_like(logits), torch.empty_like(logits)
    half = source.flatten()[: source.numel() // 2]
    return {COPY: lambda: (target.copy_(source), target.flatten()[: half.numel()].copy_(half))}


def _exponentials(logits: Tensor) -> dict[str, Callable[[], object]]:
    scores, scratch = logits.detach(), torch.empty_like(logits)
    return {"limit: two passes of exp": lambda: (torch.exp(scores, out=scratch), torch.exp(scores, out=scratch))}
