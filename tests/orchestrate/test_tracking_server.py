"""Tracking against a real MLflow server, one that dies and one that hangs."""

import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow.pytorch
import pytest
import torch

from neuroiou_study.core.surrogate import Surrogate
from neuroiou_study.orchestrate.tracking import Tracker, sync
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import Assignment, SeedRun, TrialRecord
from tests.orchestrate.tracked import CONTROL, SURROGATE, Played, Shown, shown, tell, tiny_study
from tests.servers.mlflow import MlflowServer, mlflow_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(fresh_database, folder / "mlflow.db")
    with mlflow_server(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")) as server:
        yield server


def test_a_server_that_is_killed_and_comes_back_loses_nothing(
    one: Played, view: Shown, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(one.study, one.store, server.uri)
    # Until the first epoch of the surrogate trial's fine-tuning is seen.
    first = one.news.index(one.epoch(SURROGATE)) + 1
    tell(replace(one, news=one.news[:first]), tracker, conclude=False)
    assert [step for step, _ in shown(one, server.uri).runs[SURROGATE].metrics["finetune/loss"]] == [1]
    server.kill()
    begin = time.monotonic()
    tell(replace(one, news=one.news[first:]), tracker, conclude=False)
    assert time.monotonic() - begin < 10
    assert CONTROL in tracker.behind
    server.start()
    tracker.conclude(one.records)
    assert tracker.behind == ()
    there = shown(one, server.uri)
    assert there.without_ids() == view.without_ids()
    assert sync(one.study, one.store, server.uri) == len(one.records)
    assert shown(one, server.uri) == there
    _require_champion(one, server, monkeypatch)


def _require_champion(one: Played, server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    net = Surrogate.load(one.folder(one.record(SURROGATE), "fit_surrogate")).net
    features = torch.rand(7, len(net.mean))
    torch.testing.assert_close(mlflow.pytorch.load_model("models:/tiny@champion")(features), net(features).detach())


def test_a_server_that_hangs_costs_two_timeouts(
    two: Played, view_of_two: Shown, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(two.study, two.store, server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    server.signal(signal.SIGSTOP)
    begin = time.monotonic()
    tell(two, tracker, conclude=False)
    assert 2 <= time.monotonic() - begin < 15
    server.signal(signal.SIGCONT)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    tracker.conclude(two.records)
    assert shown(two, server.uri).without_ids()["runs"] == view_of_two.without_ids()["runs"]


class Lossy(BaseHTTPRequestHandler):
    """Hands requests on to the server at ``target``; those that end with ``lost`` get no answer."""

    target = ""
    lost = "nothing"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        request = urllib.request.Request(self.target + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request) as response:
                status, answer = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, answer = error.code, error.read()
        if self.path.endswith(self.lost):
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST  # noqa: N815  http.server's names
    do_PUT = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def lossy_uri(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Lossy, "target", server.uri)
    with ThreadingHTTPServer(("127.0.0.1", 0), Lossy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


def test_what_was_done_although_its_answer_was_lost_is_there_once(
    server: MlflowServer, lossy_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, store = tiny_study(search_seed=5), FolderStore(tmp_path)
    assignment = Assignment(arm="ce", number=0, values={})
    history = [{"epoch": epoch, "loss": 1 / epoch, "select_miou": 0.5} for epoch in (1, 2)]
    run = SeedRun(seed=0, stages={}, history=history)
    record = TrialRecord(assignment=assignment, state="failed", score=None, error="x", seconds=1.0, runs=[run])
    tracker = Tracker(study, store, lossy_uri)
    monkeypatch.setattr(Lossy, "lost", "runs/create")
    tracker.begin(assignment)
    with pytest.raises(AssertionError, match="'ce-000', 'ce-000'"):
        shown(Played(study, store, [], [record]), server.uri)

    monkeypatch.setattr(Lossy, "lost", "nothing")
    tracker = Tracker(study, store, lossy_uri)
    for row in history:
        tracker.progress(assignment, Progress("finetune", 0, int(row["epoch"]), 2, {"loss": row["loss"]}))
        monkeypatch.setattr(Lossy, "lost", "runs/log-batch")
    monkeypatch.setattr(Lossy, "lost", "nothing")
    tracker.conclude([record])
    shown_run = shown(Played(study, store, [], [record]), server.uri).runs["ce-000"]
    assert shown_run.metrics["finetune/loss"] == [(1, 1.0), (2, 0.5)]
    assert shown_run.status == "FAILED"
