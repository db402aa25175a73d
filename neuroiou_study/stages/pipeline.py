"""START READING HERE: the five stages, what each reads, and how a trial is run through them.

Equal work has an equal address: the hash of the fields that a stage reads, of its upstream addresses and of its
version. So cross-entropy pretraining runs once for a whole study, and a restart continues where it stopped.
"""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages.backend import Pruned, Worker
from neuroiou_study.stages.collect_pairs import collect_pairs
from neuroiou_study.stages.evaluate import evaluate
from neuroiou_study.stages.finetune import finetune
from neuroiou_study.stages.fit_surrogate import fit_surrogate
from neuroiou_study.stages.gate import require_faithful
from neuroiou_study.stages.ledger import metered
from neuroiou_study.stages.objects import StoreUnavailableError
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.store import Store

_log = logging.getLogger(__name__)


class MustWait(Exception):  # noqa: N818  not an error: the trial goes on when the other is done
    """Somebody else is making a result that a trial needs, and the trial is not to wait for it."""


@dataclass(frozen=True)
class Stage:
    """A row of the table: a function, the spec fields it reads, the stages whose folders it reads."""

    run: Callable[[TrialSpec, Mapping[str, Path], Path, Worker], None]
    reads: tuple[str, ...]
    upstream: tuple[str, ...] = ()
    version: int = 1
    """Raise it when the stage's result changes for equal fields."""

    @property
    def name(self) -> str:
        return self.run.__name__


STAGES = (
    Stage(pretrain, reads=("data", "model", "seed", "pretrain"), version=2),
    Stage(collect_pairs, reads=("data", "model", "seed", "collect_pairs"), upstream=("pretrain",), version=3),
    Stage(fit_surrogate, reads=("data", "seed", "fit_surrogate"), upstream=("collect_pairs",), version=2),
    Stage(finetune, reads=("data", "model", "seed", "finetune"), upstream=("pretrain", "fit_surrogate"), version=2),
    Stage(evaluate, reads=("data", "model", "seed", "evaluate"), upstream=("finetune",), version=2),
)
LEARNED_LOSS_ONLY = ("collect_pairs", "fit_surrogate")


@dataclass(frozen=True)
class PlannedStage:
    """A stage of one trial: where its result is or will be, and where its inputs are."""

    stage: Stage
    address: str
    inputs: Mapping[str, str]

    def origin(self, spec: TrialSpec) -> dict[str, Any]:
        """What the result is made from, for its manifest and its address."""
        fields = spec.model_dump(mode="json", include=set(self.stage.reads))
        return {"version": self.stage.version, "fields": fields, "inputs": dict(self.inputs)}


Plan = Mapping[str, PlannedStage]


def plan(spec: TrialSpec) -> Plan:
    """The stages of a trial by name, in order; a loss that is not learned needs no surrogate."""
    planned: dict[str, PlannedStage] = {}
    for stage in STAGES:
        if spec.is_learned or stage.name not in LEARNED_LOSS_ONLY:
            inputs = {name: planned[name].address for name in stage.upstream if name in planned}
            planned[stage.name] = _addressed(PlannedStage(stage, "", inputs), spec)
    return planned


def _addressed(planned: PlannedStage, spec: TrialSpec) -> PlannedStage:
    text = json.dumps(planned.origin(spec), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return PlannedStage(planned.stage, f"{planned.stage.name}/{digest}", planned.inputs)


def run_stages(
    spec: TrialSpec, store: Store, worker: Worker, names: Sequence[str] | None = None, *, wait: bool = True
) -> Plan:
    """Make the results of ``names`` (default: all stages of the trial) complete in ``store``; returns the plan.

    A result that is there is used; one that somebody else is making is waited for, or without ``wait`` MustWait is
    raised, in every worker. Raises Gated before fine-tuning if the surrogate is not what ``spec.gate`` asks for.
    """
    planned = plan(spec)
    for name, step in planned.items():
        if names is None or name in names:
            if name == "finetune" and spec.is_learned:
                require_faithful(spec, _found(store, step.inputs["fit_surrogate"]))
            _complete(step, spec, store, worker, wait)
    return planned


def _complete(step: PlannedStage, spec: TrialSpec, store: Store, worker: Worker, wait: bool) -> None:
    with contextlib.ExitStack() as held:

        def turn() -> str:
            if store.find(step.address) is not None:
                return "done"
            lease = store.try_lease(step.address)
            if lease is None:
                return "wait"
            held.enter_context(lease)
            # Again, under the lease: it may have been finished between our look and our turn.
            return "make" if store.find(step.address) is None else "done"

        while (decision := worker.from_first(turn)) == "wait":
            if not wait:
                raise MustWait(step.address)
            time.sleep(store.poll_seconds)
        if decision == "make":
            _make(step, spec, store, worker)


def _make(step: PlannedStage, spec: TrialSpec, store: Store, worker: Worker) -> None:
    inputs = {name: store.verified(address) for name, address in step.inputs.items()}
    output = worker.from_first(lambda: store.workspace(step.address))
    with metered(step.address, store, worker) as meter:
        try:
            step.stage.run(spec, inputs, output, replace(worker, keep=lambda: _keep(store, step.address)))
        except Pruned:
            worker.from_first(lambda: store.give_up(step.address))
            raise
        # The ledger first: who is killed here is charged for this attempt, and for the next.
        cost = meter.close("complete")
        worker.from_first(lambda: store.commit(step.address, step.origin(spec), cost))


def _keep(store: Store, address: str) -> None:
    """Let a checkpoint outlive this machine, unless the store is away: training does not wait for it."""
    try:
        store.hurried().keep(address)
    except StoreUnavailableError as error:
        _log.warning("%s: the checkpoint is on this machine only, until the next one", error)


def _found(store: Store, address: str) -> Path:
    folder = store.find(address)
    if folder is None:
        raise RuntimeError(f"{address}: not in {store.address}: an input must be complete and visible on every node")
    return folder
