"""NeuroIoU: the IoU loss of a segmentation network, as its surrogate learned it (paper section 3.2).

Usage, in any training loop::

    from neuroiou_study.core import NeuroIoULoss

    loss_fn = NeuroIoULoss.load("exported/")
    loss_fn(logits, labels).backward()
"""

from pathlib import Path

from torch import Tensor

from neuroiou_study.core.counts import loss_type
from neuroiou_study.core.reduction import RowLoss
from neuroiou_study.core.settings_file import read_settings, shortened, unsealed, write_settings
from neuroiou_study.core.surrogate import Surrogate

LOSS_FILE = "loss.json"


class NeuroIoULoss(RowLoss):
    """The mean estimated IoU loss of the classes present in each image's labels (or in the batch's: ``aggregate``).

    ``loss(logits, labels)`` takes ``logits`` ``(B, C, H, W)`` before the softmax and ``labels`` ``(B, H, W)`` int64,
    and returns a scalar; C is any, unless the surrogate tells classes apart. The surrogate is frozen: gradients reach
    the logits through its inputs (eq. 5), and no optimiser can change it.
    """

    def __init__(self, surrogate: Surrogate, *, aggregate: str = "image", ignore_index: int = 255) -> None:
        super().__init__(ignore_index, aggregate)
        self.surrogate = surrogate.requires_grad_(False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        inputs = self.surrogate.config.inputs
        inputs.require_knows(logits.shape[1])
        statistics = inputs.statistics(logits, labels, self.ignore_index, self.kernel)
        return self.mean_over_rows(*statistics).to(loss_type(logits))

    def row_losses(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor) -> Tensor:
        rows: Tensor = self.surrogate(counts, sums, num_pixels, class_index)
        return rows

    def save(self, folder: Path | str) -> None:
        """Write the surrogate's two files and ``loss.json`` into ``folder``, which must exist."""
        self.surrogate.save(folder)
        settings = {"aggregate": self.aggregate, "ignore_index": self.ignore_index}
        write_settings(Path(folder) / LOSS_FILE, settings)

    @classmethod
    def load(cls, folder: Path | str, *, ignore_index: int | None = None) -> "NeuroIoULoss":
        """The loss saved in ``folder``; ``ignore_index`` replaces the saved one, for labels with another void value.

        Raises FileNotFoundError or ValueError as :meth:`Surrogate.load` does.
        """
        aggregate, saved_ignore_index = _read_loss(Path(folder) / LOSS_FILE)
        chosen = saved_ignore_index if ignore_index is None else ignore_index
        return cls(Surrogate.load(folder), aggregate=aggregate, ignore_index=chosen)


def _read_loss(path: Path) -> tuple[str, int]:
    try:
        saved = read_settings(path)
        aggregate, ignore_index = saved["aggregate"], saved["ignore_index"]
        if aggregate not in ("image", "batch"):
            raise ValueError(f"aggregate: {shortened(aggregate)}: one of image, batch")
        if type(ignore_index) is not int or not -(1 << 31) <= ignore_index < 1 << 31:
            raise ValueError(f"ignore_index: {shortened(ignore_index)}: a label, of 32 bits")
        unsealed(saved)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: {error}: must hold a loss's settings: export the loss again") from error
    return aggregate, ignore_index
