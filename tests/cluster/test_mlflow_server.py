"""`cluster/mlflow/`: its server with users, on real PostgreSQL and a real bucket; its compose file; the image."""

import os
import re
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
import yaml
from mlflow import MlflowClient

from tests.servers.fixtures import bucket, postgres_server, s3, swift_server
from tests.servers.postgres import Postgres
from tests.servers.process import Program, free_ports
from tests.servers.swift import Swift
from tests.studies import call, stray, write_study

__all__ = ["bucket", "postgres_server", "s3", "swift_server"]
FOLDER = Path(__file__).parents[2] / "cluster" / "mlflow"
ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "only-for-this-test"}


@pytest.fixture
def settings(tmp_path: Path, postgres_server: Postgres, s3: Swift, bucket: str) -> dict[str, str]:
    """What serve.sh wants to know."""
    (port,) = free_ports(1)
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_BACKEND_STORE_URI": postgres_server.database("mlflow_with_users"),
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{bucket}/mlflow",
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN["MLFLOW_TRACKING_PASSWORD"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "random-for-this-test",
        "PORT": str(port),
        "STATE": str(tmp_path / "state"),
        "WORKERS": "1",
        **s3.environment,
    }


@pytest.fixture
def server(settings: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of the server while it runs."""
    uri = f"http://127.0.0.1:{settings['PORT']}"
    program = Program(["sh", str(FOLDER / "serve.sh")], tmp_path / "log", settings)
    try:
        program.start()
        program.wait_until(lambda: answers(uri))
        yield uri
    finally:
        program.kill()


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def test_a_study_is_shown_to_those_with_a_password(
    server: str, settings: dict[str, str], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server}/api/2.0/mlflow/experiments/search?max_results=1", timeout=30)
    assert refused.value.code == 401
    study = write_study(tmp_path, controls={}, budget={"max_trials": 1})
    options = ("--store", tmp_path / "runs", "--backend", "local", "--tracking-uri", server)
    stranger = call("doctor", study, *options, "--data", "sampled")
    assert stranger.returncode == 2 and re.search(r"tracking.*401", stranger.stdout + stranger.stderr, re.DOTALL)
    done = call("run", study, *options, env={**os.environ, **ADMIN})
    assert (done.returncode, stray(done.stderr)) == (0, [])
    for name, value in ADMIN.items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(server)
    (experiment,) = [each for each in client.search_experiments() if each.name.startswith("tiny-")]
    states = {run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert states == {"FINISHED"}
    # Artifacts came to the bucket through the server.
    kept = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="mlflow/")["Contents"]
    assert len(kept) > 3
    assert ADMIN["MLFLOW_TRACKING_PASSWORD"] not in done.stdout
    settings_file = Path(settings["STATE"]) / "auth.ini"
    assert stat.S_IMODE(settings_file.stat().st_mode) == 0o600
    assert ADMIN["MLFLOW_TRACKING_PASSWORD"] not in settings_file.read_text()


@pytest.mark.parametrize("name", ["MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_BACKEND_STORE_URI"])
def test_a_setting_that_is_missing_is_named(name: str) -> None:
    needed = re.findall(r"^#   (MLFLOW_\w+) ", (FOLDER / "serve.sh").read_text(), re.MULTILINE)
    environment = {each: "something" for each in needed if each != name}
    done = subprocess.run(["sh", FOLDER / "serve.sh"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name}: unset: the server needs it: see the head of serve.sh\n"


def test_the_compose_file_gives_the_server_what_it_needs_and_keeps_it_inside() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    services = compose["services"]
    needed = set(re.findall(r"\$\{(\w+)[:?-]", (FOLDER / "compose.yaml").read_text()))
    offered = set(re.findall(r"^(\w+)=", (FOLDER / "env.example").read_text(), re.MULTILINE))
    assert needed - offered <= {"AWS_ENDPOINT_URL"} and offered <= needed
    script = (FOLDER / "serve.sh").read_text()
    wanted = set(re.search(r"for name in (.*?); do", script, re.DOTALL)[1].replace("\\", "").split())  # type: ignore[index]
    assert wanted <= set(services["mlflow"]["environment"])
    assert services["mlflow"]["ports"] == ["${BIND:-127.0.0.1}:5000:5000"] and "ports" not in services["postgres"]
    assert services["postgres"]["networks"] == ["inside"] and compose["networks"]["inside"]["internal"]
    # Passwords come from .env, and nothing starts without them.
    secrets = {**services["mlflow"]["environment"], **services["postgres"]["environment"]}
    for name, value in secrets.items():
        if re.search("PASSWORD|SECRET", name):
            assert re.fullmatch(r"\$\{\w+:\?write it into .env\}", value), name
    image = services["postgres"]["image"]
    assert re.fullmatch(r"postgres:\d+\.\d+-\w+", image)


def test_the_image_is_pinned_and_runs_without_root() -> None:
    text = (FOLDER.parent / "Dockerfile").read_text()
    (ray,) = re.findall(r"^ray==(.+)$", (FOLDER.parents[1] / "constraints.txt").read_text(), re.MULTILINE)
    assert f"ARG RAY_IMAGE=rayproject/ray:{ray}-py311-${{VARIANT}}" in text
    assert "--constraint constraints.txt" in text
    assert text.rstrip().endswith("USER 1000")
    copied = {name for line in re.findall(r"^COPY --chown=\S+ (.*) \S+$", text, re.MULTILINE) for name in line.split()}
    assert all((FOLDER.parents[1] / name).exists() for name in copied)
    ignored = (FOLDER.parent / "Dockerfile.dockerignore").read_text().split()
    assert {f"!{name}" for name in copied} == {each for each in ignored if each.startswith("!")}
