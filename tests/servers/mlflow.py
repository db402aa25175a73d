"""A real MLflow tracking server with the artifact proxy, on a loopback port."""

import os
import shutil
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import LOOPBACK, Program, free_ports


@dataclass(frozen=True)
class MlflowServer:
    """An MLflow server; all that it keeps is in its backend store and its artifact folder or bucket."""

    uri: str
    program: Program

    def start(self) -> None:
        """Start it on its port; it answers when this returns."""
        self.program.start()
        self.program.wait_until(self._answers)

    def kill(self) -> None:
        """SIGKILL it and its workers."""
        self.program.kill()

    def signal(self, number: signal.Signals) -> None:
        """To it and its workers: they are a process group of their own."""
        assert self.program.process is not None
        os.killpg(self.program.process.pid, number)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def mlflow_server(
    backend: str, artifacts: str, environment: Mapping[str, str] | None = None, address: str = LOOPBACK
) -> Iterator[MlflowServer]:
    """A server at ``address`` that answers while the block runs.

    ``backend`` is a database's URL, ``artifacts`` a folder or ``s3://bucket/…`` (then ``environment`` says how to get
    there; clients need no keys).
    """
    folder = Path(tempfile.mkdtemp(prefix="mlflow-"))
    server = _make(folder, backend, artifacts, environment or {}, address)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def _make(folder: Path, backend: str, artifacts: str, environment: Mapping[str, str], address: str) -> MlflowServer:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", address, "--port", str(port)]
    # The URL has a password, which `ps` would show: MLflow reads it from the environment as well.
    own = {
        "MLFLOW_BACKEND_STORE_URI": backend,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves eight processes
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{address}:*",
    }
    if endpoint := environment.get("AWS_ENDPOINT_URL"):
        own["MLFLOW_S3_ENDPOINT_URL"] = endpoint  # it does not look at the other one
    return MlflowServer(f"http://{address}:{port}", Program(command, folder / "log", {**environment, **own}))
