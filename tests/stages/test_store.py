import hashlib
import itertools
import json
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from neuroiou_study.stages.store import MANIFEST, Store, open_store, write_json
from tests.stages.processes import kill, received, started

ADDRESS = "pretrain/0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make(store: Store, text: str = "weights") -> Path:
    (store.workspace(ADDRESS) / "model").write_text(text)
    return store.commit(ADDRESS, {"version": 1})


def test_nothing_is_there_before_it_is_made(store: Store) -> None:
    assert store.find(ADDRESS) is None and store.started(ADDRESS) is None and not store.has(ADDRESS)
    with pytest.raises(RuntimeError, match=f"{ADDRESS}: not in"):
        store.verify(ADDRESS)


def test_a_folder_is_complete_once_committed(store: Store) -> None:
    workspace = store.workspace(ADDRESS)
    (workspace / "model").write_text("weights")
    assert store.find(ADDRESS) is None and not store.has(ADDRESS) and store.started(ADDRESS) == workspace
    folder = store.commit(ADDRESS, {"version": 1})
    assert store.find(ADDRESS) == folder == store.started(ADDRESS) == store.root / "stages" / ADDRESS
    assert store.has(ADDRESS) and not workspace.exists()
    store.verify(ADDRESS)


def test_the_manifest_lists_size_and_hash_of_every_file(store: Store) -> None:
    (store.workspace(ADDRESS) / "empty").touch()
    folder = make(store)
    assert json.loads((folder / MANIFEST).read_text()) == {
        "address": ADDRESS,
        "origin": {"version": 1},
        "files": {
            "empty": {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            "model": {"size": 7, "sha256": hashlib.sha256(b"weights").hexdigest()},
        },
    }


def test_hidden_files_end_with_the_making(store: Store) -> None:
    (store.workspace(ADDRESS) / ".checkpoint").write_text("half")
    folder = make(store)
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "model"]
    store.verify(ADDRESS)


def test_who_gives_up_leaves_only_what_can_be_read(store: Store) -> None:
    (store.workspace(ADDRESS) / ".checkpoint").write_text("half")
    (store.workspace(ADDRESS) / "history").write_text("row")
    store.give_up(ADDRESS)
    assert [path.name for path in store.workspace(ADDRESS).iterdir()] == ["history"]
    assert store.find(ADDRESS) is None


def write_for_ever(connection: Connection, root: Path) -> None:
    with (Store(root).workspace(ADDRESS) / "model").open("w") as file:
        for number in itertools.count():
            print(number, file=file, flush=True)
            if number == 1000:
                connection.send("in the middle")


def test_who_is_killed_in_the_middle_leaves_nothing_complete_and_can_be_resumed(store: Store) -> None:
    with started(write_for_ever, store.root) as (process, connection):
        received(connection)
        kill(process)
    assert store.find(ADDRESS) is None and not store.has(ADDRESS)
    left = (store.workspace(ADDRESS) / "model").read_text().splitlines()
    assert left[:1001] == [str(number) for number in range(1001)]
    (store.workspace(ADDRESS) / "history").write_text("row")
    folder = store.commit(ADDRESS, {})
    assert sorted(path.name for path in folder.iterdir()) == ["history", MANIFEST, "model"]
    store.verify(ADDRESS)


def test_who_was_killed_between_manifest_and_rename_can_be_resumed(store: Store) -> None:
    write_json(store.workspace(ADDRESS) / MANIFEST, {"files": {"stale": {"size": 1, "sha256": ""}}})
    assert store.find(ADDRESS) is None
    make(store)
    store.verify(ADDRESS)


def test_the_second_of_two_commits_changes_nothing(store: Store) -> None:
    first = make(store)
    before = (first / MANIFEST).read_bytes()
    assert make(store, "other") == first
    assert (first / "model").read_text() == "weights" and (first / MANIFEST).read_bytes() == before
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_commit_onto_a_folder_that_is_not_complete_fails(store: Store) -> None:
    folder = make(store)
    (folder / MANIFEST).unlink()
    with pytest.raises(OSError, match="not empty"):
        make(store)


@pytest.mark.parametrize("damage", [lambda path: path.write_text("weight"), lambda path: path.unlink()])
def test_a_file_cut_short_or_lost_is_named(store: Store, damage: object) -> None:
    folder = make(store)
    assert callable(damage)
    damage(folder / "model")
    with pytest.raises(RuntimeError) as raised:
        store.find(ADDRESS)
    assert str(raised.value) == f"{folder / 'model'}: damaged: must have 7 bytes: remove {folder} and run again"
    assert store.has(ADDRESS)


def test_a_changed_byte_is_found_by_verify(store: Store) -> None:
    folder = make(store)
    (folder / "model").write_text("Weights")
    assert store.find(ADDRESS) == folder
    with pytest.raises(RuntimeError) as raised:
        store.verify(ADDRESS)
    assert str(raised.value) == f"{folder / 'model'}: damaged: SHA-256 differs: remove {folder} and run again"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_manifest_is_named(store: Store, text: str) -> None:
    folder = make(store)
    (folder / MANIFEST).write_text(text)
    with pytest.raises(RuntimeError) as raised:
        store.find(ADDRESS)
    message = f"{folder / MANIFEST}: damaged: must list the files: remove {folder} and run again"
    assert str(raised.value) == message


def test_a_store_s_leases_are_its_own(store: Store, tmp_path: Path) -> None:
    mine = store.try_lease(ADDRESS)
    assert mine is not None and Store(store.root).try_lease(ADDRESS) is None
    assert store.lease_holder(ADDRESS) is not None
    assert Store(tmp_path / "other").try_lease(ADDRESS) is not None
    mine.release()
    assert store.lease_holder(ADDRESS) is None


def test_a_store_is_a_folder_that_is_created_when_it_is_written_to(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "deep" / "store"))
    assert store.root == tmp_path / "deep" / "store"
    assert store.find(ADDRESS) is None and not store.root.exists()
    make(store)
    assert store.find(ADDRESS) is not None and store.root.is_dir()


def test_no_store_in_a_bucket_yet() -> None:
    with pytest.raises(ValueError, match="--store s3://bucket: only a folder"):
        open_store("s3://bucket")


def rewrite_for_ever(connection: Connection, path: Path) -> None:
    for number in itertools.count():
        write_json(path, [number] * 20_000)
        if number == 0:
            connection.send("begun")


def test_a_reader_sees_the_old_document_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    seen: set[int] = set()
    with started(rewrite_for_ever, path) as (process, connection):
        received(connection)
        while len(seen) < 30:
            document = json.loads(path.read_text())
            assert len(document) == 20_000 and len(set(document)) == 1
            seen.add(document[0])
        kill(process)


def test_a_failed_write_leaves_the_old_document(tmp_path: Path) -> None:
    write_json(tmp_path / "document.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "document.json", {"new": object()})
    assert json.loads((tmp_path / "document.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["document.json"]
