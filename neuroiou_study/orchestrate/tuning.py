"""The search on a cluster: a Ray Tune Tuner over one trial function, driven by :class:`Search`.

Tune does what it is good at: trial processes, resources, concurrency, retries. What to try, what to stop and what a
restart has to do is answered by the search and the store, so there is no ``Tuner.restore``.
"""

import contextlib
import functools
import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from neuroiou_study.orchestrate import cluster
from neuroiou_study.orchestrate.confirmation import Confirmation
from neuroiou_study.orchestrate.ray_backend import GroupFailedError, RayBackend, lone_worker
from neuroiou_study.orchestrate.search import Search
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress, Worker
from neuroiou_study.stages.news import Observer
from neuroiou_study.stages.records import Assignment, StudyRecords
from neuroiou_study.stages.screen import collect_for_screening, has_screening, lacks_pairs, run_screening
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import has_shared_stages, must_wait, needed, run_shared_stages, run_trial
from neuroiou_study.stages.val import has_finals, open_confirmations, run_finals

CRASH_RETRIES = 2
"""How often a trial whose process died is begun again; it continues from the store. *Assumed*."""
NEWS_SECONDS = 0.25
POSTPONED = "postponed"


class RemoteListener:
    """Reports epochs to the search, wherever the worker is, and brings its verdict back."""

    def __init__(self, search: Any, assignment: Assignment | None) -> None:
        self._search, self._assignment = search, assignment

    def __call__(self, progress: Progress) -> bool:
        verdict: bool = ray.get(self._search.report.remote(self._assignment, progress))
        return verdict


class StudySearcher(Searcher):
    """The search as Ray Tune sees it."""

    def __init__(self, search: Any) -> None:
        super().__init__(metric="score", mode="max")
        self._search = search
        self._live: dict[str, Assignment] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Called when a trial fits the cluster: its configuration, None to be asked again, FINISHED at the end.

        Tune asks again at its next event, at least ten times a second, or once a second if nothing runs.
        """
        assignment = ray.get(self._search.next.remote())
        if assignment is None:
            return Searcher.FINISHED if ray.get(self._search.is_over.remote()) else None
        self._live[trial_id] = assignment
        return {"assignment": assignment.model_dump()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Called for every ``tune.report``; epochs go to the search directly."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Called once when a trial has ended, also after its last retry, or has left because it would have to wait."""
        assignment = self._live.pop(trial_id)
        if not error and result is not None and result["state"] == POSTPONED:
            ray.get(self._search.postpone.remote(assignment))
            return
        reason = "its process died or raised; see Ray's log" if error else None
        ray.get(self._search.settle.remote(assignment, reason))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the search keeps itself."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a fresh searcher over the same study continues it."""


class InOrder(FIFOScheduler):
    """Trials start in the order in which they were suggested, which Tune does where a scheduler has no choice.

    Ray's own FIFOScheduler looks through all trials there have been, at each of Tune's steps.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Called at each step, before the trials that are pending start in their order."""


def run_on_ray(study: StudySpec, store: Store, observer: Observer) -> None:
    """Run ``study`` on the Ray cluster this process is connected to, until it is searched and confirmed."""
    with _agenda(Search, study, store, observer) as search:
        _share(study, study.seeds, store, search)
        _screen(study, store, search)
        _tune(study, store, search)
    with _agenda(Confirmation, study, store, observer) as confirmation:
        if open_confirmations(study, store):
            _share(study, study.fresh_seeds, store, confirmation)
            _tune(study, store, confirmation)
        if not has_finals(study, store):
            _on_all_workers(functools.partial(run_finals, study, store), study, store, confirmation)


