"""D as a stack of surrogates sees it: features, targets and gains of all its members, and the error of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.fitting import Rows
from neuroiou_study.core.gains import Gains, right_gains
from neuroiou_study.core.stacked import Layer, Stack
from neuroiou_study.core.surrogate import Surrogate


@dataclass(frozen=True)
class Slopes:
    """What makes gradients by the sums, times the union, of those by the features; and what these shall be."""

    by_sums: Tensor  # (V, M, D, 3) ∂feature / ∂sum × union / standard deviation
    gains: Tensor  # (V, M, 3) the true gains × union


@dataclass(frozen=True)
class StackedRows:
    """M rows as V different views (inputs and gains) show them; each surrogate of a stack has one of the views."""

    features: Tensor  # (V, M, F) z-scored; 0 where a view has fewer
    targets: Tensor  # (M,)
    slopes: Slopes | None  # where the gains are learned

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, views: Tensor, index: Tensor) -> "Batch":
        """The rows at ``index`` ``(B,)`` for surrogates with these ``views`` ``(S,)``."""
        at = (views.unsqueeze(1), index.unsqueeze(0))
        slopes = self.slopes and Slopes(self.slopes.by_sums[at], self.slopes.gains[at])
        return Batch(self.features[at], self.targets[index], slopes)


class Batch(NamedTuple):
    """B rows for S surrogates."""

    features: Tensor  # (S, B, F)
    targets: Tensor  # (B,)
    slopes: Slopes | None  # (S, B, D, 3) and (S, B, 3)


View = tuple[Surrogate, Gains]


def stacked_rows(rows: Rows, views: Sequence[View], *, with_gains: bool) -> StackedRows:
    """``rows`` as each of ``views`` shows them, by the inputs and the z-score of a surrogate."""
    features = [_features(surrogate, rows) for surrogate, _ in views]
    targets = rows.iou_loss.to(features[0].dtype)
    slopes = _slopes(rows, views) if with_gains else None
    return StackedRows(_padded(features), targets, slopes)


def _features(surrogate: Surrogate, rows: Rows) -> Tensor:
    net = surrogate.net
    return (surrogate.features(*rows.statistics).detach() - net.mean) / net.std


def _slopes(rows: Rows, views: Sequence[View]) -> Slopes:
    by_sums = [_by_sums(surrogate, rows).flatten(1) for surrogate, _ in views]
    gains = [_gains(surrogate, rows, kind) for surrogate, kind in views]
    return Slopes(_padded(by_sums).unflatten(2, (-1, 3)), torch.stack(gains))


def _by_sums(surrogate: Surrogate, rows: Rows) -> Tensor:
    """``(M, D, 3)``: of the first D features, those that are not constants."""
    inputs, net = surrogate.config.inputs, surrogate.net
    sums = rows.sums.detach().double().requires_grad_(True)
    with torch.enable_grad():
        features = inputs.features(rows.counts, sums, rows.num_pixels, rows.class_index)
        moving = features[:, : 6 if inputs.has_means else 3].unbind(1)
        parts = [torch.autograd.grad(each.sum(), sums, retain_graph=True)[0] for each in moving]
    scale = _union(rows).unsqueeze(2) / net.std[: len(parts), None]
    return (torch.stack(parts, dim=1) * scale).to(net.mean.dtype)


def _gains(surrogate: Surrogate, rows: Rows, kind: Gains) -> Tensor:
    gains = right_gains(rows.counts, surrogate.config.inputs.right_signs, kind)
    return (gains * _union(rows)).to(surrogate.net.mean.dtype)


def _union(rows: Rows) -> Tensor:
    return rows.counts.sum(-1, keepdim=True)


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """``(V, M, most columns)`` of V tensors ``(M, columns)``, with zeros at the end."""
    most = max(part.shape[1] for part in parts)
    return torch.stack([F.pad(part, (0, most - part.shape[1])) for part in parts])


def errors(stack: Stack, batch: Batch, gain_weights: Tensor) -> Tensor:
    """``(S,)`` each surrogate's mean objective on the rows of ``batch``; ``gain_weights`` ``(S,)``."""
    missed = stack.values(batch.features) - batch.targets
    by_value = missed.square().mean(1)
    if batch.slopes is None:
        return by_value
    missed_gains = _missed_gains(stack, batch.slopes)
    return by_value + gain_weights * missed_gains.square().sum(2).mean(1)


def descents(stack: Stack, batch: Batch, gain_weights: Tensor, into: list[Layer]) -> None:
    """Write the derivatives of :func:`errors` by all parameters of ``stack`` ``into`` layers like its own."""
    share = 2 / batch.targets.shape[0]
    by_value = (stack.values(batch.features, curved=batch.slopes is not None) - batch.targets).mul_(share)
    if batch.slopes is None:
        stack.descents(by_value, None, into)
        return
    missed = _missed_gains(stack, batch.slopes) * (share * gain_weights)[:, None, None]
    stack.descents(by_value, (batch.slopes.by_sums * missed.unsqueeze(2)).sum(3), into)


def _missed_gains(stack: Stack, slopes: Slopes) -> Tensor:
    """``(S, B, 3)`` the gradients by the sums minus the gains, each times the union."""
    gradients = stack.gradients(slopes.by_sums.shape[2])
    return (gradients.unsqueeze(3) * slopes.by_sums).sum(2).sub_(slopes.gains)
