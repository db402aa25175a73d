"""The gradient of a batch that goes through the network in parts, so that the memory is that of one part.

A loss is a ratio of totals over the whole batch and all workers, so its gradient is not made of the losses of parts.
First all parts go through the network and leave nothing but their logits. The loss of these has a gradient by the
logits; then each part goes through the network again, and back with its share of that gradient.

What differs from the whole batch: dropout draws other numbers, and batch normalisation sees a part at a time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Forward = Callable[[nn.Module, Tensor], Tensor]
"""What a network makes of images ``(B, 3, H, W)``: logits ``(B, C, H, W)``."""


@torch.no_grad()
def joint_logits(forward: Forward, model: nn.Module, parts: tuple[Tensor, ...]) -> Tensor:
    """``(B, C, H, W)`` logits of all ``parts``, whose gradient :func:`pull` takes.

    Random numbers and running statistics are left as they were, for the second time.
    """
    network = model.module if isinstance(model, DistributedDataParallel) else model
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    devices = {part.device for part in parts if part.is_cuda}
    with torch.random.fork_rng(devices):
        logits = torch.cat([forward(network, part) for part in parts])
    for buffer, before in buffers:
        buffer.copy_(before)
    return logits.requires_grad_()


def pull(forward: Forward, model: nn.Module, parts: tuple[Tensor, ...], logits: Tensor) -> None:
    """Add to the gradient of ``model``'s parameters what the gradient of ``logits``, those of ``parts``, is by them.

    Workers exchange gradients once, with the last part.
    """
    assert logits.grad is not None
    last = len(parts) - 1
    for number, (part, gradient) in enumerate(zip(parts, logits.grad.tensor_split(len(parts)), strict=True)):
        with nullcontext() if number == last else _alone(model):
            forward(model, part).backward(gradient)


def _alone(model: nn.Module) -> AbstractContextManager[None]:
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
