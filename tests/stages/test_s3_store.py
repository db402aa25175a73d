import json
import threading
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.stages import read_cache
from neuroiou_study.stages.manifest import MANIFEST
from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.s3_objects import S3Objects
from neuroiou_study.stages.s3_store import S3Store
from tests.servers.swift import Swift
from tests.stages.buckets import PARTIAL, On, digest, files, make
from tests.stages.processes import run_together
from tests.stages.relay import relay
from tests.stages.test_store import (
    ADDRESS,
    test_hidden_files_end_with_the_making,
    test_nothing_is_there_before_it_is_made,
    test_the_manifest_lists_size_and_hash_of_every_file,
    test_who_was_killed_between_manifest_and_rename_can_be_resumed,
)

__all__ = [  # the same tests, on the ``store`` of this file
    "test_hidden_files_end_with_the_making",
    "test_nothing_is_there_before_it_is_made",
    "test_the_manifest_lists_size_and_hash_of_every_file",
    "test_who_was_killed_between_manifest_and_rename_can_be_resumed",
]


@pytest.fixture
def store(on: On) -> S3Store:
    return on("here")


def test_what_is_made_on_one_machine_is_found_on_another(on: On) -> None:
    here = on("here")
    made = make(here)
    assert made.is_relative_to(here.scratch) and here.find(ADDRESS) == made == here.verified(ADDRESS)
    there = on("there")
    found = there.find(ADDRESS)
    assert found is not None and found != made and files(found) == files(made) == {"model": "weights"}
    assert there.has(ADDRESS) and there.started(ADDRESS) == found == there.verified(ADDRESS)
    assert (found / MANIFEST).read_bytes() == (made / MANIFEST).read_bytes()
    manifest = there.manifest(ADDRESS)
    assert manifest is not None and manifest.origin == {"version": 1}


def test_what_is_kept_on_one_machine_is_gone_on_with_on_another(on: On) -> None:
    here = on("here")
    workspace = here.workspace(ADDRESS)
    assert here.started(ADDRESS) == workspace
    for name, text in {".checkpoint-1.pt": "half", "history": "row", "same": "row", "empty": ""}.items():
        (workspace / name).write_text(text)
    assert on("there").started(ADDRESS) is None
    on("here").keep(ADDRESS)
    (workspace / "history").write_text("not kept")
    there = on("there")
    glance = there.started(ADDRESS)
    assert glance is not None and files(glance) == {"history": "row", "same": "row", "empty": ""}
    assert files(there.workspace(ADDRESS)) == {".checkpoint-1.pt": "half", "history": "row", "same": "row", "empty": ""}
    assert not there.has(ADDRESS) and there.find(ADDRESS) is None


def test_a_machine_goes_on_with_its_own_work_unless_another_has_kept_more(on: On) -> None:
    here = on("here")
    workspace = here.workspace(ADDRESS)
    (workspace / "history").write_text("1")
    here.keep(ADDRESS)
    (workspace / "history").write_text("2")
    assert files(on("here").workspace(ADDRESS)) == {"history": "2"}
    there = on("there")
    (there.workspace(ADDRESS) / "history").write_text("3")
    there.keep(ADDRESS)
    again = on("here")
    assert again.started(ADDRESS) != workspace
    assert files(again.workspace(ADDRESS)) == {"history": "3"}


def test_the_bucket_keeps_only_the_last_of_a_making_and_nothing_once_it_is_complete(store: S3Store) -> None:
    workspace = store.workspace(ADDRESS)
    for number in range(3):
        (workspace / ".checkpoint").write_text(f"{number}")
        (workspace / "snapshot").write_text("constant")
        store.keep(ADDRESS)
        assert len(store.objects.names(PARTIAL)) == 3
    folder = store.commit(ADDRESS, {})
    assert store.objects.names(PARTIAL) == []
    assert store.objects.names(f"stages/{ADDRESS}") == sorted([MANIFEST, digest("constant")])
    assert files(folder) == {"snapshot": "constant"}


def test_who_gives_up_leaves_only_what_can_be_read(on: On) -> None:
    here = on("here")
    (here.workspace(ADDRESS) / ".checkpoint").write_text("half")
    (here.workspace(ADDRESS) / "history").write_text("row")
    here.keep(ADDRESS)
    here.give_up(ADDRESS)
    assert files(here.workspace(ADDRESS)) == {"history": "row"} and here.find(ADDRESS) is None
    assert len(here.objects.names(PARTIAL)) == 2
    glance = on("there").started(ADDRESS)
    assert glance is not None and files(glance) == {"history": "row"}


@pytest.mark.parametrize("late_text", ["weights", "other"])
def test_a_late_maker_changes_nothing(on: On, late_text: str) -> None:
    late, lates = on("late"), on("late").workspace(ADDRESS)
    (lates / "model").write_text(late_text)
    (lates / ".checkpoint").write_text("late")
    late.keep(ADDRESS)
    made = make(on("successor"))
    before = everything(late)
    on("late")
    late.keep(ADDRESS)
    assert everything(late) == before and late.objects.names(PARTIAL) == []
    folder = late.commit(ADDRESS, {"version": 2})
    assert everything(late) == before
    assert files(folder) == files(made) == {"model": "weights"} and not lates.exists()


def test_a_late_maker_does_not_spoil_what_its_successor_keeps(on: On) -> None:
    late = on("late")
    lates = late.workspace(ADDRESS)
    (lates / ".checkpoint").write_text("1")
    late.keep(ADDRESS)
    successor = on("successor")
    (successor.workspace(ADDRESS) / "history").write_text("row")  # has the equal checkpoint
    successor.keep(ADDRESS)
    on("late")
    (lates / ".checkpoint").write_text("2")
    late.keep(ADDRESS)
    on("successor").objects.write(f"{PARTIAL}/{MANIFEST}", kept(successor, "successor", on))
    assert files(on("third").workspace(ADDRESS)) == {".checkpoint": "1", "history": "row"}


