"""Is everything that a study needs there, before anything is spent?

Every check is bounded: a server that is away, or that hangs, is a failed line within seconds.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from neuroiou_study.orchestrate.check_disks import check_disks
from neuroiou_study.orchestrate.check_machines import check_memory, check_resources
from neuroiou_study.orchestrate.check_servers import check_clocks, check_optuna, check_tracking
from neuroiou_study.orchestrate.check_store import check_store, no_new_folders
from neuroiou_study.orchestrate.findings import Check, Finding, Outcome, find, passed, skipped
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.model import CustomModelSpec
from neuroiou_study.stages.records import StudyRecords
from neuroiou_study.stages.store import Store

SAMPLED = 64
"""Images of each split that a sampled check of the data opens."""
ALLOW_CODE = "NEUROIOU_ALLOW_CODE"
Watch = Callable[[str, int, int | None], object]
"""Hears what is being checked, how much of it is done, and of how much; None where that is not known."""


def unwatched(_name: str, _done: int, _total: int | None) -> None:
    """What hears of the progress where nobody wants to."""


def preflight(
    study: StudySpec, store: Store, where: Where, *, at_most: int | None = None, watch: Watch = unwatched
) -> Iterator[Finding]:
    """What each check finds, as soon as it is known; none raises.

    ``at_most`` opens so many images of each split only. Servers are asked at the same time; data come last but for
    what needs them, because they may take minutes.
    """
    code = find("custom code", lambda: _check_code(study))
    yield code
    with no_new_folders(store):
        yield from _at_once(_of_servers(study, store, where), watch)
    watch("resources", 0, None)
    yield find("resources", lambda: check_resources(study, where))
    blocked = "custom code is not allowed" if code.has_failed else None
    data = find("data", lambda: skipped(blocked) if blocked else _check_data(study, at_most, watch))
    yield data
    blocked = "needs complete data" if data.has_failed else blocked
    for name, check in _of_networks(study, store, where).items():
        watch(name, 0, None)
        yield find(name, (lambda: skipped(blocked)) if blocked else check)


def _of_servers(study: StudySpec, store: Store, where: Where) -> dict[str, Check]:
    return {
        "store": lambda: check_store(store),
        "tracking": lambda: check_tracking(where.tracking_uri),
        "optuna": lambda: check_optuna(where.optuna_url, store.scratch / StudyRecords(study, store).folder),
        "clocks": lambda: check_clocks(store, where.tracking_uri),
    }


def _of_networks(study: StudySpec, store: Store, where: Where) -> dict[str, Check]:
    return {"GPU memory": lambda: check_memory(study, where), "disks": lambda: check_disks(study, store)}


def _at_once(checks: dict[str, Check], watch: Watch) -> Iterator[Finding]:
    with ThreadPoolExecutor(len(checks)) as threads:
        running = {name: threads.submit(find, name, check) for name, check in checks.items()}
        for name, finding in running.items():
            watch(name, 0, None)
            yield finding.result()


def _check_code(study: StudySpec) -> Outcome:
    """Raises ValueError, *where: value: rule: remedy*, if the file names code that the command line does not allow."""
    names = study.search["model.name"].corners if "model.name" in study.search else ()
    if not isinstance(study.model, CustomModelSpec) and "custom" not in names:
        return skipped("the network is one of ours")
    factory = study.model.factory if isinstance(study.model, CustomModelSpec) else "search.model.name"
    if os.environ.get(ALLOW_CODE) != "1":
        raise ValueError(f"model.factory: {factory}: runs code of its own: pass --allow-code if you trust it")
    return passed(f"{factory}: allowed")


def _check_data(study: StudySpec, at_most: int | None, watch: Watch) -> Outcome:
    # torch takes seconds to import: the servers have answered by now.
    from neuroiou_study.stages.check_data import check_data, num_samples

    watch("data", 0, None)
    total = num_samples(study, at_most)
    for done, _ in enumerate(check_data(study, at_most), start=1):
        watch("data", done, total)
    which = "" if at_most is None else f", an even sample: at most {at_most} of each split"
    return passed(f"{total} images and their labels{which}: opened")
