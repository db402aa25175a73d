"""What is killed on one machine goes on, on that one or another, as if nothing had happened."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from neuroiou_study.spec import TrialSpec
from neuroiou_study.stages.backend import LocalWorker, Progress
from neuroiou_study.stages.files import write_whole
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan, run_stages
from neuroiou_study.stages.s3_store import S3Store
from neuroiou_study.stages.store import Store
from tests.stages.processes import kill, received, started
from tests.stages.tiny import tiny_study

EPOCHS, KILLED_IN = 4, 3
ADDRESS = "pretrain/0123456789abcdef"
FORK = multiprocessing.get_context("fork")  # an import for each of so many kills would take minutes
KILLS, KEEPS = 20, 4


def trial() -> TrialSpec:
    return tiny_study(
        pretrain={"epochs": EPOCHS, "batch_size": 4}, finetune={"epochs": EPOCHS, "batch_size": 4}
    ).sample({})


class Watch:
    """Counts the batches of a stage, and stands still in the middle of an epoch if it is told to."""

    def __init__(self, connection: Connection | None = None, stage: str | None = None) -> None:
        self.batches, self._connection, self._stage = 0, connection, stage
        self._epoch: tuple[str, int] = ("", 0)

    def listener(self, progress: Progress) -> bool:
        self._epoch = (progress.stage, progress.epoch)
        return False

    def alive(self) -> None:
        self.batches += 1
        if self._connection is not None and self._epoch == (self._stage, KILLED_IN - 1):
            self._connection.send("in the middle")
            signal.pause()


def run_trial(store: Store, watch: Watch) -> None:
    torch.set_num_threads(1)  # sums of other numbers of threads have other last bits
    run_stages(trial(), store, LocalWorker(listener=watch.listener, alive=watch.alive))


def run_and_stand_still(connection: Connection, address: str, cache: Path, stage: str) -> None:
    os.environ["NEUROIOU_CACHE"] = str(cache)
    run_trial(S3Store(address), Watch(connection, stage))


def run_to_the_end(connection: Connection, address: str, cache: Path) -> None:
    os.environ["NEUROIOU_CACHE"] = str(cache)
    watch = Watch()
    run_trial(S3Store(address), watch)
    connection.send(watch.batches)


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_stage_killed_in_an_epoch_goes_on_there_on_another_machine(bucket: str, tmp_path: Path, stage: str) -> None:
    address, store, watch = f"s3://{bucket}/store", FolderStore(tmp_path / "uninterrupted"), Watch()
    run_trial(store, watch)
    with started(run_and_stand_still, address, tmp_path / "one", stage) as (process, connection):
        assert received(connection) == "in the middle"
        kill(process)
    with started(run_to_the_end, address, tmp_path / "two") as (_, connection):
        batches = received(connection)
    per_epoch = 8 // 4 + 4 // 4
    before = (KILLED_IN - 1) * per_epoch + (batches_of_pretraining(store) if stage == "finetune" else 0)
    assert batches == watch.batches - before
    resumed = S3Store(address)
    for step in plan(trial()).values():
        assert contents(resumed, step.address) == contents(store, step.address)
    assert not [name for name in resumed.objects.listed() if ".partial/" in name]


def batches_of_pretraining(store: FolderStore) -> int:
    """Of all stages before fine-tuning, which the second machine finds complete."""
    watch, former = Watch(), FolderStore(store.root.with_name("former"))
    run_stages(trial(), former, LocalWorker(alive=watch.alive), ["pretrain", "collect_pairs", "fit_surrogate"])
    return watch.batches


def contents(store: Store, address: str) -> dict[str, bytes]:
    folder = store.verified(address)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "manifest.json"}


def make(connection: Connection, address: str, cache: Path) -> None:
    """Keep a state after the other, complete the last, and look at it from another machine."""
    os.environ["NEUROIOU_CACHE"] = str(cache)
    store = S3Store(address)
    while True:
        name = next(each for each in (f"pretrain/{count:06d}" for count in range(1000)) if not store.has(each))
        workspace = store.workspace(name)
        # As a training does: where its own last writing was cut short, the newest checkpoint counts.
        before = max((int(path.read_text()) for path in workspace.glob(".checkpoint-*")), default=0)
        for number in range(before + 1, KEEPS + 1):
            for file in (f".checkpoint-{number}", "history"):
                write_whole(workspace / file, lambda path, text=str(number): path.write_text(text))  # type: ignore[misc]
            (workspace / f".checkpoint-{number - 1}").unlink(missing_ok=True)
            store.keep(name)
            connection.send((name, number))
        write_whole(workspace / "history", lambda path: path.write_text(str(KEEPS)))
        store.commit(name, {})
        connection.send((name, KEEPS + 1))


def state(folder: Path) -> int:
    """Which state is in ``folder``; raises if it is two halves."""
    checkpoints = [path.read_text() for path in folder.glob(".checkpoint-*")]
    histories = [path.read_text() for path in folder.glob("history")]
    assert len(checkpoints) == len(histories) <= 1 or checkpoints == histories[:1]
    return int(histories[0]) if histories else 0


def test_no_kill_leaves_anything_half_or_loses_what_was_kept(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, chance, said, complete = f"s3://{bucket}/store", random.Random(5), dict[str, int](), set[str]()
    for number in range(KILLS):
        # Two machines in turn: after a kill on one the other goes on.
        kill_in_the_middle(address, tmp_path / f"{number // 2 % 2}", said, chance)
        monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / f"looking-{number}"))
        complete |= complete_of({name: said[name] for name in set(said) - complete}, S3Store(address))
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "looking"))
    assert len(complete) >= 2 and complete_of(said, S3Store(address)) == complete


def kill_in_the_middle(address: str, cache: Path, said: dict[str, int], chance: random.Random) -> None:
    """Start a maker, and kill it at some moment of the step after what it has said so often."""
    with forked(address, cache) as (process_id, connection):
        begin = time.monotonic()
        for _ in range(chance.randint(1, 4)):
            begin, seconds = time.monotonic(), time.monotonic() - begin
            said.update([received(connection)])
        if connection.poll(chance.uniform(0, 1.2) * min(seconds, 1.0)):
            said.update([connection.recv()])
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)
        with contextlib.suppress(EOFError):
            while connection.poll():
                said.update([connection.recv()])


def complete_of(said: dict[str, int], store: S3Store) -> set[str]:
    """Which of what was ``said`` are complete, and whole; the others have at least what was said to be kept."""
    complete = {name for name in said if store.has(name)}
    for name in complete:
        histories = [path.read_text() for path in store.verified(name).iterdir() if path.name != "manifest.json"]
        assert histories == [str(KEEPS)]
    for name in set(said) - complete:
        assert state(store.workspace(name)) >= said[name]
    return complete


@contextlib.contextmanager
def forked(address: str, cache: Path) -> Iterator[tuple[int, Connection]]:
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=make, args=(theirs, address, cache))
    process.start()
    theirs.close()
    assert process.pid is not None
    yield process.pid, ours
    ours.close()
