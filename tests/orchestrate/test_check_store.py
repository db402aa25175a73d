"""The store's check: folders, disks and buckets that are as they must be, and that are not."""

import time
from pathlib import Path

import pytest

from neuroiou_study.orchestrate.check_store import check_store, no_new_folders, require_sound
from neuroiou_study.orchestrate.findings import Finding, find
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.objects import FolderObjects
from neuroiou_study.stages.open_store import open_store
from tests.orchestrate.listeners import closed_port, silent_port
from tests.orchestrate.small_disk import make_read_only, small_disk
from tests.servers.swift import Swift


def found(address: Path | str) -> Finding:
    begin = time.monotonic()
    finding = find("store", lambda: check_store(open_store(str(address))))
    assert time.monotonic() - begin < 10, "a check takes seconds"
    return finding


def test_a_folder_is_sound_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "study.json").write_text("{}")
    for name in ("there", "new/deep"):
        with no_new_folders(FolderStore(tmp_path / name)):
            finding = found(tmp_path / name)
        assert finding == Finding("store", "passed", f"{tmp_path / name}: writable; a name is created once")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["there", "there/study.json"]


def test_a_folder_that_others_use_meanwhile_is_left(tmp_path: Path) -> None:
    with no_new_folders(FolderStore(tmp_path / "runs")):
        found(tmp_path / "runs")
        (tmp_path / "runs" / "theirs").touch()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["theirs"]


def test_disks_that_are_read_only_or_full_are_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        with pytest.raises(OSError, match="No space left"):
            (disk / "big").write_bytes(bytes(1 << 20))
        full = found(disk / "runs")
        assert (full.state, "No space left on device: must be a folder that takes files" in full.text) == (
            "failed",
            True,
        )
        make_read_only(disk)
        locked = found(disk / "runs")
    assert locked.state == "failed"
    assert locked.text.startswith(f"{disk}: Read-only file system: must be a folder that takes files")


class TwoWinners(FolderObjects):
    """A file server whose exclusive create is none."""

    def create(self, name: str, content: bytes) -> bool:
        self.write(name, content)
        return True


class Quiet(TwoWinners):
    """One that says no to the second writer and keeps its content all the same."""

    def create(self, name: str, content: bytes) -> bool:
        is_new = self.read(name) is None
        self.write(name, content)
        return is_new


class Polite(FolderObjects):
    """One that keeps the first writer's and tells both that they have won."""

    def create(self, name: str, content: bytes) -> bool:
        super().create(name, content)
        return True


class Forgetful(FolderObjects):
    """One that gives back something else."""

    def read(self, name: str) -> bytes | None:
        return b""


@pytest.mark.parametrize("kind", [TwoWinners, Quiet, Polite])
def test_a_store_in_which_two_writers_win_is_refused(tmp_path: Path, kind: type[FolderObjects]) -> None:
    with pytest.raises(RuntimeError, match=r"^here: creates one name twice: must refuse a name that is there"):
        require_sound(kind(tmp_path), "name", "here")
    require_sound(FolderObjects(tmp_path), "other", "here")


def test_a_store_that_gives_other_bytes_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^here: read other bytes than were written"):
        require_sound(Forgetful(tmp_path), "name", "here")


def test_a_bucket_is_sound_and_stays_empty(s3: Swift, bucket: str) -> None:
    assert found(f"s3://{bucket}/studies") == Finding(
        "store", "passed", f"s3://{bucket}/studies: writable; a name is created once"
    )
    assert "Contents" not in s3.client().list_objects_v2(Bucket=bucket)


def test_a_bucket_that_is_not_there_is_named(s3: Swift) -> None:
    finding = found("s3://no-such-bucket/studies")
    assert finding.state == "failed"
    assert finding.text.startswith("s3://no-such-bucket/studies: NoSuchBucket: the bucket must be there")


def test_wrong_credentials_are_named_and_not_shown(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    finding = found(f"s3://{bucket}/studies")
    assert finding.state == "failed"
    assert "SignatureDoesNotMatch" in finding.text
    assert "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in finding.text
    assert "planted" not in finding.text


def test_no_credentials_are_named(s3: Swift, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    finding = found("s3://bucket/studies")
    assert (finding.state, "Unable to locate credentials" in finding.text) == ("failed", True)


def test_an_endpoint_that_refuses_or_hangs_is_a_matter_of_seconds(
    s3: Swift, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://planted:secret@127.0.0.1:{closed_port()}")
    refused = found(f"s3://{bucket}/studies")
    with silent_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        silent = found(f"s3://{bucket}/studies")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "no address")
    wrong = found(f"s3://{bucket}/studies")
    assert [each.state for each in (refused, silent, wrong)] == ["failed"] * 3
    assert "Could not connect to the endpoint URL" in refused.text
    assert "must be reachable from every machine" in refused.text
    assert "planted" not in refused.text
    assert "Read timeout" in silent.text
    assert wrong.text.startswith("AWS_ENDPOINT_URL: ")
