"""What a surrogate sees: its input set, computed from the statistics of a row (one image and class, or one class).

Six input sets: ``prob3`` (the three probability sums; the paper's NeuroIoU-3), ``prob6`` (sums and means; NeuroIoU-6),
``hinge3`` (the three hinge sums; NeuroIoU-Hinge), ``log3`` (the three sums of log losses), ``hinge6``, ``log6``. Beside
them a surrogate may be told the class and, as ``context``, the mean of each set: constants, through which no gradient
flows.
"""

from dataclasses import dataclass
from typing import Literal, NoReturn, get_args

import torch
from torch import Tensor

from neuroiou_study.core.counts import (
    Hinge,
    Reading,
    Statistics,
    hinge_statistics,
    log_statistics,
    probability_statistics,
)
from neuroiou_study.core.kernels.choice import KernelName

InputSet = Literal["prob3", "prob6", "hinge3", "hinge6", "log3", "log6"]
Sums = Literal["probability", "hinge", "log"]
Scale = Literal["raw", "pixels", "union", "self", "log"]
MeansGradient = Literal["detached", "full"]


@dataclass(frozen=True)
class Inputs:
    """An input set with its reading of the paper. The defaults are the ones that fine-tune best (``docs/science.md``).

    ``means_gradient="detached"`` differentiates by the three sums alone, as the paper's eq. 5 does; ``full`` lets six
    inputs cancel each other, and the loss harms. ``class_one_hot`` is the number of classes that the surrogate tells
    apart; 0 if it does not.
    """

    name: InputSet = "prob3"
    reading: Reading = "complement"
    scale: Scale = "union"
    means_gradient: MeansGradient = "detached"
    hinge: Hinge = "crammer_singer"
    class_one_hot: int = 0
    context: bool = False

    def __post_init__(self) -> None:
        if self.class_one_hot < 0:
            raise ValueError(f"class_one_hot: {self.class_one_hot}: a number of classes, or 0: raise it")
        for field, allowed in _ALLOWED.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field}: {getattr(self, field)!r}: one of {', '.join(allowed)}: choose one")

    @property
    def sums(self) -> Sums:
        """What is summed: probabilities, hinges or log losses."""
        return "hinge" if self.name.startswith("hinge") else "log" if self.name.startswith("log") else "probability"

    @property
    def has_means(self) -> bool:
        return self.name.endswith("6")

    @property
    def num_features(self) -> int:
        return (6 if self.has_means else 3) + 3 * self.context + self.class_one_hot

    @property
    def right_signs(self) -> tuple[int, int, int]:
        """The sign that the loss's derivative by the TP, FP and FN sum must have for a step to help."""
        if self.sums != "probability":
            return (1, 1, 1)  # they are losses of the pixels: less is better in every set
        return (-1, 1, -1) if self.reading == "class" else (-1, 1, 1)

    @property
    def feature_signs(self) -> Tensor:
        """``(F,)`` the sign by which a monotone surrogate depends on each feature; 0 leaves it free."""
        signs = self.right_signs * (2 if self.has_means else 1)
        return torch.tensor([*signs, *[0] * (self.num_features - len(signs))], dtype=torch.float32)

    def statistics(self, logits: Tensor, labels: Tensor, ignore_index: int, kernel: KernelName = "auto") -> Statistics:
        """Counts and sums ``(B, C, 3)`` of ``logits`` ``(B, C, H, W)`` against ``labels`` ``(B, H, W)``.

        ``kernel`` concerns sums of probabilities (:mod:`neuroiou_study.core.kernels`).
        """
        if self.sums == "hinge":
            return hinge_statistics(logits, labels, hinge=self.hinge, ignore_index=ignore_index)
        if self.sums == "log":
            return log_statistics(logits, labels, ignore_index=ignore_index)
        return probability_statistics(logits, labels, reading=self.reading, ignore_index=ignore_index, kernel=kernel)

    def features(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor | None = None) -> Tensor:
        """``(M, F)`` features of M rows: ``counts`` and ``sums`` ``(M, 3)``, valid pixels and class ``(M,)``.

        The order is sums, means, context, class. Raises ValueError if the class is needed and not given.
        """
        means = sums / counts.clamp(min=1)
        parts = [self._scaled(counts, sums, num_pixels)]
        if self.has_means:
            parts.append(means.detach() if self.means_gradient == "detached" else means)
        if self.context:
            parts.append(means.detach())
        if self.class_one_hot:
            parts.append(self._one_hot(class_index).to(sums.dtype))
        return torch.cat(parts, dim=-1)

    def require_knows(self, num_classes: int) -> None:
        """Raise ValueError if a surrogate that tells classes apart does not know so many."""
        if 0 < self.class_one_hot < num_classes:
            self._refuse(f"class {num_classes - 1}")

    def _one_hot(self, class_index: Tensor | None) -> Tensor:
        if class_index is None:
            self._refuse("no class")
        # A GPU would have to be waited for; there the loss has asked before.
        elif class_index.is_cpu and class_index.numel():
            self.require_knows(int(class_index.max()) + 1)
        return class_index.unsqueeze(-1) == torch.arange(self.class_one_hot, device=class_index.device)

    def _refuse(self, given: str) -> NoReturn:
        raise ValueError(f"class_index: {given}: the surrogate knows {self.class_one_hot} classes: use its data set")

    def _scaled(self, counts: Tensor, sums: Tensor, num_pixels: Tensor) -> Tensor:
        match self.scale:
            case "raw":
                return sums
            case "pixels":
                return sums / num_pixels.clamp(min=1).unsqueeze(-1)
            case "union":
                return sums / counts.sum(-1, keepdim=True).clamp(min=1)
            case "self":
                return sums / sums.sum(-1, keepdim=True).clamp(min=1e-12)
            case "log":
                return sums.log1p()


_ALLOWED = {
    "name": get_args(InputSet),
    "reading": get_args(Reading),
    "scale": get_args(Scale),
    "means_gradient": get_args(MeansGradient),
    "hinge": get_args(Hinge),
}
