"""What a shell gives to `ray start`: the shell itself is the oracle."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from neuroiou_study.cluster.checks.ray_start import ray_starts
from tests.cluster.wrong_file import SHIPPED

COMMANDS = [
    "export A=1; ray start --head",
    "A=1; ray start --head",
    "A=1 ray start --head",
    "A=1; export A; ray start --head",
    "export A=1; A=2; ray start --head",
    "export A=1; export A=2; ray start --head",
    "export A=1; A=2 ray start --head",
    "export A=1 B='2 3' && ulimit -n 64 || true; ray start --head --port=1",
    "export A=1; ray start --head --dashboard-host 0.0.0.0 --num-cpus=0 --num-cpus=8",
    "true; export A=1\nray start --head",
    'export A="1;2"; ray start --head --x="a b"',
    "export A=1 && ray start --head && (setsid python -m x </dev/null >/dev/null 2>&1 &)",
    "ray stop; export A=1; /opt/x/bin/ray start --head",
]


@pytest.fixture
def shell_says(tmp_path: Path) -> Path:
    """A folder with a `ray` that writes down what it is given."""
    ray = tmp_path / "ray"
    ray.write_text(
        '#!/bin/sh\n[ "$1" = start ] && { env; for word in "$@"; do echo "word $word"; done; } >>"$SAID"\nexit 0\n'
    )
    ray.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_as_the_shell_does(command: str, shell_says: Path) -> None:
    said = shell_says / "said"
    environment = {"PATH": f"{shell_says}:{os.environ['PATH']}", "SAID": str(said)}
    subprocess.run(["bash", "-c", command.replace("/opt/x/bin", str(shell_says))], env=environment, check=False)
    lines = said.read_text().splitlines()
    (start,) = ray_starts(command)
    assert {line for line in lines if line[:2] in ("A=", "B=")} == {f"{k}={v}" for k, v in start.environment.items()}
    words = [line.removeprefix("word ") for line in lines if line.startswith("word ")][1:]
    for option, value in start.options.items():
        assert f"{option}={value}" in words or option in words
        assert value in ("", words[-1].partition("=")[2]) or any(value in word for word in words)


def test_of_what_is_said_twice_the_last_counts() -> None:
    (start,) = ray_starts("ray start --num-cpus=0 --num-cpus 8 --head --port=1")
    assert start.options == {"--num-cpus": "8", "--head": "", "--port": "1"}


def test_what_only_looks_like_it_is_none() -> None:
    assert ray_starts("echo ray start; ray stop; # ray start\nraystart") == []
    with pytest.raises(ValueError):
        ray_starts("ray start --x='")


def test_the_shipped_commands_are_read() -> None:
    document = yaml.safe_load((SHIPPED / "aws-gpu.yaml").read_text())
    (start,) = ray_starts(document["worker_start_ray_commands"][1])
    assert start.options["--address"] == "$RAY_HEAD_IP:6379"
    assert start.environment["RAY_AUTH_MODE"] == "token"
