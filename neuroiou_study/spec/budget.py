"""What a study may cost, where it runs, what it stops early and what it confirms."""

from math import floor
from typing import Annotated, Literal

from pydantic import Field

from neuroiou_study.spec.base import Spec

GATED_ALLOWANCE = 3
"""An arm begins at most so many times its trials: a space in which every surrogate fails has to end; *assumed*."""


class BudgetSpec(Spec):
    """When a study is done."""

    max_trials: int = Field(16, ge=1)
    """Trials of each arm: the surrogate's and every control's, so that no arm is tuned more than another.

    A gated trial, which is never trained, is replaced by another.
    """
    max_hours: float | None = Field(None, gt=0)
    """No further trial starts after so many hours of the study's computing, restarts included."""
    max_gpu_hours: float | None = Field(None, gt=0)
    """No further trial starts after so many hours of reserved GPUs, of all stages together, restarts included."""


class ResourcesSpec(Spec):
    """The machines of a study; they change how fast it is, not what it finds."""

    workers: int = Field(1, ge=1)
    """Workers of a trial; two or more run in Ray Train with DistributedDataParallel."""
    cpus_per_worker: float = Field(1, gt=0)
    """Processor cores that a worker reserves."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs that a worker reserves; a fraction shares one."""
    trials_at_once: int | None = Field(None, ge=1)
    """Unset: as many as the cluster holds."""
    shared_workers: int | None = Field(None, ge=1)
    """Workers of stages that all trials share (mostly pretrain). Unset: workers × trials_at_once."""
    micro_batches: int = Field(1, ge=1)
    """Parts of a worker's batch that pass through the network one after the other: less memory, and more time.

    Loss and gradient are those of the whole batch, but for dropout, which draws other numbers, and batch normalisation,
    which sees a part at a time.
    """
    loader_workers: int = Field(0, ge=0)
    """Processes of each worker that load images; 0 loads in the worker."""
    kernel: Literal["auto", "reference", "eager", "compiled", "triton"] = "auto"
    """How losses of probability sums pass over the pixels; ``auto`` is the fastest that runs there."""
    channels_last: bool = False
    """Let networks compute with the channels of a pixel side by side: faster on GPUs with bfloat16; *assumed*."""
    compile_network: bool = False
    """Give networks to ``torch.compile``: minutes once for each size of image, then faster steps on a GPU."""
    image_cache: bool = True
    """Decode images of files once on each machine, to ~/.cache/neuroiou-study/images or below NEUROIOU_CACHE."""

    def workers_on(self, cpus: float, gpus: float) -> int:
        """How many workers fit on a machine with so many; one GPU is never two halves of different GPUs."""
        by_cpu = floor(cpus / self.cpus_per_worker + 1e-9)
        if not self.gpus_per_worker:
            return by_cpu
        if self.gpus_per_worker < 1:
            return min(by_cpu, floor(gpus) * floor(1 / self.gpus_per_worker + 1e-9))
        return min(by_cpu, floor(gpus / self.gpus_per_worker + 1e-9))


class RetrySpec(Spec):
    """What is tried again when machines fail; a trial goes on from its last checkpoint."""

    crashes: int = Field(2, ge=0)
    """How often a trial whose process died is begun again; *assumed*. A machine that was taken away does not count."""
    hung_seconds: float | None = Field(1800, gt=0)
    """A worker that gives no sign of life for so long is killed, and its trial begun again; *assumed*. null: never."""
    halve_batch: bool = True
    """Begin a trial that runs out of GPU memory again, once, with twice the ``resources.micro_batches``."""


class NoPrunerSpec(Spec):
    """Every trial runs to its end."""

    name: Literal["none"]


class MedianPrunerSpec(Spec):
    """Stop a trial that is below the median of its arm's earlier trials at the same epoch."""

    name: Literal["median"]
    startup_trials: int = Field(4, ge=0)
    """Trials of an arm that are never pruned; *assumed*."""
    warmup_epochs: int = Field(1, ge=0)
    """Epochs in which no trial is pruned; *assumed*."""


class SuccessiveHalvingPrunerSpec(Spec):
    """Stop a trial that is not among the best 1 / reduction_factor at the epochs of a rung."""

    name: Literal["successive_halving"]
    min_epochs: int = Field(1, ge=1)
    """The epoch of the first rung; *assumed*."""
    reduction_factor: int = Field(3, ge=2)
    """Each rung is so many times later than the one before; *assumed*."""


PrunerSpec = Annotated[NoPrunerSpec | MedianPrunerSpec | SuccessiveHalvingPrunerSpec, Field(discriminator="name")]


class ConfirmSpec(Spec):
    """The winners of the search and every control, run again on seeds that the search has not seen, judged on val."""

    seeds: int = Field(3, ge=1)
    """How many fresh seeds: those after the greatest of the study's ``seeds``. Each pretrains anew.

    Three make wide intervals, five much narrower ones; a later run with more adds to those that are there.
    """
    top: int = Field(1, ge=1)
    """How many configurations of each learned arm are confirmed; of a control always the best."""
    resamples: int = Field(5000, ge=200)
    """Draws of the paired bootstrap over images and seeds; *assumed*."""
    images_per_block: int = Field(1, ge=1)
    """Neighbouring images that the bootstrap draws together: frames of a film are no independent images."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Level of the intervals; 1 minus it is the error that a verdict may make."""
