"""A bucket that is away while a stage trains: training goes on, and what is finished waits for it."""

from pathlib import Path

import pytest

from neuroiou_study.stages.backend import LocalWorker, Progress
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan, run_stages
from neuroiou_study.stages.s3_store import S3Store
from tests.servers.fixtures import need
from tests.servers.swift import missing_for_swift, swift
from tests.stages.tiny import tiny_trial


def test_training_does_not_wait_for_a_bucket_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need(missing_for_swift())
    spec = tiny_trial(pretrain__epochs=4)
    address, plain = plan(spec)["pretrain"].address, FolderStore(tmp_path / "plain")
    run_stages(spec, plain, LocalWorker(), ["pretrain"])
    heard: list[int] = []
    with swift() as server:
        for name, value in {**server.environment, "NEUROIOU_CACHE": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        server.make_bucket("bucket")

        def listener(progress: Progress) -> bool:
            heard.append(progress.epoch)
            if progress.epoch == 1:
                server.kill()
            if progress.epoch == 4:
                server.start()
            return False

        store = S3Store("s3://bucket/runs")
        run_stages(spec, store, LocalWorker(listener=listener), ["pretrain"])
        manifests = [each.manifest(address) for each in (store, plain)]
    assert heard == [1, 2, 3, 4]
    assert "the checkpoint is on this machine only, until the next one" in caplog.text
    one, other = (manifest.files for manifest in manifests if manifest is not None)
    assert one == other
