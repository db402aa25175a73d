"""What a node runs to become one: the environment of everything on it, and Ray with known ports."""

from collections.abc import Iterable
from typing import Literal

from neuroiou_study.spec.cluster import ClusterSpec, WorkersSpec

TOKEN = "~/.ray/auth_token"  # noqa: S105  a path
PORTS = {
    "node-manager-port": 6380,
    "object-manager-port": 6381,
    "runtime-env-agent-port": 6382,
    "metrics-export-port": 6383,
    "dashboard-agent-grpc-port": 6384,
    "dashboard-agent-listen-port": 6385,
    "min-worker-port": 10002,
    "max-worker-port": 10999,
}
"""Of every node, so that a firewall can name them; `docs/cluster.md` says who uses each."""
HEAD_PORTS = {"port": 6379, "dashboard-port": 8265, "ray-client-server-port": 10001}
Cloud = Literal["aws", "gcp"]


def environment(spec: ClusterSpec, growth: str) -> dict[str, str]:
    """The variables of all that runs on a node. ``growth`` is what the cluster may grow to, as a study reads it."""
    tracking = {"MLFLOW_TRACKING_URI": spec.tracking_uri} if spec.tracking_uri else {}
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "NEUROIOU_STORE": spec.store,
        **({"NEUROIOU_GROWTH": growth} if growth else {}),
        **tracking,
        **spec.environment,
    }


def growth(machines: Iterable[tuple[int, WorkersSpec]]) -> str:
    """How many of which workers there may be, as ``orchestrate/machines.py`` reads it: ``8x4c1g,2x48c4g``."""
    return ",".join(f"{number}x{each.cpus}c{each.gpus}g" for number, each in machines if number)


def head_commands(spec: ClusterSpec, grown: str) -> list[str]:
    """Of the head, which runs no work: it has no CPU and no GPU to lend."""
    options = [
        "--head --num-cpus=0 --num-gpus=0 --dashboard-host=127.0.0.1 --disable-usage-stats",
        *(f"--{name}={number}" for name, number in {**HEAD_PORTS, **PORTS}.items()),
        "--autoscaling-config=~/ray_bootstrap_config.yaml",
    ]
    return [_stop(spec), f"{_exports(spec, grown)}; {_LIMIT}; ray start {' '.join(options)}"]


def worker_commands(spec: ClusterSpec, grown: str, resources: str = "", cloud: Cloud | None = None) -> list[str]:
    """Of a worker; ``resources`` are options of ``ray start``, and in a ``cloud`` its notices are watched for."""
    options = [
        "--address=$RAY_HEAD_IP:6379 --disable-usage-stats",
        *([resources] if resources else []),
        *(f"--{name}={number}" for name, number in PORTS.items()),
    ]
    start = f"{_exports(spec, grown)}; {_LIMIT}; ray start {' '.join(options)}"
    watch = f"(setsid python -m neuroiou_study.cluster.spot_notice {cloud} </dev/null >/tmp/spot_notice.log 2>&1 &)"
    return [_stop(spec), f"{start} && {watch}" if cloud else start]


_LIMIT = "ulimit -n 65536 || true"


def _stop(spec: ClusterSpec) -> str:
    """What Ray left there before, as after a restart of the head."""
    return "ray stop" if spec.docker else f"PATH={spec.path}:$PATH ray stop"


def _exports(spec: ClusterSpec, grown: str) -> str:
    path = "" if spec.docker else f"PATH={spec.path}:$PATH "
    pairs = " ".join(f"{name}={value}" for name, value in environment(spec, grown).items())
    return f"export {path}RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token {pairs}"
