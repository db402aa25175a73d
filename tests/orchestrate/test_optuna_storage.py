"""Optuna's database: several studies may begin with it at the same moment."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from neuroiou_study.orchestrate.optuna_storage import open_storage

WRITERS = 6


def open_with_others(url: str, barrier: Barrier) -> None:
    barrier.wait()
    open_storage(url, Path("never made"))


def test_of_several_that_make_the_tables_at_once_none_fails(database: str) -> None:
    spawning = multiprocessing.get_context("spawn")
    barrier = spawning.Barrier(WRITERS)
    writers = [spawning.Process(target=open_with_others, args=(database, barrier)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=120)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert open_storage(database, Path("never made")).get_all_studies() == []
