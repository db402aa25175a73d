"""Many multilayer perceptrons computed as one: their values, their input gradients, and what both owe to the weights.

The networks of a stack have one activation and, padded with weights that are 0, one width; their depths may differ.
Layer l of all networks that have one is a single batched matrix product, so that a stack takes as many operations as
its deepest network alone. The derivatives are written out: those of the input gradient by automatic differentiation
twice would cost several times as much.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from neuroiou_study.core.curves import Curve, curve
from neuroiou_study.core.surrogate import Activation


class Layer(NamedTuple):
    """A hidden layer of n networks, which maps ``(n, B, in)`` to ``(n, B, out)``; or the output layer of all."""

    weight: Tensor  # (n, in, out): transposed to nn.Linear; of the output layer (S, 1, W): as nn.Linear
    bias: Tensor  # (n, 1, out)


@dataclass(frozen=True)
class StackShape:
    """S networks ``(F,)`` → scalar of one padded width W. Their depths stand in falling order.

    Raises ValueError if they do not.
    """

    num_features: int
    width: int
    depths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.depths or any(a < b for a, b in pairwise(self.depths)) or self.depths[-1] < 1:
            raise ValueError(f"depths: {self.depths}: at least one, of 1 and more, in falling order: sort them")

    @cached_property
    def alive(self) -> tuple[int, ...]:
        """How many networks have a layer 1, 2, …: they are the first ones."""
        return tuple(sum(depth >= layer for depth in self.depths) for layer in range(1, self.depths[0] + 1))

    @cached_property
    def ending(self) -> tuple[slice | None, ...]:
        """Which networks have layer 1, 2, … as their last hidden one."""
        return tuple(slice(after, here) if after < here else None for here, after in pairwise((*self.alive, 0)))

    @cached_property
    def blocks(self) -> tuple[tuple[int, int, int], ...]:
        """Shapes of each layer's weight and bias, the output layer's last."""
        entering = (self.num_features, *[self.width] * (len(self.alive) - 1))
        hidden = [((n, size, self.width), (n, 1, self.width)) for n, size in zip(self.alive, entering, strict=True)]
        number = len(self.depths)
        return tuple(block for pair in (*hidden, ((number, 1, self.width), (number, 1, 1))) for block in pair)

    @cached_property
    def num_parameters(self) -> int:
        """P, padding included."""
        return sum(map(math.prod, self.blocks))

    def parts(self, flat: Tensor) -> list[Tensor]:
        """``flat`` ``(P,)`` as the blocks it is made of; changes to them change ``flat``."""
        ends = accumulate(map(math.prod, self.blocks), initial=0)
        return [flat[a:b].view(block) for (a, b), block in zip(pairwise(ends), self.blocks, strict=True)]

    def layers(self, flat: Tensor) -> list[Layer]:
        """``flat`` ``(P,)`` as the layers it is made of, the output layer last; changes to them change ``flat``."""
        parts = self.parts(flat)
        return [Layer(weight, bias) for weight, bias in zip(parts[::2], parts[1::2], strict=True)]


class Stack:
    """The networks with the parameters ``weights`` ``(P,)``.

    Call :meth:`values` first, then :meth:`gradients` if they are wanted, then :meth:`descents`: each builds on what the
    one before found at these features.
    """

    def __init__(self, shape: StackShape, activation: Activation, weights: Tensor) -> None:
        self._shape, self._activation = shape, activation
        *self._hidden, self._output = shape.layers(weights)
        self._features = weights
        self._curves: list[Curve] = []
        self._pulls: list[Tensor] = []
        self._inflows: list[Tensor] = []

    def values(self, features: Tensor, *, curved: bool = False) -> Tensor:
        """``(S, B)`` the values at ``features`` ``(S, B, F)``; ``curved`` where input gradients are descended."""
        self._features, self._curves = features, []
        result = features.new_empty(features.shape[0], 1, features.shape[1])
        entering = features
        for (weight, bias), alive, ending in zip(self._hidden, self._shape.alive, self._shape.ending, strict=True):
            sums = torch.baddbmm(bias, _first(entering, alive), weight)
            found = curve(self._activation, sums, curved=curved)
            self._curves.append(found)
            entering = found.value
            if ending:
                weight, bias = self._output
                torch.baddbmm(bias[ending], weight[ending], entering[ending].mT, out=result[ending])
        return result.squeeze(1)

    def gradients(self, num_features: int) -> Tensor:
        """``(S, B, D)`` the derivatives of the values by the first D features."""
        above: Tensor | None = None
        self._pulls, self._inflows = [], []
        for number in reversed(range(len(self._hidden))):
            pull = self._pull(number, above)
            above = pull * self._curves[number].slope
            self._pulls.insert(0, pull)
            self._inflows.insert(0, above)
        return torch.bmm(self._inflows[0], self._hidden[0].weight[:, :num_features].mT)

    def descents(self, by_value: Tensor, by_gradient: Tensor | None, into: list[Layer]) -> None:
        """Write the derivatives of an error by all parameters ``into`` layers like the stack's.

        ``by_value`` ``(S, B)`` is the error's derivative by the values, ``by_gradient`` ``(S, B, D)`` that by the
        input gradients if the error has any; :meth:`gradients` was called then.
        """
        *hidden, output = into
        add = by_gradient is not None
        bends = [] if by_gradient is None else list(self._unwind(by_gradient, hidden, output))
        above: Tensor | None = None
        for number in reversed(range(len(hidden))):
            found, ending = self._curves[number], self._shape.ending[number]
            if ending:
                _product(output.weight[ending], by_value[ending].unsqueeze(1), found.value[ending], add=add)
            above = self._pull(number, above, by_value).mul_(found.slope)
            if bends:
                above += bends[number]
            entering = _first(self._curves[number - 1].value if number else self._features, self._shape.alive[number])
            _product(hidden[number].weight, entering.mT, above, add=add)
            torch.sum(above, 1, keepdim=True, out=hidden[number].bias)
        torch.sum(by_value.unsqueeze(2), 1, keepdim=True, out=output.bias)

    def _pull(self, number: int, above: Tensor | None, by_value: Tensor | None = None) -> Tensor:
        """``(n, B, W)`` the derivative by a layer's outputs: of the value, or of an error with ``by_value`` ``(S, B)``.

        ``above`` is that by the sums of the layer above.
        """
        ending = self._shape.ending[number]
        if not ending:
            assert above is not None
            return torch.bmm(above, self._hidden[number + 1].weight.mT)
        result = torch.empty_like(self._curves[number].value)
        if above is not None:
            torch.bmm(above, self._hidden[number + 1].weight.mT, out=result[: ending.start])
        weight = self._output.weight[ending]
        result[ending] = weight if by_value is None else by_value[ending].unsqueeze(2) * weight
        return result

    def _unwind(self, by_gradient: Tensor, hidden: list[Layer], output: Layer) -> Iterator[Tensor | float]:
        """Write what an error of the input gradients owes to the weights; yield what it owes to the sums of each layer.

        The gradient was made from the output layer down to the inputs; its derivative goes the other way.
        """
        size, entering = by_gradient.shape[2], by_gradient
        hidden[0].weight[:, size:] = 0
        for number, found in enumerate(self._curves):
            into, weight = hidden[number].weight, self._hidden[number].weight
            if number == 0:
                into, weight = into[:, :size], weight[:, :size]
            entering = _first(entering, self._shape.alive[number])
            torch.bmm(entering.mT, self._inflows[number], out=into)
            arriving = torch.bmm(entering, weight)
            entering = arriving * found.slope
            if ending := self._shape.ending[number]:
                torch.sum(entering[ending], 1, keepdim=True, out=output.weight[ending])
            yield 0.0 if found.bend is None else arriving.mul_(self._pulls[number]).mul_(found.bend)


def _first(networks: Tensor, number: int) -> Tensor:
    """The first ``number`` networks' part of a tensor."""
    return networks if networks.shape[0] == number else networks[:number]


def _product(into: Tensor, a: Tensor, b: Tensor, *, add: bool) -> None:
    """``a @ b`` written or added ``into`` a tensor."""
    if add:
        torch.baddbmm(into, a, b, out=into)
    else:
        torch.bmm(a, b, out=into)
