"""The search on a cluster: a Ray Tune Tuner over one trial function, driven by :class:`Search`.

Tune does what it is good at: trial processes, resources, concurrency, retries. What to try, what to stop and what a
restart has to do is answered by the search and the store, so there is no ``Tuner.restore``.
"""

import contextlib
import functools
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from neuroiou_study.orchestrate import cluster
from neuroiou_study.orchestrate.confirmation import Confirmation
from neuroiou_study.orchestrate.groups import run_with_retries
from neuroiou_study.orchestrate.line import Line
from neuroiou_study.orchestrate.search import Search
from neuroiou_study.orchestrate.searcher import InOrder, StudySearcher
from neuroiou_study.orchestrate.trial_function import trial_function
from neuroiou_study.orchestrate.watch import watched
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.news import Observer
from neuroiou_study.stages.objects import StoreUnavailableError
from neuroiou_study.stages.screen import collect_for_screening, has_screening, lacks_pairs, run_screening
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import has_shared_stages, most_shared_workers, run_shared_stages
from neuroiou_study.stages.val import has_finals, open_confirmations, run_finals


def run_on_ray(study: StudySpec, store: Store, optuna_url: str | None, observer: Observer) -> None:
    """Run ``study`` on the Ray cluster this process is connected to, until it is searched and confirmed."""
    with _agenda(Search, (study, store, optuna_url), observer) as search:
        _share(study, study.seeds, store, search)
        _screen(study, store, search)
        _tune(study, store, search)
    with _agenda(Confirmation, (study, store), observer) as confirmation:
        if open_confirmations(study, store):
            _share(study, study.fresh_seeds, store, confirmation)
            _tune(study, store, confirmation)
        if not has_finals(study, store):
            _on_all_workers(functools.partial(run_finals, study, store), study, store, confirmation)


@contextlib.contextmanager
def _agenda(kind: type[Search] | type[Confirmation], given: tuple[Any, ...], observer: Observer) -> Iterator[Any]:
    """What is to be run, as an actor on the driver's node, where every worker can reach it; its news are observed."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(kind).options(num_cpus=0, scheduling_strategy=here).remote(*given)
    try:
        with watched(actor, observer, given[0].retry.hung_seconds):
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
        task = functools.partial(run_screening, study, store)
        run_with_retries(study, store, task, 1, Line(search, None, study.retry.hung_seconds))


def _on_all_workers(task: Callable[[Worker], None], study: StudySpec, store: Store, agenda: Any) -> None:
    num_workers = min(cluster.shared_workers(study.resources), most_shared_workers(study))
    run_with_retries(study, store, task, num_workers, Line(agenda, None, study.retry.hung_seconds))


def _keep_keys() -> None:
    """Tune would put AWS keys into the environment of a trial's actor, which logs and the dashboard show.

    A worker finds its own: a local cluster's has this process's environment, another node has its own or its role.
    """
    keys = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(keys)


def _tune(study: StudySpec, store: Store, agenda: Any) -> None:
    _keep_keys()
    folder = cluster.ray_folder(store)
    # Two Tune jobs of one name swap their functions (ray#31330).
    name = f"{study.identity}-{uuid.uuid4().hex[:8]}"
    results = tune.Tuner(
        tune.with_resources(trial_function(study, store, agenda), _trial_resources(study)),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(agenda),
            scheduler=InOrder(),  # type: ignore[no-untyped-call]
            num_samples=-1,
            max_concurrent_trials=cluster.trials_at_once(study.resources),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(folder),
            verbose=0,
            # Without an end: the trial function counts, because a machine that was taken away does not count.
            failure_config=tune.FailureConfig(max_failures=-1),
        ),
    ).fit()
    if not results.errors:
        shutil.rmtree(folder / name, ignore_errors=True)
    interruption = ray.get(agenda.interruption.remote())
    if interruption is not None:
        raise StoreUnavailableError(interruption)


def _trial_resources(study: StudySpec) -> dict[str, float]:
    """What the trial's own process holds: all that it needs, or no CPU where Ray Train's workers do the work.

    It must not hold even a hundredth of a CPU then: the workers of the last trial that fits would wait for ever. It
    coordinates, so its place is the head node, which no spot market takes away.
    """
    resources = study.resources
    if resources.workers > 1:
        return {"CPU": 0, "node:__internal_head__": 0.001}
    return {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}
