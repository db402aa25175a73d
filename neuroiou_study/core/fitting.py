"""Fitting a surrogate to D, the rows of (statistics, IoU loss) that a trained network left (paper eq. 3)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.gains import Gains, right_gains
from neuroiou_study.core.metrics import iou_loss
from neuroiou_study.core.reduction import in_labels, valid_pixels
from neuroiou_study.core.surrogate import Surrogate, SurrogateConfig


@dataclass(frozen=True)
class Rows:
    """M rows of D: the statistics of one class in one image, or in a few images added up."""

    counts: Tensor  # (M, 3) |TP|, |FP|, |FN|
    sums: Tensor  # (M, 3) float64
    num_pixels: Tensor  # (M,) valid pixels behind the row
    class_index: Tensor  # (M,)
    image: Tensor  # (M,) which image, or pool of images, the row is from

    def __len__(self) -> int:
        return len(self.image)

    def select(self, index: Tensor) -> "Rows":
        """The rows at ``index``: a bool mask ``(M,)`` or positions."""
        return Rows(*(getattr(self, each.name)[index] for each in fields(self)))

    @classmethod
    def concatenated(cls, parts: "Sequence[Rows]") -> "Rows":
        """The rows of all ``parts``; an image that is in several of them must have one number in all."""
        return cls(*(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    @property
    def statistics(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a surrogate is called with: counts, sums, valid pixels, class."""
        return self.counts, self.sums, self.num_pixels, self.class_index

    @property
    def iou_loss(self) -> Tensor:
        """``(M,)`` float64: the target."""
        return iou_loss(self.counts)


def make_rows(counts: Tensor, sums: Tensor, *, images_per_row: int = 1, generator: torch.Generator) -> Rows:
    """The rows of statistics ``(N, C, 3)`` of N images whose class is in the labels.

    With ``images_per_row`` > 1 random groups of so many images are added up first: the rows that a loss with
    ``aggregate="batch"`` meets. There are as many groups as images, and groups that share an image have the same
    ``Rows.image``. Raises ValueError if there are fewer than ``2 * images_per_row`` images.
    """
    members, pool = _groups(len(counts), images_per_row, generator)
    counts, sums = counts[members].sum(1), sums[members].sum(1)
    present = in_labels(counts)
    image = pool.unsqueeze(1).expand(present.shape)
    num_pixels = valid_pixels(counts).unsqueeze(1).expand(present.shape)
    class_index = torch.arange(present.shape[1]).expand(present.shape)
    return Rows(counts[present], sums[present], num_pixels[present], class_index[present], image[present])


