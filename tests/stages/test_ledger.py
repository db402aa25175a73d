"""The ledger: what attempts took, finished or not."""

import itertools
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages import ledger
from neuroiou_study.stages.backend import Leaving, LocalWorker, Pruned
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.ledger import Ledger, metered
from neuroiou_study.stages.pipeline import plan, run_stages
from tests.stages.processes import kill, received, started, wait_until
from tests.stages.tiny import tiny_study

ADDRESS, IDENTITY = "pretrain/0123", "tiny-1"
WORKER = LocalWorker(account=IDENTITY, resources=ResourcesSpec(cpus_per_worker=3, gpus_per_worker=0.5))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_an_attempt_that_completes_is_one_entry(store: FolderStore) -> None:
    with metered(ADDRESS, store, WORKER) as meter:
        (running,) = Ledger(IDENTITY, store).entries()
        cost = meter.close("complete")
    (entry,) = Ledger(IDENTITY, store).entries()
    assert (running.outcome, entry.outcome, entry.address) == ("running", "complete", ADDRESS)
    assert entry.cost == cost and entry.seconds > 0
    assert entry.cpu_seconds == 3 * entry.seconds and entry.gpu_seconds == 0.5 * entry.seconds
    assert entry.device == "cpu"


@pytest.mark.parametrize(("error", "outcome"), [(Pruned, "pruned"), (Leaving, "left"), (ValueError, "failed")])
def test_how_an_attempt_ended(store: FolderStore, error: type[Exception], outcome: str) -> None:
    with pytest.raises(error), metered(ADDRESS, store, WORKER):
        raise error
    total = Ledger(IDENTITY, store).total()
    assert [each.outcome for each in Ledger(IDENTITY, store).entries()] == [outcome]
    assert (total.attempts, total.unfinished) == (1, 1) and (total.lost_seconds > 0) == (outcome == "failed")


def test_nobody_is_charged_without_an_account(store: FolderStore) -> None:
    with metered(ADDRESS, store, replace(WORKER, account=None)) as meter:
        assert meter.close("complete") is None
    assert not store.root.exists()


def spend_for_ever(connection: Connection, root: Path) -> None:
    ledger.WRITE_SECONDS = 0.01
    with metered(ADDRESS, FolderStore(root), WORKER):
        connection.send("begun")
        for _ in itertools.count():
            pass


def test_a_killed_attempt_is_known_to_within_seconds(store: FolderStore) -> None:
    with started(spend_for_ever, store.root) as (process, connection):
        received(connection)
        wait_until(lambda: Ledger(IDENTITY, store).total().seconds > 0.2)
        kill(process)
    total = Ledger(IDENTITY, store).total()
    assert total.lost_seconds == total.seconds > 0.2 and total.gpu_seconds == 0.5 * total.seconds


def test_an_ended_entry_is_read_once_and_a_running_one_again(store: FolderStore) -> None:
    book = Ledger(IDENTITY, store)
    with metered(ADDRESS, store, WORKER) as meter:
        assert [each.outcome for each in book.entries()] == ["running"]
        meter.close("complete")
    assert [each.outcome for each in book.entries()] == ["complete"]
    (name,) = store.objects.names(f"studies/{IDENTITY}/ledger")
    store.objects.write(f"studies/{IDENTITY}/ledger/{name}", b"damaged")
    assert [each.outcome for each in book.entries()] == ["complete"]
    with pytest.raises(RuntimeError, match="damaged: must be JSON"):
        Ledger(IDENTITY, store).entries()


def test_the_ledger_is_the_sum_of_what_the_stages_recorded(store: FolderStore) -> None:
    study = tiny_study()
    spec = study.sample({})
    for _ in range(2):  # the second time nothing is made, and nothing charged
        run_stages(spec, store, replace(WORKER, account=study.identity))
    manifests = [store.manifest(step.address) for step in plan(spec).values()]
    costs = [manifest.cost for manifest in manifests if manifest is not None and manifest.cost is not None]
    entries = Ledger(study.identity, store).entries()
    assert len(costs) == 5
    assert sorted(costs, key=lambda cost: cost.attempt) == sorted(
        (entry.cost for entry in entries), key=lambda cost: cost.attempt
    )
    assert Ledger(study.identity, store).total().cpu_seconds == pytest.approx(sum(cost.cpu_seconds for cost in costs))
