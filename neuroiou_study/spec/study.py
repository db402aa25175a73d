"""StudySpec: a base trial, what to vary in it, the controls, the seeds, the budget and the machines."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from neuroiou_study.spec.base import broken
from neuroiou_study.spec.budget import (
    BudgetSpec,
    ConfirmSpec,
    MedianPrunerSpec,
    PrunerSpec,
    ResourcesSpec,
    RetrySpec,
)
from neuroiou_study.spec.losses import LossSpec
from neuroiou_study.spec.ranges import Range, Scalar
from neuroiou_study.spec.screen import ScreenSpec
from neuroiou_study.spec.training import FinetuneSpec
from neuroiou_study.spec.trial import EvaluateSpec, TrialSpec

SURROGATE_ARM = "neuroiou"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=48)]


Seed = Annotated[int, Field(ge=0)]


class StudySpec(TrialSpec):
    """One study file. The keys of a trial stand at its top level and are the base of every trial."""

    name: Name
    """Names the study in the store, in MLflow and in the registry."""
    search: dict[str, Range] = Field(min_length=1)
    """Dotted name of a trial's field → range."""
    controls: dict[Name, LossSpec] = Field(default_factory=dict)
    """Name → loss. Each runs with the same epochs, seeds, number of trials and ``finetune`` ranges as the surrogate."""
    variants: dict[Name, dict[str, Scalar]] = Field(default_factory=dict)
    """Name → values of a trial's fields that are fixed in a further learned arm, such as other inputs or No-Int."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)] = (0,)
    """Every configuration is run with every seed and judged by the mean."""
    search_seed: int = Field(0, ge=0)
    """Seed of the sampler."""
    pruner: PrunerSpec = MedianPrunerSpec(name="median")
    """What ends a trial that will not win."""
    screen: ScreenSpec | None = None
    """Unset: every trial of a learned arm fits the surrogate that the sampler draws for it."""
    confirm: ConfirmSpec | None = None
    """Unset: ``val`` is opened for the search's own seeds, without an interval or a verdict."""
    budget: BudgetSpec = BudgetSpec()
    resources: ResourcesSpec = ResourcesSpec()
    retry: RetrySpec = RetrySpec()
    """What is tried again when machines fail."""

    @field_validator("search")
    @classmethod
    def _fixed_fields_are_not_searched(cls, search: dict[str, Range]) -> dict[str, Range]:
        for name, bounds in search.items():
            if name.split(".")[0] in ("data", "evaluate", "seed", "gate"):
                rule = "is the same for all trials of a study: list seeds under seeds, or remove it"
                raise broken(bounds.corners, rule, (name,))
            if name in ("finetune.loss", "finetune.loss.name"):
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

    @field_validator("variants")
    @classmethod
    def _variants_are_learned(cls, variants: dict[str, dict[str, Scalar]]) -> dict[str, dict[str, Scalar]]:
        for name, values in variants.items():
            if name == SURROGATE_ARM:
                raise broken(values, "this name is the learned loss's: choose another", (name,))
            if not values:
                raise broken(values, "must fix a field: else it is the learned loss again", (name,))
            for field in values:
                if field == "finetune.loss.name" or field.split(".")[0] in ("data", "evaluate", "seed"):
                    raise broken(values[field], "is the same for all arms of a study: remove it", (name, field))
        return variants

    @model_validator(mode="after")
    def _arms_differ(self) -> "StudySpec":
        both = sorted(set(self.variants) & set(self.controls))
        if both:
            raise broken(both[0], "is a control too: an arm needs a name of its own: rename one", ("variants",))
        return self

    @model_validator(mode="after")
    def _screening_has_one_d(self) -> "StudySpec":
        if self.screen is None:
            return self
        if not self.screened_arms:
            raise broken(sorted(self.search), "no range below fit_surrogate: add one or remove screen", ("screen",))
        for arm in self.screened_arms:
            for name in self.ranges(arm):
                if name.split(".")[0] in ("model", "pretrain", "collect_pairs"):
                    rule = f"screen compares surrogates that are fitted to one D, and {name} changes it: remove either"
                    raise broken(self.search[name].corners, rule, ("search", name))
        return self

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise broken(list(seeds), "a seed may stand once: remove the repeated one")
        return seeds

    @property
    def learned_arms(self) -> tuple[str, ...]:
        """The arms whose loss is a surrogate: the study's own, then its variants."""
        return (SURROGATE_ARM, *self.variants)

    @property
    def screened_arms(self) -> tuple[str, ...]:
        """The learned arms whose surrogates are screened: those that search any field of the surrogate."""
        learned = self.learned_arms if self.screen else ()
        return tuple(arm for arm in learned if any(name.startswith("fit_surrogate.") for name in self.ranges(arm)))

    @property
    def arms(self) -> tuple[str, ...]:
        """The learned arms, then the controls."""
        return (*self.learned_arms, *self.controls)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds that the search does not see and the confirmation runs on."""
        return tuple(max(self.seeds) + 1 + each for each in range(self.confirm.seeds if self.confirm else 0))

    def ranges(self, arm: str) -> Mapping[str, Range]:
        """The ranges that an arm is searched over, without what is fixed in it or does not exist for it.

        A control has no surrogate, and of its loss only the fields that it has.
        """
        if arm in self.learned_arms:
            fixed = self.variants.get(arm, {})
            return {name: bounds for name, bounds in self.search.items() if name not in fixed}
        return {name: bounds for name, bounds in self.search.items() if self._concerns(arm, name)}

    def _concerns(self, control: str, name: str) -> bool:
        stage, _, field = name.partition(".")
        if field.startswith("loss."):
            return field.removeprefix("loss.") in type(self.controls[control]).model_fields
        return stage not in ("fit_surrogate", "collect_pairs")

    def num_trials(self, arm: str) -> int:
        """How many trials an arm is to have: one if nothing of it is searched, since they would all be equal."""
        return self.budget.max_trials if self.ranges(arm) else 1

    def sample(self, values: Mapping[str, Scalar], *, arm: str = SURROGATE_ARM, seed: int | None = None) -> TrialSpec:
        """The complete trial of ``arm`` with ``values`` under their dotted names and, if given, another seed.

        Raises KeyError with the first name that has no place, and ValidationError if the trial would be wrong.
        """
        document = self.model_dump(include=set(TrialSpec.model_fields))
        if arm in self.controls:
            document["finetune"]["loss"] = self.controls[arm].model_dump()
        values = {**self.variants.get(arm, {}), **values}
        # A name goes first: it clears what belonged to another.
        for name, value in sorted(values.items(), key=lambda item: not item[0].endswith(".name")):
            _put(document, name, value)
        return TrialSpec.model_validate(document if seed is None else {**document, "seed": seed})

    @property
    def identity(self) -> str:
        """``<name>-<hash>``: a study may be extended under it: budget, machines, confirmation and ranges may change.

        Where surrogates are screened, the ranges decide which, and belong to it.
        """
        without = {"budget", "resources", "retry", "confirm", *(() if self.screen else ("screen", "search"))}
        document = self.model_dump(mode="json", exclude=without)
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
