"""``neuroiou-study doctor`` as a person and a program meet it."""

import json
import os
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.orchestrate.listeners import closed_port
from tests.ray_head import ray_head
from tests.studies import call, write_study


def test_the_quickstart_is_ready_within_seconds(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = call("doctor", REPOSITORY / "search_spaces" / "quickstart.yaml", "--store", tmp_path / "runs")
    seconds = time.monotonic() - begin
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"✓ store       {tmp_path / 'runs'}: writable; a name is created once\n" in done.stdout
    assert "✓ data        240 images and their labels: opened\n" in done.stdout
    assert "– GPU memory  no GPU is asked for\n" in done.stdout
    assert done.stderr == "", "nobody watches: no progress"
    assert list(tmp_path.iterdir()) == []
    assert seconds < 30, "10 s on a machine that does nothing else"


def test_what_is_missing_is_named_and_the_exit_code_says_so(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    uri = f"http://me:planted@127.0.0.1:{closed_port()}"
    many = ("--set", "resources.workers=3000", "--backend", "ray")
    done = call("doctor", study, "--store", tmp_path / "runs", "--tracking-uri", uri, *many)
    assert done.returncode == 2
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("✗ tracking    --tracking-uri http://***@")]
    assert line.endswith(": Connection refused: must be an MLflow server that answers: start it or correct the address")
    assert done.stderr == f"{study}: not ready: tracking, resources, data\n"
    assert "planted" not in done.stdout + done.stderr


def test_programs_get_json(tmp_path: Path) -> None:
    database = f"postgresql+psycopg2://me:planted@127.0.0.1:{closed_port()}/x"
    done = call(
        *("doctor", write_study(tmp_path), "--store", tmp_path / "runs", "--json", "--data", "sampled"),
        *("--backend", "local", "--optuna-storage", database),
    )
    assert done.returncode == 2
    findings = {each["name"]: each for each in json.loads(done.stdout)}
    assert findings["optuna"]["state"] == "failed"
    assert "Connection refused" in findings["optuna"]["text"]
    assert findings["store"] == {
        "name": "store",
        "state": "passed",
        "text": f"{tmp_path / 'runs'}: writable; a name is created once",
    }
    assert "an even sample" in findings["data"]["text"]
    assert "planted" not in done.stdout + done.stderr


def test_wrong_input_ends_before_any_check(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    assert call("doctor", tmp_path / "none.yaml").returncode == 2
    done = call("doctor", study, "--store", "ftp://somewhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "must be a folder or s3://bucket/prefix" in done.stderr


def test_code_is_allowed_by_the_command_line_only(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(
        "from neuroiou_study.core.models.unet import UNet\n"
        "def make(num_classes):\n    return UNet(num_classes, width=4, levels=1)\n"
    )
    study = write_study(tmp_path, model={"name": "custom", "factory": "planted:make"})
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = ("doctor", study, "--store", tmp_path / "runs", "--backend", "local")
    refused, allowed = call(*command, env=env), call(*command, "--allow-code", env=env)
    assert (refused.returncode, allowed.returncode) == (2, 0), refused.stdout + allowed.stdout
    assert "✗ custom code model.factory: planted:make: runs code of its own: pass --allow-code" in refused.stdout
    assert "✓ custom code planted:make: allowed" in allowed.stdout


def test_a_cluster_that_keeps_us_out_is_named(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    (tmp_path / "token").write_text("planted0planted0planted0planted0")
    with ray_head(dashboard=False) as head:
        command = ("doctor", study, "--store", tmp_path / "runs", "--address", head.address)
        right = call(*command, env=head.environment)
        wrong = call(*command, env={**head.environment, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")})
    assert (right.returncode, wrong.returncode) == (0, 2), right.stdout + right.stderr
    assert f"✓ resources   the cluster at {head.address}: 2 CPUs and 0 GPUs on 1 machine: 2 trials" in right.stdout
    assert f"✗ resources   --address {head.address}: " in wrong.stdout
    assert "planted" not in wrong.stdout + wrong.stderr


def test_help_names_its_options() -> None:
    text = call("doctor", "--help", env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}).stdout
    for option in ("--store", "--tracking-uri", "--optuna-storage", "--address", "--data", "--allow-code", "--json"):
        assert option in text
