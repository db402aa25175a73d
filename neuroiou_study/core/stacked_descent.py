"""Descending many surrogates at once: AdamW over one flat tensor, a cosine schedule and early stopping for each."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neuroiou_study.core.fitting import FitSettings
from neuroiou_study.core.stacked import Layer, Stack, StackShape
from neuroiou_study.core.stacked_rows import StackedRows, descents, errors
from neuroiou_study.core.surrogate import Surrogate

ROWS_AT_ONCE = 1024
"""Held-out rows that are measured together; bounds the memory. *Assumed*."""
BETAS = (0.9, 0.999)
"""Of AdamW; PyTorch's own, *cited* (Kingma and Ba 2015)."""
EPSILON = 1e-8
"""Of AdamW; PyTorch's own, *cited* (Kingma and Ba 2015)."""


_BY_PARAMETER = (
    *("_weights", "_best_weights", "_trained", "_gradient"),
    *("_mean", "_square", "_scratch", "_rates", "_kept"),
)


class Best(NamedTuple):
    """The least held-out error of a surrogate and its epoch, 0 if no epoch had a finite one."""

    error: float
    epoch: int


class Descent:
    """The surrogates of a stack while they are fitted; one that stops leaves the computation.

    ``members`` are of one activation, not monotone, the deepest first; ``views`` ``(S,)`` says which view of the rows
    each one has. At the end :attr:`best` says how each went, and the surrogates have the weights of their best epoch.
    """

    def __init__(self, members: Sequence[Surrogate], settings: Sequence[FitSettings], views: Tensor) -> None:
        self._members, self._settings = list(members), list(settings)
        self._views = views
        self._numbers = torch.arange(len(members))
        self._shape = _shape(members)
        self._weights, self._trained = _flattened(members, self._shape)
        self._best_weights = self._weights.clone()
        self._gradient, self._mean, self._square = (torch.zeros_like(self._weights) for _ in range(3))
        self._scratch, self._rates, self._kept = (torch.empty_like(self._weights) for _ in range(3))
        self._num_steps = 0
        self.best = [Best(math.inf, 0)] * len(members)
        self._open_stack()

    def run(self, seen: StackedRows, held_out: StackedRows, order: torch.Generator) -> None:
        """Fit all members to ``seen`` until each has stopped; ``order`` shuffles the rows of an epoch."""
        size, epoch = self._settings[0].batch_size, 0
        while len(self._numbers):
            epoch += 1
            self._set_rates(epoch)
            for index in torch.randperm(len(seen), generator=order).split(size):
                descents(self._stack, seen.batch(self._views, index), self._gain_weights, self._into)
                self._step()
            self._judge(epoch, self._errors(held_out))

    def _open_stack(self) -> None:
        """What follows from who is still being fitted."""
        self._stack = Stack(self._shape, self._members[0].config.activation, self._weights)
        self._into = self._shape.layers(self._gradient)
        self._gain_weights = self._of_each("flip_gain_weight")

    def _of_each(self, name: str) -> Tensor:
        """``(S,)`` a setting of each surrogate that is still being fitted."""
        values = [getattr(self._settings[number], name) for number in self._numbers.tolist()]
        return torch.tensor(values, dtype=self._weights.dtype)

    def _set_rates(self, epoch: int) -> None:
        """The learning rate and the decay of each parameter in this epoch; 0 for what only pads a width."""
        done = (epoch - 1) / self._of_each("epochs")
        rates = self._of_each("lr") * (1 + torch.cos(math.pi * done)) / 2
        decay = self._of_each("weight_decay")
        parts = (self._shape.parts(flat) for flat in (self._rates, self._kept, self._trained))
        for rate, kept, trained in zip(*parts, strict=True):
            torch.mul(trained, rates[: len(trained), None, None], out=rate)
            torch.mul(rate, -decay[: len(trained), None, None], out=kept).add_(1)

    def _step(self) -> None:
        """One step of AdamW with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2)."""
        self._num_steps += 1
        first, second = (1 - beta**self._num_steps for beta in BETAS)
        self._mean.lerp_(self._gradient, 1 - BETAS[0])
        self._square.mul_(BETAS[1]).addcmul_(self._gradient, self._gradient, value=1 - BETAS[1])
        # Both sides of m̂ / (√v̂ + ε) times √(1 - β₂ᵗ), which saves a pass over the parameters.
        torch.sqrt(self._square, out=self._scratch)
        self._scratch.add_(EPSILON * math.sqrt(second))
        torch.div(self._mean, self._scratch, out=self._scratch)
        self._weights.mul_(self._kept).addcmul_(self._scratch, self._rates, value=-math.sqrt(second) / first)

    def _errors(self, rows: StackedRows) -> Tensor:
        """``(S,)`` the objective of each surrogate on all ``rows``."""
        total = torch.zeros(len(self._numbers), dtype=torch.float64)
        for index in torch.arange(len(rows)).split(ROWS_AT_ONCE):
            total += errors(self._stack, rows.batch(self._views, index), self._gain_weights) * len(index)
        return total / len(rows)

    def _judge(self, epoch: int, found: Tensor) -> None:
        """Remember the weights of those that were never better, and let go those that have waited long enough."""
        better = torch.zeros(len(found), dtype=torch.bool)
        going = torch.ones(len(found), dtype=torch.bool)
        for place, (number, error) in enumerate(zip(self._numbers.tolist(), found.tolist(), strict=True)):
            if error < self.best[number].error:
                self.best[number], better[place] = Best(error, epoch), True
            settings, waited = self._settings[number], epoch - self.best[number].epoch
            going[place] = waited < settings.patience and epoch < settings.epochs
        for best, now in zip(*map(self._shape.parts, (self._best_weights, self._weights)), strict=True):
            torch.where(better[: len(now), None, None], now, best, out=best)
        if not going.all():
            self._let_go(going)

    def _let_go(self, going: Tensor) -> None:
        """Give those that stop their best weights, and go on without them."""
        for place in (~going).nonzero().flatten().tolist():
            _restore(self._members[int(self._numbers[place])], self._shape.layers(self._best_weights), place)
        for name in _BY_PARAMETER:
            parts = self._shape.parts(getattr(self, name))
            setattr(self, name, torch.cat([part[going[: len(part)]].flatten() for part in parts]))
        self._numbers, self._views = self._numbers[going], self._views[going]
        if len(self._numbers):
            depths = tuple(self._members[number].config.depth for number in self._numbers.tolist())
            self._shape = StackShape(self._shape.num_features, self._shape.width, depths)
            self._open_stack()


