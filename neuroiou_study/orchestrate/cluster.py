"""The connection to Ray: a cluster's address, or a local cluster for this one command."""

import contextlib
import logging
import os
import secrets
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private import services

from neuroiou_study.orchestrate.machines import Machine, growth, num_trials
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.store import Store

LOOPBACK = "127.0.0.1"
# A path of a study file means the same in a worker as where the command was given.
_WHERE_WE_ARE = {"RAY_CHDIR_TO_TRIAL_DIR": "0"}
_FOR_DRIVER = {
    **_WHERE_WE_ARE,
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Tune would take Ctrl-C for the wish to end this search well, and go on with what comes after it.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune would write all trials down again and again, for a Tuner.restore that is not used.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
}
_FOR_WORKERS = {
    **_WHERE_WE_ARE,
    # Ray Train passes reports and ends on at this interval; its 2 s would be longer than a small epoch.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    # A rented machine may take minutes to come; asking again every minute would not make it faster.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "900",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    # A run is found by its tag, never by what a parent process had in its environment.
    "MLFLOW_RUN_ID": "",
}


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray is connected inside the block: to ``address`` (or RAY_ADDRESS), else to a local cluster made for it."""
    address = address or os.environ.get("RAY_ADDRESS")
    for name, value in _FOR_DRIVER.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="ray")
    if address is None:
        _make_token()
    with _own_sigterm(), contextlib.nullcontext() if address else _on_loopback():
        _init(address)
    try:
        yield
    finally:
        ray.shutdown()


def _init(address: str | None) -> None:
    ray.init(
        address=address or "local",
        include_dashboard=False if address is None else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address=None if address else LOOPBACK,
        runtime_env={"env_vars": {**_FOR_WORKERS, **_allowed_code()}},
    )


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """In the block a cluster that begins on 127.0.0.1 stays there.

    On Linux, Ray would put the machine's own address in its place, and listen on all addresses.
    """
    former = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = former


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """After the block SIGTERM goes where it went before; with Ray's own handlers it would look like a crash."""
    is_main, handler = threading.current_thread() is threading.main_thread(), signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)


def _allowed_code() -> dict[str, str]:
    return {name: os.environ[name] for name in ("NEUROIOU_ALLOW_CODE",) if name in os.environ}


def _make_token() -> None:
    """See that only this user can read the token that Ray asks for, the key to this user's processes.

    A cluster that we start asks for it unless RAY_AUTH_MODE says otherwise; Ray would make one for everyone to read.
    """
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    path.chmod(0o600)


def machines_there() -> list[Machine]:
    """The nodes of the cluster that this process is connected to."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return [Machine(has.get("CPU", 0), has.get("GPU", 0)) for has in alive]


def machines() -> list[Machine]:
    """The machines that work can be given to: what the cluster grows to, if it says so, else the nodes it has."""
    return growth() or machines_there()


def trials_at_once(resources: ResourcesSpec) -> int:
    """How many trials run together: what the study says, or what the cluster holds.

    Raises RuntimeError if the cluster cannot hold even one.
    """
    fits = num_trials(resources, machines())
    if fits < 1:
        cpus, gpus = (sum(getattr(each, kind) for each in machines()) for kind in ("cpus", "gpus"))
        has = f"{cpus:g} CPUs and {gpus:g} GPUs"
        needs = f"{resources.workers} workers × {resources.cpus_per_worker:g} CPUs, {resources.gpus_per_worker:g} GPUs"
        raise RuntimeError(f"resources: {needs}: the cluster has {has}: lower resources or add nodes")
    return min(fits, resources.trials_at_once or fits)


def shared_workers(resources: ResourcesSpec) -> int:
    """Workers of the stages that all trials share: by default all that the trials have together on what is there now.

    They start together or not at all, and a machine that is still to come may not be had.
    """
    now = min(num_trials(resources, machines_there()), trials_at_once(resources))
    return resources.shared_workers or resources.workers * max(1, now)


def ray_folder(store: Store) -> Path:
    """Where Ray keeps its own notes of a study; nobody reads them after it."""
    folder = store.scratch / "ray"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