def kept(store: S3Store, name: str, on: On) -> bytes:
    on(name)
    return (store.scratch / "stages" / f"{ADDRESS}.partial" / ".kept.json").read_bytes()


def everything(store: S3Store) -> dict[str, tuple[object, object]]:
    return {name: (about["ETag"], about["LastModified"]) for name, about in store.objects.listed().items()}


def look_for(index: int, barrier: Any, address: str) -> None:
    barrier.wait()
    store = S3Store(address)
    folder = store.find(ADDRESS)
    assert folder is not None and (folder / "model").stat().st_size == 3 << 20
    store.verified(ADDRESS)


def test_who_sees_the_manifest_before_the_maker_has_moved_its_folder_takes_nothing_from_it(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, found = S3Objects.create, list[Path | None]()
    reader = threading.Thread(target=lambda: found.append(S3Store(store.address).find(ADDRESS)))

    def create_and_be_seen(objects: S3Objects, name: str, content: bytes) -> bool:
        is_first = create(objects, name, content)
        reader.start()
        reader.join(1.0)  # it waits for us; one that does not is done by then
        return is_first

    monkeypatch.setattr(S3Objects, "create", create_and_be_seen)
    made = make(store)
    reader.join()
    assert found == [made] and files(made) == {"model": "weights"}


def test_many_processes_download_once(on: On, s3: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    store = on("here")
    make(store, "w" * (3 << 20))
    there = on("there")
    with relay(s3.endpoint) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
        run_together(look_for, 3, there.address)
        of_the_model = digest("w" * (3 << 20))
        assert sum(of_the_model in line for line in between.requests) == 1


def test_what_a_result_costs(on: On, s3: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    on("here").scratch.touch()
    with relay(s3.endpoint) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
        here = on("here")
        assert here.find(ADDRESS) is None
        assert between.counted() == {"GET": 1}
        workspace = here.workspace(ADDRESS)
        assert between.counted() == {"GET": 1}
        for number in range(2):
            (workspace / ".checkpoint").write_text(f"{number}")
            (workspace / "model").write_text("constant")
            here.keep(ADDRESS)
        assert between.counted() == {"DELETE": 1, "GET": 2, "PUT": 5}
        here.commit(ADDRESS, {})
        assert between.counted() == {"DELETE": 3, "GET": 2, "PUT": 2}
        for _ in range(3):
            assert here.find(ADDRESS) is not None and here.has(ADDRESS)
        assert between.counted() == {}
        there = on("there")
        for _ in range(3):
            assert there.find(ADDRESS) is not None and there.has(ADDRESS)
        assert between.counted() == {"GET": 2}


def test_a_manifest_goes_up_once_and_after_its_files(on: On, s3: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    with relay(s3.endpoint) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
        here = on("here")
        (here.workspace(ADDRESS) / "model").write_text("weights")
        (here.workspace(ADDRESS) / ".checkpoint").write_text("half")
        for upload, number in ((lambda: here.keep(ADDRESS), 3), (lambda: here.commit(ADDRESS, {}), 2)):
            between.requests.clear()
            upload()
            put = [line.endswith(MANIFEST) for line in between.requests if line.startswith("PUT")]
            assert put == [False] * (number - 1) + [True]


def test_the_copies_fit_their_room_and_what_is_in_use_stays(on: On, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_cache, "IN_USE_SECONDS", 0.0)
    monkeypatch.setattr(read_cache, "HELD", 2)
    monkeypatch.setenv("NEUROIOU_CACHE_GIB", str(2.5e6 / 2**30))
    store = on("here")
    for number in range(5):
        address = f"pretrain/{number}"
        (store.workspace(address) / "model").write_text("w" * 1_000_000)
        store.commit(address, {})
        here = sorted(path.name for path in (store.scratch / "stages" / "pretrain").glob("[0-9]"))
        assert here == [str(each) for each in range(max(0, number - 1), number + 1)]
    assert store.find("pretrain/0") is not None


def test_addresses() -> None:
    for address, prefix in {
        "s3://a.b-c": "",
        "s3://abc/": "",
        "s3://abc/d/e-f.g/": "d/e-f.g/",
        "s3://abc/.d": ".d/",
    }.items():
        store = open_store(address)
        assert isinstance(store, S3Store)
        assert store.objects.prefix == prefix and store.address == address.rstrip("/")
    for address in (
        "s3://",
        "s3://A",
        "s3:///a",
        "s3://abc//d",
        "s3://abc/../d",
        "s3://abc/d/./e",
        "s3://abc/d e",
        "s3://abcd?e",
    ):
        with pytest.raises(ValueError, match=r"^--store s3://.*: must be s3://bucket/prefix: change it"):
            open_store(address)


def test_documents_and_leases_are_in_the_bucket(on: On) -> None:
    here = on("here")
    here.write_json("studies/a/study.json", {"name": "a"})
    there = on("there")
    assert there.read_json("studies/a/study.json") == {"name": "a"} and there.read_json("studies/b.json") is None
    there.objects.write("studies/b.json", b"{")
    with pytest.raises(RuntimeError, match=r"^s3://.*/studies/b.json: .*damaged: must be JSON: remove it and run"):
        there.read_json("studies/b.json")
    mine = here.try_lease(ADDRESS)
    assert mine is not None and there.try_lease(ADDRESS) is None and there.lease_holder(ADDRESS) is not None
    mine.release()
    assert json.loads(there.objects.read(f"leases/{ADDRESS}/000001.lease") or b"?") is None
