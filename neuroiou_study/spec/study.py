"""StudySpec: a base trial, what to vary in it, the controls, the seeds, the budget and the machines."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from neuroiou_study.spec.base import Spec, broken
from neuroiou_study.spec.ranges import Range, Scalar
from neuroiou_study.spec.trial import EvaluateSpec, FinetuneSpec, LossSpec, TrialSpec

SURROGATE_ARM = "neuroiou"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=48)]


class BudgetSpec(Spec):
    """When a study is done."""

    max_trials: int = Field(16, ge=1)
    """Trials of each arm: the surrogate's and every control's, so that no arm is tuned more than another."""
    max_hours: float | None = Field(None, gt=0)
    """No further trial starts after so many hours of the study's computing, restarts included."""


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
    loader_workers: int = Field(0, ge=0)
    """Processes of each worker that load images; 0 loads in the worker."""


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
Seed = Annotated[int, Field(ge=0)]


class StudySpec(TrialSpec):
    """One study file. The keys of a trial stand at its top level and are the base of every trial."""

    name: Name
    """Names the study in the store, in MLflow and in the registry."""
    search: dict[str, Range] = Field(min_length=1)
    """Dotted name of a trial's field → range."""
    controls: dict[Name, LossSpec] = Field(default_factory=dict)
    """Name → loss. Each runs with the same epochs, seeds, number of trials and ``finetune`` ranges as the surrogate."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)] = (0,)
    """Every configuration is run with every seed and judged by the mean."""
    search_seed: int = Field(0, ge=0)
    """Seed of the sampler."""
    pruner: PrunerSpec = MedianPrunerSpec(name="median")
    """What ends a trial that will not win."""
    budget: BudgetSpec = BudgetSpec()
    resources: ResourcesSpec = ResourcesSpec()

    @field_validator("search")
    @classmethod
    def _fixed_fields_are_not_searched(cls, search: dict[str, Range]) -> dict[str, Range]:
        for name, bounds in search.items():
            if name.split(".")[0] in ("data", "evaluate", "seed"):
                rule = "is the same for all trials of a study: list seeds under seeds, or remove it"
                raise broken(bounds.corners, rule, (name,))
            if name.startswith("finetune.loss"):
                raise broken(bounds.corners, "each arm has one loss: list other losses under controls", (name,))
        return search

    @field_validator("finetune")
    @classmethod
    def _first_arm_is_learned(cls, finetune: FinetuneSpec) -> FinetuneSpec:
        if finetune.loss.name != "neuroiou":
            rule = "the study's own loss is the learned one, neuroiou: list other losses under controls"
            raise broken(finetune.loss.name, rule, ("loss", "name"))
        return finetune

    @field_validator("evaluate")
    @classmethod
    def _val_is_opened_once(cls, evaluate: EvaluateSpec) -> EvaluateSpec:
        if evaluate.split != "select":
            rule = "trials are compared on select; the study itself opens val at its end: remove it"
            raise broken(evaluate.split, rule, ("split",))
        return evaluate

    @field_validator("controls")
    @classmethod
    def _controls_are_unlearned(cls, controls: dict[str, LossSpec]) -> dict[str, LossSpec]:
        for name, loss in controls.items():
            if name == SURROGATE_ARM:
                raise broken(loss.name, "this name is the learned loss's: choose another", (name,))
            if loss.name == "neuroiou":
                raise broken(loss.name, "a control is a loss that is not learned: change it", (name, "name"))
        return controls

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise broken(list(seeds), "a seed may stand once: remove the repeated one")
        return seeds

    @property
    def arms(self) -> tuple[str, ...]:
        """The surrogate's arm, then the controls."""
        return (SURROGATE_ARM, *self.controls)

    def ranges(self, arm: str) -> Mapping[str, Range]:
        """The ranges that an arm is searched over: a control has no surrogate and its loss is given."""
        if arm == SURROGATE_ARM:
            return self.search
        foreign = ("fit_surrogate.", "collect_pairs.")
        return {name: bounds for name, bounds in self.search.items() if not name.startswith(foreign)}

    def num_trials(self, arm: str) -> int:
        """How many trials an arm is to have: one if nothing of it is searched, since they would all be equal."""
        return self.budget.max_trials if self.ranges(arm) else 1

    def sample(self, values: Mapping[str, Scalar], *, arm: str = SURROGATE_ARM, seed: int | None = None) -> TrialSpec:
        """The complete trial of ``arm`` with ``values`` under their dotted names and, if given, another seed.

        Raises KeyError with the first name that has no place, and ValidationError if the trial would be wrong.
        """
        document = self.model_dump(include=set(TrialSpec.model_fields))
        if arm != SURROGATE_ARM:
            document["finetune"]["loss"] = self.controls[arm].model_dump()
        # A name goes first: it clears what belonged to another.
        for name, value in sorted(values.items(), key=lambda item: not item[0].endswith(".name")):
            _put(document, name, value)
        return TrialSpec.model_validate(document if seed is None else {**document, "seed": seed})

    @property
    def identity(self) -> str:
        """``<name>-<hash>``: studies with equal results share it; budget and resources may change."""
        document = self.model_dump(mode="json", exclude={"budget", "resources"})
        text = json.dumps(document, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _put(document: dict[str, Any], name: str, value: object) -> None:
    """Set the field under a dotted ``name``; a new kind of loss, optimiser… starts from the defaults of its kind."""
    *parents, last = name.split(".")
    for parent in parents:
        if not isinstance(document.get(parent), dict):
            raise KeyError(name)
        document = document[parent]
    if last == "name" and document.get(last) != value:
        document.clear()
    document[last] = value
