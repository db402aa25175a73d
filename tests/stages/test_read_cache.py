"""The copies of a machine fit their room, and nobody loses one that he uses."""

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from neuroiou_study.stages import read_cache
from neuroiou_study.stages.manifest import MANIFEST
from neuroiou_study.stages.read_cache import discard, hold, limit_bytes, make_room
from tests.stages.processes import kill, received, started

MB = 1_000_000
LONG_AGO = time.time() - 2 * read_cache.LEFTOVER_SECONDS


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    yield
    while read_cache._held:
        read_cache._held.popitem()[1].close()


def make(root: Path, name: str, used: float = LONG_AGO, store: str = "one") -> Path:
    """A result of a MB that was last used then."""
    folder = root / store / "stages" / "pretrain" / name
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(bytes(MB))
    if "." not in name:
        (folder / MANIFEST).touch()
        os.utime(folder / MANIFEST, (used, used))
    os.utime(folder, (used, used))
    return folder


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*/stages/*/*") if path.is_dir())


@pytest.mark.parametrize(("limit_mb", "expected"), [(10, "abcde"), (3.5, "cde"), (2.1, "de"), (0, "e")])
def test_what_was_used_longest_ago_goes_first_and_never_the_newcomer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_mb: float, expected: str
) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE_GIB", str(limit_mb * MB / 2**30))
    for number, name in enumerate("abcd"):
        make(tmp_path, name, LONG_AGO + number, store="one" if number % 2 else "two")
    make_room(tmp_path, make(tmp_path, "e"))
    assert left(tmp_path) == list(expected)


def test_what_was_used_a_moment_ago_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE_GIB", "0")
    make(tmp_path, "a", time.time() - read_cache.IN_USE_SECONDS / 2)
    make(tmp_path, "b")
    make_room(tmp_path, make(tmp_path, "c"))
    assert left(tmp_path) == ["a", "c"]


def hold_it(connection: Connection, folder: Path) -> None:
    hold(folder)
    connection.send("held")
    signal.pause()


def test_what_a_process_uses_stays_as_long_as_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE_GIB", "0")
    used, newcomer = make(tmp_path, "a"), make(tmp_path, "b")
    with started(hold_it, used) as (process, connection):
        received(connection)
        make_room(tmp_path, newcomer)
        assert left(tmp_path) == ["a", "b"]
        kill(process)
    make_room(tmp_path, newcomer)
    assert left(tmp_path) == ["b"]


def test_a_process_holds_what_it_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE_GIB", "0")
    monkeypatch.setattr(read_cache, "HELD", 2)
    folders = {name: make(tmp_path, name) for name in "abcd"}
    for name in "abab" + "cb":
        hold(folders[name])
    make_room(tmp_path, folders["d"])
    assert left(tmp_path) == ["b", "c", "d"]


@pytest.mark.parametrize("name", ["a.partial", "a.0123-glance", "a.new", ".0123"])
def test_leftovers_go_once_nobody_has_gone_on_with_them(tmp_path: Path, name: str) -> None:
    newcomer = make(tmp_path, "b")
    make(tmp_path, name)
    make_room(tmp_path, newcomer)
    assert left(tmp_path) == ["b"]
    folder = make(tmp_path, name, time.time() - read_cache.LEFTOVER_SECONDS / 2)
    make_room(tmp_path, newcomer)
    assert left(tmp_path) == [name, "b"] if name < "b" else ["b", name]
    hold(folder)
    os.utime(folder, (LONG_AGO, LONG_AGO))
    make_room(tmp_path, newcomer)
    assert folder.is_dir()


def test_what_is_discarded_is_gone_though_it_was_gone(tmp_path: Path) -> None:
    folder = make(tmp_path, "a")
    for _ in range(2):
        discard(folder)
        assert left(tmp_path) == []


def test_a_limit_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEUROIOU_CACHE_GIB", raising=False)
    assert limit_bytes() == read_cache.CACHE_GIB * 2**30
    for text in ("much", "", "nan", "-1"):
        monkeypatch.setenv("NEUROIOU_CACHE_GIB", text)
        with pytest.raises(ValueError, match=rf"^NEUROIOU_CACHE_GIB: {text}: must be a number of GiB: change it$"):
            limit_bytes()
