"""What must be true after a study was killed and has finished: each check returns what is wrong."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.ledger import Ledger
from neuroiou_study.stages.manifest import MANIFEST
from neuroiou_study.stages.records import driver_lease
from neuroiou_study.stages.s3_store import S3Store
from neuroiou_study.stages.store import Store
from tests.faults.study_under_test import Outcome, StudyUnderTest

Value = TypeVar("Value")


def same_outcome(reference: Outcome, found: Outcome) -> Iterator[str]:
    """The uninterrupted study's trials, files and MLflow runs, all of them and nothing else, bit by bit."""
    yield from _differences("trial", reference.trials, found.trials)
    yield from _differences("stage", reference.files, found.files)
    yield from _differences("MLflow run", reference.shown, found.shown)


def _differences(kind: str, expected: Mapping[str, Value], found: Mapping[str, Value]) -> Iterator[str]:
    for name in sorted({*expected, *found}):
        if name not in found:
            yield f"{kind} {name}: missing"
        elif name not in expected:
            yield f"{kind} {name}: must not be there"
        elif expected[name] != found[name]:
            yield f"{kind} {name}: {found[name]}: must be {expected[name]}"


def not_written_again(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """What was complete before the kill has not been touched."""
    for address, stamp in before.items():
        if after.get(address) != stamp:
            yield f"{address}: was complete before the kill and was written again"


def nothing_held(study: StudyUnderTest) -> Iterator[str]:
    """No lease is held, and nothing is half made."""
    store = study.store
    for name in [driver_lease(study.spec), *stamps(store)]:
        if (holder := store.lease_holder(name)) is not None:
            yield f"lease {name}: still held by {holder}"
    for name in _unfinished(store):
        yield f"{name}: left behind"


def stamps(store: Store) -> dict[str, str]:
    """Address of every complete result → what changes when its manifest is written again."""
    if isinstance(store, FolderStore):
        paths = [path for path in store.root.glob(f"stages/*/*/{MANIFEST}") if not path.parent.suffix]
        status = {_address(path.relative_to(store.root).as_posix()): path.stat() for path in paths}
        return {address: f"{each.st_mtime_ns} {each.st_ino}" for address, each in status.items()}
    manifests = {name: about for name, about in _results(store).items() if name.endswith(f"/{MANIFEST}")}
    complete = {name: about for name, about in manifests.items() if ".partial/" not in name}
    return {_address(name): f"{about['ETag']} {about['LastModified']}" for name, about in complete.items()}


def _address(manifest: str) -> str:
    return manifest.removeprefix("stages/").removesuffix(f"/{MANIFEST}")


def _unfinished(store: Store) -> list[str]:
    if isinstance(store, FolderStore):
        return [str(path) for path in store.root.glob("stages/*/*.partial")]
    return [name for name in _results(store) if ".partial/" in name]


def _results(store: Store) -> dict[str, dict[str, Any]]:
    """What the bucket lists of the stages, by name."""
    assert isinstance(store, S3Store)
    return {name: about for name, about in store.objects.listed().items() if name.startswith("stages/")}


def ledger_is_right(study: StudyUnderTest, num_killed: int) -> Iterator[str]:
    """Each result was completed by one attempt, which took what its manifest says; a kill ends at most one attempt."""
    manifests = [study.store.manifest(address) for address in stamps(study.store)]
    costs = {manifest.address: manifest.cost for manifest in manifests if manifest is not None}
    entries = Ledger(study.spec.identity, study.store).entries()
    completing = [entry for entry in entries if (cost := costs.get(entry.address)) and cost.attempt == entry.attempt]
    found = {entry.address: entry.cost for entry in completing if entry.outcome == "complete"}
    yield from _differences("ledger", costs, found)
    # Killed between its last entry and its manifest, an attempt is called complete, and was in vain all the same.
    in_vain = [f"{entry.address} ({entry.outcome})" for entry in entries if entry not in completing]
    if len(in_vain) > num_killed:
        yield f"ledger: {', '.join(in_vain)}: begun in vain: at most {num_killed} were killed"
