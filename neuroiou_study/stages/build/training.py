"""Optimisers and learning rate schedules."""

import math
from typing import assert_never

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from neuroiou_study.spec.training import (
    AdamSpec,
    AdamWSpec,
    ConstantSpec,
    CosineSpec,
    OptimizerSpec,
    PolySpec,
    ScheduleSpec,
    SGDSpec,
)


def optimizer(spec: OptimizerSpec, network: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimiser of all of ``network``'s parameters."""
    match spec:
        case AdamWSpec():
            return torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=spec.weight_decay)
        case AdamSpec():
            return torch.optim.Adam(network.parameters(), lr=lr, weight_decay=spec.weight_decay)
        case SGDSpec():
            return torch.optim.SGD(network.parameters(), lr=lr, momentum=spec.momentum, weight_decay=spec.weight_decay)
        case _:
            assert_never(spec)


def schedule(spec: ScheduleSpec, optimizer: torch.optim.Optimizer, num_steps: int) -> LambdaLR:
    """The learning rate over ``num_steps`` steps of ``optimizer``; step it after each."""
    return LambdaLR(optimizer, lambda step: _factor(spec, step / max(1, num_steps)))


def _factor(spec: ScheduleSpec, done: float) -> float:
    """What the learning rate is multiplied with when a fraction ``done`` of the steps is over."""
    match spec:
        case ConstantSpec():
            return 1.0
        case PolySpec():
            return float(max(0.0, 1 - done) ** spec.power)
        case CosineSpec():
            return (1 + math.cos(math.pi * min(1.0, done))) / 2
        case _:
            assert_never(spec)