@contextlib.contextmanager
def _agenda(
    kind: type[Search] | type[Confirmation], study: StudySpec, store: Store, observer: Observer
) -> Iterator[Any]:
    """What is to be run, as an actor on the driver's node, where every worker can reach it; its news are observed."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(kind).options(num_cpus=0, scheduling_strategy=here).remote(study, store)
    try:
        with _watched(actor, observer):
            yield actor
    finally:
        ray.kill(actor)


def _share(study: StudySpec, seeds: Sequence[int], store: Store, agenda: Any) -> None:
    """Complete what all trials share, if anything is missing."""
    if not has_shared_stages(study, seeds, store):
        _on_all_workers(functools.partial(run_shared_stages, study, seeds, store), study, store, agenda)


def _screen(study: StudySpec, store: Store, search: Any) -> None:
    """Screen what is to be screened: D by all workers, the surrogates by one."""
    for arm in study.screened_arms:
        if lacks_pairs(study, arm, store):
            _on_all_workers(functools.partial(collect_for_screening, study, arm, store), study, store, search)
    if not has_screening(study, store):
        backend = RayBackend(study.resources, cluster.ray_folder(store))
        backend.run(functools.partial(run_screening, study, store), 1, RemoteListener(search, None))


def _on_all_workers(task: Callable[[Worker], None], study: StudySpec, store: Store, agenda: Any) -> None:
    backend = RayBackend(study.resources, cluster.ray_folder(store))
    backend.run(task, cluster.shared_workers(study.resources), RemoteListener(agenda, None))


def _tune(study: StudySpec, store: Store, search: Any) -> None:
    folder = cluster.ray_folder(store)
    # Two Tune jobs of one name swap their functions (ray#31330).
    name = f"{study.identity}-{uuid.uuid4().hex[:8]}"
    results = tune.Tuner(
        tune.with_resources(_trial_function(study, store, search), _trial_resources(study)),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(search),
            scheduler=InOrder(),  # type: ignore[no-untyped-call]
            num_samples=-1,
            max_concurrent_trials=cluster.trials_at_once(study.resources),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(folder),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=CRASH_RETRIES),
        ),
    ).fit()
    if not results.errors:
        shutil.rmtree(folder / name, ignore_errors=True)


def _trial_resources(study: StudySpec) -> dict[str, float]:
    """What the trial's own process holds: all that it needs, or no CPU where Ray Train's workers do the work.

    It must not hold even a hundredth of a CPU then: the workers of the last trial that fits would wait for ever. It
    coordinates, so its place is the head node, which no spot market takes away.
    """
    resources = study.resources
    if resources.workers > 1:
        return {"CPU": 0, "node:__internal_head__": 0.001}
    return {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}


def _trial_function(study: StudySpec, store: Store, search: Any) -> Callable[[dict[str, Any]], None]:
    def trial(config: dict[str, Any]) -> None:
        assignment = Assignment.model_validate(config["assignment"])
        task = functools.partial(run_trial, study, assignment, store, wait=False)
        _run_in_trial(study, store, task, RemoteListener(search, assignment), assignment)
        record = StudyRecords(study, store).find(assignment)
        tune.report({"score": record and record.score, "state": record.state if record else POSTPONED})

    return trial


def _run_in_trial(
    study: StudySpec, store: Store, task: Callable[[Worker], None], listener: RemoteListener, assignment: Assignment
) -> None:
    if study.resources.workers == 1:
        return task(lone_worker(study.resources, listener))
    if must_wait(needed(study, assignment), store):
        return None  # without a group that would find out
    backend = RayBackend(study.resources, cluster.ray_folder(store))
    try:
        return backend.run(task, study.resources.workers, listener)
    except GroupFailedError:
        # A failure of the trial itself is recorded and final; a crash of its machines is not, and is tried again.
        if StudyRecords(study, store).find(assignment) is None:
            raise


@contextlib.contextmanager
def _watched(search: Any, observer: Observer) -> Iterator[None]:
    """Inside the block, a thread passes the search's news to ``observer``; all of it before the block is left."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(NEWS_SECONDS):
            _pass_on(search, observer)

    thread = threading.Thread(target=watch, name="news", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _pass_on(search, observer)


def _pass_on(search: Any, observer: Observer) -> None:
    try:
        news = ray.get(search.news.remote())
    except ray.exceptions.RayError as error:
        logging.getLogger(__name__).warning("the search cannot be reached: %s", error)
        return
    for item in news:
        observer(item)