def _shape(members: Sequence[Surrogate]) -> StackShape:
    configs = [member.config for member in members]
    num_features, width = max(each.inputs.num_features for each in configs), max(each.width for each in configs)
    return StackShape(num_features, width, tuple(each.depth for each in configs))


def _flattened(members: Sequence[Surrogate], shape: StackShape) -> tuple[Tensor, Tensor]:
    """``(P,)`` the members' weights with zeros where a width or the inputs are padded, and 1 where they are not."""
    flat, trained = torch.zeros(shape.num_parameters), torch.zeros(shape.num_parameters)
    for place, member in enumerate(members):
        for theirs, one, ours in zip(
            _places(shape.layers(flat), member, place),
            _places(shape.layers(trained), member, place),
            _linears(member),
            strict=True,
        ):
            theirs.weight.copy_(ours.weight.detach().mT)
            theirs.bias.copy_(ours.bias.detach())
            one.weight.fill_(1)
            one.bias.fill_(1)
    return flat, trained


def _restore(member: Surrogate, layers: Sequence[Layer], place: int) -> None:
    with torch.no_grad():
        for theirs, ours in zip(_places(layers, member, place), _linears(member), strict=True):
            ours.weight.copy_(theirs.weight.mT)
            ours.bias.copy_(theirs.bias)


def _linears(member: Surrogate) -> list[torch.nn.Linear]:
    return [layer for layer in member.net.layers if isinstance(layer, torch.nn.Linear)]


def _places(layers: Sequence[Layer], member: Surrogate, place: int) -> list[Layer]:
    """Where the weights ``(in, out)`` and biases ``(out,)`` of the member at ``place`` stand in a stack's layers."""
    linears = _linears(member)
    own = [*layers[: len(linears) - 1], layers[-1]]
    places = [
        Layer(layer.weight[place, : ours.in_features, : ours.out_features], layer.bias[place, 0, : ours.out_features])
        for layer, ours in zip(own[:-1], linears, strict=False)
    ]
    output = own[-1]
    return [*places, Layer(output.weight[place, :, : linears[-1].in_features].mT, output.bias[place, 0])]