def _groups(num_images: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The images of N groups ``(N, size)``, and the pool ``(N,)`` that each group is drawn from.

    No image is in two pools, so that rows can be split by pool without an image on both sides.
    """
    if size == 1:
        return torch.arange(num_images).unsqueeze(1), torch.arange(num_images)
    if num_images < 2 * size:
        raise ValueError(
            f"images_per_row: {size}: at most half of the {num_images} images: lower it or use more images"
        )
    pools = torch.randperm(num_images, generator=generator).tensor_split(max(2, num_images // (2 * size)))
    # In a pool of images a, b, c, d the groups of two are ab, bc, cd, da.
    members = [torch.stack([pool.roll(-step) for step in range(size)], dim=1) for pool in pools]
    sizes = torch.tensor([len(pool) for pool in pools])
    return torch.cat(members), torch.arange(len(pools)).repeat_interleave(sizes)


@dataclass(frozen=True)
class FitSettings:
    """How a surrogate is fitted: AdamW with decoupled weight decay, a cosine schedule, early stopping.

    *Measured* (inputs ``prob3`` at scale ``union``; D of nine small U-Nets on shapes and CamVid; three seeds each):
    with this ``lr``, ``batch_size`` and ``weight_decay`` all gradient signs are right in all unseen rows, and R² is
    .985 to .999. Without weight decay the fit is closer, R² up to +.011, and the signs are worse, down to .59: the
    three sums are nearly collinear, and a closer fit exploits what sets them apart. Depths 1 to 6 and widths 16 to 256
    are as good, unless the network behind D calls every pixel background. Scales ``raw`` and ``pixels`` fit better
    with a ``weight_decay`` of 0.1. The other numbers are *assumed*.

    ``flip_gain_weight`` is the weight of the gradient's squared error against the true gain of moving one pixel
    (:mod:`neuroiou_study.core.gains`), both times the union; 0 is the paper's objective (eq. 3).
    """

    lr: float = 3e-3
    epochs: int = 200
    batch_size: int = 64
    patience: int = 30
    held_out_fraction: float = 0.2
    seed: int = 0
    weight_decay: float = 1.0
    flip_gain_weight: float = 0.0
    gains: Gains = "step"


class Fit(NamedTuple):
    """A fitted surrogate, the rows it did not see, and how it went."""

    surrogate: Surrogate
    held_out: Rows
    num_epochs: int
    held_out_error: float  # the fit's objective on the held-out rows


class DivergedError(ValueError):
    """No epoch of a fit had a finite held-out error."""

    def __init__(self, lr: float) -> None:
        super().__init__(f"fit_surrogate: no epoch had a finite held-out error: lower lr, which is {lr}")


def split_by_image(rows: Rows, fraction: float, generator: torch.Generator) -> tuple[Rows, Rows]:
    """The rows to fit and the rows held out. Whole images go to one side: the rows of an image are alike."""
    images = rows.image.unique()
    shuffled = images[torch.randperm(len(images), generator=generator)]
    num_held_out = min(max(1, round(fraction * len(images))), len(images) - 1)
    held_out = torch.isin(rows.image, shuffled[:num_held_out])
    return rows.select(~held_out), rows.select(held_out)


def fit_surrogate(rows: Rows, config: SurrogateConfig, settings: FitSettings) -> Fit:
    """A surrogate fitted to ``rows``, as it was when the objective on held-out images was least.

    Deterministic for a seed. Raises ValueError if ``rows`` has fewer than two images, and DivergedError if no epoch had
    a finite error.
    """
    require_images(rows)
    generator = torch.Generator().manual_seed(settings.seed)
    seen, held_out = split_by_image(rows, settings.held_out_fraction, generator)
    return _descend(start_surrogate(config, settings.seed, seen), seen, held_out, settings, generator)


def require_images(rows: Rows) -> None:
    """Raise ValueError if ``rows`` cannot be split, being of one image or none."""
    if len(rows.image.unique()) < 2:
        raise ValueError("fit_surrogate: rows of one image: at least two images, one is held out: use more images")


def start_surrogate(config: SurrogateConfig, seed: int, seen: Rows) -> Surrogate:
    """The surrogate as a fit to ``seen`` starts: random weights of ``seed``, z-score of ``seen``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        surrogate = Surrogate(config)
    surrogate.net.standardise(surrogate.features(*seen.statistics))
    return surrogate


class _Best:
    """The weights with the least held-out error so far, and when to stop waiting for better ones."""

    def __init__(self, surrogate: Surrogate, patience: int) -> None:
        self.error, self.epoch, self.weights = float("inf"), 0, copy.deepcopy(surrogate.state_dict())
        self._surrogate, self._patience = surrogate, patience

    def should_stop(self, epoch: int, error: float) -> bool:
        if error < self.error:
            self.error, self.epoch, self.weights = error, epoch, copy.deepcopy(self._surrogate.state_dict())
        return epoch - self.epoch >= self._patience


def _descend(surrogate: Surrogate, seen: Rows, held_out: Rows, settings: FitSettings, order: torch.Generator) -> Fit:
    optimizer = torch.optim.AdamW(surrogate.net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    objective, unseen = _objective(surrogate, seen, settings), _objective(surrogate, held_out, settings)
    best = _Best(surrogate, settings.patience)
    for epoch in range(1, settings.epochs + 1):
        for batch in torch.randperm(len(seen), generator=order).split(settings.batch_size):
            optimizer.zero_grad()
            objective(batch).backward()
            optimizer.step()
        schedule.step()
        if best.should_stop(epoch, float(unseen(torch.arange(len(held_out))).detach())):
            break
    if best.epoch == 0:
        raise DivergedError(settings.lr)
    surrogate.load_state_dict(best.weights)
    return Fit(surrogate, held_out, best.epoch, best.error)


Objective = Callable[[Tensor], Tensor]
"""Positions of rows → the scalar that the fit makes small."""


def _objective(surrogate: Surrogate, rows: Rows, settings: FitSettings) -> Objective:
    """Mean squared error of the value, and of the gradient where ``flip_gain_weight`` asks for it."""
    targets = rows.iou_loss.to(surrogate.net.mean.dtype)
    if settings.flip_gain_weight == 0:
        features = surrogate.features(*rows.statistics).detach()
        return lambda batch: F.mse_loss(surrogate.net(features[batch]), targets[batch])
    gains = right_gains(rows.counts, surrogate.config.inputs.right_signs, settings.gains)

    def with_gains(batch: Tensor) -> Tensor:
        part = rows.select(batch)
        estimate, gradient = estimate_and_gradient(surrogate, part)
        error = (gradient - gains[batch]) * part.counts.sum(-1, keepdim=True)
        by_gain = error.square().sum(-1).mean().to(targets.dtype)
        return F.mse_loss(estimate, targets[batch]) + settings.flip_gain_weight * by_gain

    return with_gains


def estimate_and_gradient(surrogate: Surrogate, rows: Rows) -> tuple[Tensor, Tensor]:
    """The surrogate's value ``(M,)`` and, float64, its derivative by the three sums ``(M, 3)``; both differentiable."""
    sums = rows.sums.detach().double().requires_grad_(True)
    with torch.enable_grad():
        estimate = surrogate(rows.counts, sums, rows.num_pixels, rows.class_index)
        (gradient,) = torch.autograd.grad(estimate.sum(), sums, create_graph=True)
    return estimate, gradient
