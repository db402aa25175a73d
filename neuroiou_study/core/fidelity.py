"""Is a surrogate a good *loss*? A good fit does not say so: R² .9999 has been the worst loss (``docs/science.md``).

What matters is the gradient that reaches the network. Per row, the derivative of the surrogate by the TP, FP and FN
sum is compared with the sign that helps, with the derivative of the IoU loss by the counts, and with the true gain of
moving one pixel (flip gain).
"""

import itertools

import torch
from torch import Tensor

from neuroiou_study.core.counts import FN, FP, SETS, TP
from neuroiou_study.core.fitting import Rows, estimate_and_gradient
from neuroiou_study.core.gains import Gains, analytic_gradient, flip_gains, right_gains
from neuroiou_study.core.surrogate import Surrogate

IOU_BINS = (0.0, 0.25, 0.5, 0.75, 1.0)


def fidelity(surrogate: Surrogate, rows: Rows, gains: Gains = "step") -> dict[str, float]:
    """How well ``surrogate`` does on ``rows`` it was not fitted on, as flat names and numbers.

    ``mse``, ``r2``, ``spearman`` of the value; ``sign_*`` the fraction of rows, and ``pixel_sign_*`` of pixels, whose
    derivative by that sum has the sign that helps (rows where the set is empty do not count); ``gradient_cosine`` the
    mean cosine with the derivative of the IoU loss, ``flip_gain_cosine`` with the flip gains; ``gain_error`` the RMS of
    the gradient's difference to ``gains`` over the RMS of these, each times the union; ``dead_fn_pull`` the FN
    derivative over its gain where nothing of the class is right (1 is as it should be); ``gradient_size_iou_*``
    the mean gradient norm × union by IoU bin, rows without a TP apart (``gradient_size_dead``). NaN where no row
    qualifies.
    """
    estimate, gradient = value_and_gradient(surrogate, rows)
    return {
        **_value_fidelity(estimate, rows.iou_loss),
        **_sign_fidelity(gradient, rows, surrogate.config.inputs.right_signs),
        **_direction_fidelity(gradient, rows, surrogate.config.inputs.right_signs),
        **_gain_fidelity(gradient, rows, right_gains(rows.counts, surrogate.config.inputs.right_signs, gains)),
        **_gradient_sizes(gradient, rows),
    }


def value_and_gradient(surrogate: Surrogate, rows: Rows) -> tuple[Tensor, Tensor]:
    """The surrogate's value ``(M,)`` and its derivative by the three sums ``(M, 3)`` at ``rows``, both float64."""
    estimate, gradient = estimate_and_gradient(surrogate, rows)
    return estimate.detach().double(), gradient.detach()


def _value_fidelity(estimate: Tensor, target: Tensor) -> dict[str, float]:
    mse = (estimate - target).square().mean()
    variance = (target - target.mean()).square().mean()
    return {"mse": float(mse), "r2": float(1 - mse / variance), "spearman": _spearman(estimate, target)}


def _spearman(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([_ranks(a), _ranks(b)]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    """Ranks of ``values`` ``(M,)``; ties share their mean rank."""
    _, inverse, sizes = values.unique(return_inverse=True, return_counts=True)
    mean_rank: Tensor = sizes.cumsum(0) - (sizes - 1) / 2
    return mean_rank[inverse].double()


def _sign_fidelity(gradient: Tensor, rows: Rows, right_signs: tuple[int, int, int]) -> dict[str, float]:
    right = gradient * torch.tensor(right_signs, dtype=gradient.dtype) > 0
    report = {}
    for index, name in enumerate(SETS):
        pixels = rows.counts[:, index].double()
        report[f"sign_{name}"] = float(right[pixels > 0, index].double().mean())
        report[f"pixel_sign_{name}"] = float((right[:, index] * pixels).sum() / pixels.sum())
    return report


def _direction_fidelity(gradient: Tensor, rows: Rows, right_signs: tuple[int, int, int]) -> dict[str, float]:
    # The references are written for the signs (-, +, +); other readings are turned to them.
    turned = gradient * torch.tensor(right_signs, dtype=gradient.dtype) * torch.tensor([-1.0, 1.0, 1.0])
    references = {"gradient_cosine": analytic_gradient(rows.counts), "flip_gain_cosine": flip_gains(rows.counts)}
    return {name: _mean_cosine(turned, reference) for name, reference in references.items()}


def _mean_cosine(a: Tensor, b: Tensor) -> float:
    some = (a.norm(dim=-1) > 0) & (b.norm(dim=-1) > 0)
    return float(torch.cosine_similarity(a[some], b[some], dim=-1, eps=1e-300).mean())


def _gain_fidelity(gradient: Tensor, rows: Rows, gains: Tensor) -> dict[str, float]:
    union = rows.counts.sum(-1, keepdim=True).double()
    error, size = ((gradient - gains) * union).square().sum(-1).mean(), (gains * union).square().sum(-1).mean()
    dead = rows.counts[:, TP] == 0
    pull = (gradient / gains)[dead, FN].mean()
    return {"gain_error": float((error / size).sqrt()), "dead_fn_pull": float(pull)}


def _gradient_sizes(gradient: Tensor, rows: Rows) -> dict[str, float]:
    union = rows.counts.sum(-1).double()
    size = gradient.norm(dim=-1) * union
    iou = 1 - rows.iou_loss
    dead = rows.counts[:, TP] == 0
    report = {"gradient_size_dead": float(size[dead].mean())}
    for low, high in itertools.pairwise(IOU_BINS):
        inside = ~dead & (iou > low) & (iou <= high)
        report[f"gradient_size_iou_{low:.2f}_{high:.2f}"] = float(size[inside].mean())
    return report


assert (TP, FP, FN) == (0, 1, 2), "the references above are written in this order"
