"""A study lives with an MLflow that is away or refuses."""

import logging
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from neuroiou_study.orchestrate import tracking
from neuroiou_study.orchestrate.tracking import Tracker, sync
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import SeedRun
from tests.orchestrate.tracked import CONTROL, FAILED, PRUNED, SURROGATE, Played, shown, tell, tiny_study


@pytest.mark.parametrize(
    "wrong", ["file:///tmp/mlruns", "mlruns", "", "sqlite:///relative.db", "postgresql://me:s@secret@host/db"]
)
def test_a_uri_that_cannot_work_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"--tracking-uri: .*: must be http\(s\)://… or sqlite:////.*: change it"
    ) as caught:
        Tracker(tiny_study(), FolderStore(tmp_path), wrong)
    assert "secret" not in str(caught.value)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_without_a_server_the_study_goes_on(one: Played, caplog: pytest.LogCaptureFixture) -> None:
    uri = f"http://me:s@secret@127.0.0.1:{closed_port()}"
    begin = time.monotonic()
    tracker = Tracker(one.study, one.store, uri)
    tell(one, tracker)
    assert time.monotonic() - begin < 10
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith("MLflow at http://***@127.0.0.1:")
    assert "`neuroiou-study sync`" in warning
    assert "secret" not in caplog.text
    assert set(tracker.behind) == {SURROGATE, PRUNED, FAILED, CONTROL, "summary"}


def test_without_a_server_sync_says_what_to_do(one: Played) -> None:
    uri = f"http://me:s@secret@127.0.0.1:{closed_port()}"
    with pytest.raises(RuntimeError, match=r"MLflow at http://\*\*\*@127.*: must be reachable .*: start") as caught:
        sync(one.study, one.store, uri)
    assert "secret" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)


@pytest.mark.parametrize("where", ["a_file/mlflow.db", "a_folder", "garbage.db"])
def test_a_database_that_cannot_be_opened_does_not_stop_the_study(
    where: str, one: Played, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a_file").write_text("not a folder")
    (tmp_path / "a_folder").mkdir()
    (tmp_path / "garbage.db").write_text("not a database, but quite some text all the same " * 10)
    begin = time.monotonic()
    tell(one, Tracker(one.study, one.store, f"sqlite:///{tmp_path / where}"))
    assert time.monotonic() - begin < 5
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_one_trial_that_mlflow_refuses_does_not_keep_the_others_out(
    one: Played, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracker, record = Tracker(one.study, one.store, uri), one.record(SURROGATE)
    refused = record.model_copy(
        update={
            "assignment": record.assignment.model_copy(update={"number": 9}),
            "runs": [SeedRun(seed=0, stages={}, history=[{"epoch": 1, "bad=name": 1.0}])],
        }
    )
    tracker.finish(refused)
    tracker.finish(one.record(CONTROL))
    assert tracker.behind == ("neuroiou-009",)
    assert shown(one, uri).runs[CONTROL].status == "FINISHED"
    assert "bad=name" in caplog.text


def test_the_user_decides_how_long_to_wait(one: Played, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    Tracker(one.study, one.store, uri)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == tracking.DEFAULTS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]


class Overloaded(BaseHTTPRequestHandler):
    """A server that asks everybody to come again in a minute."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Retry-After", "60")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815  http.server's name

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def test_an_overloaded_server_cannot_make_the_study_wait(one: Played) -> None:
    with HTTPServer(("127.0.0.1", 0), Overloaded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begin = time.monotonic()
        tell(one, Tracker(one.study, one.store, f"http://127.0.0.1:{server.server_port}"))
        assert time.monotonic() - begin < 10
        server.shutdown()
