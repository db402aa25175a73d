"""TrialSpec: every number that decides one trial's result.

Each default says where it is from: *cited* (the paper), *measured* (``docs/science.md``) or *assumed*.
"""

from typing import Literal

from pydantic import Field, model_validator

from neuroiou_study.spec.base import Spec, broken
from neuroiou_study.spec.data import DataSpec
from neuroiou_study.spec.losses import NeuroIoUSpec
from neuroiou_study.spec.model import ModelSpec, UNetSpec
from neuroiou_study.spec.surrogate import CollectPairsSpec, FitSurrogateSpec, GateSpec
from neuroiou_study.spec.training import FinetuneSpec, PretrainSpec


class EvaluateSpec(Spec):
    """The measurement of the fine-tuned network."""

    split: Literal["select", "val"] = "select"
    """Trials are compared on ``select``; a study opens ``val`` once, at its end."""
    batch_size: int = Field(8, ge=1)
    """Images at a time; changes speed and memory only."""


class TrialSpec(Spec):
    """One trial, complete: what to train, on what, with which loss, from which random numbers."""

    data: DataSpec
    """What is trained on, chosen with and decided with."""
    model: ModelSpec = UNetSpec(name="unet")
    """The network."""
    seed: int = Field(0, ge=0)
    """Decides weights, order and augmentation. In a study, ``seeds`` takes its place."""
    pretrain: PretrainSpec = PretrainSpec()
    collect_pairs: CollectPairsSpec = CollectPairsSpec()
    fit_surrogate: FitSurrogateSpec = FitSurrogateSpec()
    gate: GateSpec = GateSpec()
    finetune: FinetuneSpec = FinetuneSpec()
    evaluate: EvaluateSpec = EvaluateSpec()

    @property
    def is_learned(self) -> bool:
        """Does the trial's loss need a surrogate?"""
        return isinstance(self.finetune.loss, NeuroIoUSpec)

    @model_validator(mode="after")
    def _snapshots_exist(self) -> "TrialSpec":
        if self.collect_pairs.snapshots > self.pretrain.snapshots:
            rule = f"pretraining keeps {self.pretrain.snapshots}: raise pretrain.snapshots or lower it"
            raise broken(self.collect_pairs.snapshots, rule, ("collect_pairs", "snapshots"))
        return self
