import hashlib
import itertools
import json
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.manifest import MANIFEST
from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.store import SMALL_BYTES
from tests.stages.processes import kill, received, started

ADDRESS = "pretrain/0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def make(store: FolderStore, text: str = "weights") -> Path:
    (store.workspace(ADDRESS) / "model").write_text(text)
    return store.commit(ADDRESS, {"version": 1})


def test_nothing_is_there_before_it_is_made(store: FolderStore) -> None:
    assert store.find(ADDRESS) is None and store.started(ADDRESS) is None and not store.has(ADDRESS)
    with pytest.raises(RuntimeError, match=f"{ADDRESS}: not in"):
        store.verified(ADDRESS)


def test_a_folder_is_complete_once_committed(store: FolderStore) -> None:
    workspace = store.workspace(ADDRESS)
    (workspace / "model").write_text("weights")
    assert store.find(ADDRESS) is None and not store.has(ADDRESS) and store.started(ADDRESS) == workspace
    folder = store.commit(ADDRESS, {"version": 1})
    assert store.find(ADDRESS) == folder == store.started(ADDRESS) == store.root / "stages" / ADDRESS
    assert store.has(ADDRESS) and not workspace.exists()
    store.verified(ADDRESS)


def test_the_manifest_lists_size_and_hash_of_every_file(store: FolderStore) -> None:
    (store.workspace(ADDRESS) / "empty").touch()
    folder = make(store)
    assert json.loads((folder / MANIFEST).read_text()) == {
        "address": ADDRESS,
        "origin": {"version": 1},
        "files": {
            "empty": {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            "model": {"size": 7, "sha256": hashlib.sha256(b"weights").hexdigest()},
        },
        "cost": None,
    }


def test_hidden_files_end_with_the_making(store: FolderStore) -> None:
    (store.workspace(ADDRESS) / ".checkpoint").write_text("half")
    folder = make(store)
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "model"]
    store.verified(ADDRESS)


def test_who_gives_up_leaves_only_what_can_be_read(store: FolderStore) -> None:
    (store.workspace(ADDRESS) / ".checkpoint").write_text("half")
    (store.workspace(ADDRESS) / "history").write_text("row")
    store.give_up(ADDRESS)
    assert [path.name for path in store.workspace(ADDRESS).iterdir()] == ["history"]
    assert store.find(ADDRESS) is None


def write_for_ever(connection: Connection, root: Path) -> None:
    with (FolderStore(root).workspace(ADDRESS) / "model").open("w") as file:
        for number in itertools.count():
            print(number, file=file, flush=True)
            if number == 1000:
                connection.send("in the middle")


def test_who_is_killed_in_the_middle_leaves_nothing_complete_and_can_be_resumed(store: FolderStore) -> None:
    with started(write_for_ever, store.root) as (process, connection):
        received(connection)
        kill(process)
    assert store.find(ADDRESS) is None and not store.has(ADDRESS)
    left = (store.workspace(ADDRESS) / "model").read_text().splitlines()
    assert left[:1001] == [str(number) for number in range(1001)]
    (store.workspace(ADDRESS) / "history").write_text("row")
    folder = store.commit(ADDRESS, {})
    assert sorted(path.name for path in folder.iterdir()) == ["history", MANIFEST, "model"]
    store.verified(ADDRESS)


def test_who_was_killed_between_manifest_and_rename_can_be_resumed(store: FolderStore) -> None:
    write_json(store.workspace(ADDRESS) / MANIFEST, {"files": {"stale": {"size": 1, "sha256": ""}}})
    assert store.find(ADDRESS) is None
    make(store)
    store.verified(ADDRESS)


def test_the_second_of_two_commits_changes_nothing(store: FolderStore) -> None:
    first = make(store)
    before = (first / MANIFEST).read_bytes()
    assert make(store, "other") == first
    assert (first / "model").read_text() == "weights" and (first / MANIFEST).read_bytes() == before
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_commit_onto_a_folder_that_is_not_complete_fails(store: FolderStore) -> None:
    folder = make(store)
    (folder / MANIFEST).unlink()
    with pytest.raises(OSError, match="not empty"):
        make(store)


@pytest.mark.parametrize("damage", [lambda path: path.write_text("weight"), lambda path: path.unlink()])
def test_a_file_cut_short_or_lost_is_named(store: FolderStore, damage: object) -> None:
    folder = make(store)
    assert callable(damage)
    damage(folder / "model")
    with pytest.raises(RuntimeError) as raised:
        store.find(ADDRESS)
    assert str(raised.value) == f"{folder / 'model'}: damaged: must have 7 bytes: remove {folder} and run again"
    assert store.has(ADDRESS)


def test_a_changed_byte_is_found(store: FolderStore) -> None:
    folder = make(store)
    (folder / "model").write_text("Weights")
    for look in (store.find, store.verified):
        with pytest.raises(RuntimeError) as raised:
            look(ADDRESS)
        assert str(raised.value) == f"{folder / 'model'}: damaged: SHA-256 differs: remove {folder} and run again"


def test_a_changed_byte_of_a_large_file_is_found_where_it_is_an_input(store: FolderStore) -> None:
    folder = make(store, "weights " * SMALL_BYTES)
    with (folder / "model").open("r+b") as file:
        file.write(b"W")
    assert store.find(ADDRESS) == folder
    with pytest.raises(RuntimeError, match="SHA-256 differs"):
        store.verified(ADDRESS)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda manifest: "", ": Invalid JSON"),
        (lambda manifest: "[]", ": Input should be an object"),
        (lambda manifest: "{}", "address: Field required"),
        (lambda manifest: manifest.replace('"model"', '"../model"'), "files.../model.[key]: String should match"),
        (lambda manifest: manifest.replace('"size": 7', '"size": -7'), "files.model.size: Input should be greater"),
        (lambda manifest: manifest.replace(ADDRESS, "pretrain/x"), f"pretrain/x: damaged: must be that of {ADDRESS}"),
    ],
)
def test_a_damaged_manifest_is_named(store: FolderStore, change: Callable[[str], str], where: str) -> None:
    path = make(store) / MANIFEST
    path.write_text(change(path.read_text()))
    with pytest.raises(RuntimeError) as raised:
        store.find(ADDRESS)
    assert str(path) in str(raised.value) and where in str(raised.value)
    assert str(raised.value).endswith(f"remove {path.parent} and run again")


def test_a_store_s_leases_are_its_own(store: FolderStore, tmp_path: Path) -> None:
    mine = store.try_lease(ADDRESS)
    assert mine is not None and FolderStore(store.root).try_lease(ADDRESS) is None
    assert store.lease_holder(ADDRESS) is not None
    assert FolderStore(tmp_path / "other").try_lease(ADDRESS) is not None
    mine.release()
    assert store.lease_holder(ADDRESS) is None


def test_a_store_is_a_folder_that_is_created_when_it_is_written_to(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "deep" / "store"))
    assert isinstance(store, FolderStore)
    assert store.root == tmp_path / "deep" / "store"
    assert store.find(ADDRESS) is None and not store.root.exists()
    make(store)
    assert store.find(ADDRESS) is not None and store.root.is_dir()


def test_an_address_that_is_no_store_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--store http://host: must be a folder or s3://bucket/prefix"):
        open_store("http://host")
    with pytest.raises(ValueError, match="--store s3://: must be s3://bucket/prefix"):
        open_store("s3://")


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
