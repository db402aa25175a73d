"""Damage in the bucket is noticed; a damaged copy is fetched again."""

from collections.abc import Callable

import pytest

from neuroiou_study.stages.manifest import MANIFEST
from neuroiou_study.stages.s3_store import S3Store
from neuroiou_study.stages.store import SMALL_BYTES
from tests.stages.buckets import PARTIAL, On, digest, files, make
from tests.stages.test_store import ADDRESS


def _change(store: S3Store) -> None:
    store.objects.write(f"stages/{ADDRESS}/{digest('weights')}", b"Weights")


def _cut(store: S3Store) -> None:
    store.objects.write(f"stages/{ADDRESS}/{digest('weights')}", b"weight")


def _lose(store: S3Store) -> None:
    store.objects.delete(f"stages/{ADDRESS}/{digest('weights')}")


def _damage(store: S3Store) -> None:
    store.objects.write(f"stages/{ADDRESS}/{MANIFEST}", b"{}")


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (_change, "SHA-256 differs"),
        (_cut, "must have 7 bytes"),
        (_lose, "must be there"),
        (_damage, "address: Field required"),
    ],
)
def test_damage_in_the_bucket_is_noticed(on: On, damage: Callable[[S3Store], None], rule: str) -> None:
    damage(_made(on("here")))
    there = on("there")
    for look in (there.find, there.verified):
        with pytest.raises(RuntimeError) as raised:
            look(ADDRESS)
        where = f"{there.address}/stages/{ADDRESS}"
        assert f"{where}/" in str(raised.value) and rule in str(raised.value)
        assert str(raised.value).endswith(f"damaged: {rule}: remove {where} and run again") or damage is _damage
    assert there.has(ADDRESS)
    assert not (there.scratch / "stages" / ADDRESS).exists()


def _made(store: S3Store) -> S3Store:
    make(store)
    return store


@pytest.mark.parametrize("size", [7, 2 * SMALL_BYTES])
def test_a_damaged_copy_is_fetched_again(on: On, size: int, caplog: pytest.LogCaptureFixture) -> None:
    make(on("here"), "w" * size)
    there = on("there")
    folder = there.verified(ADDRESS)
    for is_lost in (False, True):
        (folder / "model").write_text("W" * size)
        if is_lost:
            (folder / "model").unlink()
        assert (there.verified(ADDRESS) / "model").read_text() == "w" * size
        assert "it is fetched again" in caplog.text


def test_a_copy_of_what_was_removed_and_made_anew_is_fetched_again(on: On) -> None:
    here = on("here")
    make(here, "old")
    for name in here.objects.listed():
        here.objects.delete(name)
    make(on("there"), "new")
    found = on("here").find(ADDRESS)
    assert found is not None and files(found) == {"model": "new"}


@pytest.mark.parametrize("damage", [b"{}", b"", None])
def test_a_damaged_making_begins_anew(on: On, damage: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    here = on("here")
    (here.workspace(ADDRESS) / ".checkpoint").write_text("half")
    here.keep(ADDRESS)
    if damage is None:
        (name,) = set(here.objects.names(PARTIAL)) - {MANIFEST}
        here.objects.delete(f"{PARTIAL}/{name}")
    else:
        here.objects.write(f"{PARTIAL}/{MANIFEST}", damage)
    assert files(on("there").workspace(ADDRESS)) == {}
    assert "the stage begins anew" in caplog.text
