"""What runs on the nodes: images, commands, and the token that all of them ask for."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, wrong
from neuroiou_study.spec.cluster import PINNED, is_pinned

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands")
_START = ("head_start_ray_commands", "worker_start_ray_commands")
_AGAIN = "see what `neuroiou-study cluster render` makes"
_ON_HEAD = {
    "--autoscaling-config": "without it no worker is ever started",
    "--num-cpus=0": "the head must run no work",
    "--num-gpus=0": "the head must run no work",
}


def check_images(document: dict[str, Any]) -> Iterator[Problem]:
    """Every image is one for good."""
    types = mapping(document.get("available_node_types"))
    blocks = {"docker": document.get("docker")}
    blocks |= {f"available_node_types.{name}.docker": mapping(each).get("docker") for name, each in types.items()}
    for where, block in blocks.items():
        for key in ("image", "head_image", "worker_image"):
            image = mapping(block).get(key)
            if isinstance(image, str) and not is_pinned(image):
                yield wrong(f"{where}.{key}", image, PINNED)


def check_commands(document: dict[str, Any]) -> Iterator[Problem]:
    """All commands are said, and the ones that start Ray are safe."""
    for key in _SETUP:
        if key not in document:
            yield missing(key, "Ray's own are taken, which install another version: say it, [] for none")
    for key in (*_SETUP, *_START):
        for number, command in enumerate(items(document.get(key))):
            if "nightly" in str(command):
                yield wrong(f"{key}[{number}]", command, "must not install what changes every night: pin a version")
    yield from _starts(document, "head_start_ray_commands", _head)
    yield from _starts(document, "worker_start_ray_commands", _worker)


def _starts(document: dict[str, Any], key: str, rule: Callable[[str, str], Iterator[Problem]]) -> Iterator[Problem]:
    starts = _starting(document, key)
    if not starts:
        yield missing(key, f"must have `ray start`, as Ray's own open the dashboard and ask for no token: {_AGAIN}")
    for number, command in starts:
        where = f"{key}[{number}]"
        yield from _start(where, command)
        yield from rule(where, command)


def check_token(document: dict[str, Any]) -> Iterator[Problem]:
    """The token is carried to all nodes, where only its owner can read it."""
    for key in _START:
        for number, command in _starting(document, key):
            path = _token_path(command)
            if path not in mapping(document.get("file_mounts")):
                rule = "the nodes ask for the token in it: carry it there, `neuroiou-study cluster token` makes one"
                yield missing(f"file_mounts.{path}", f"{rule} ({key}[{number}])")
    commands = [str(each) for each in items(document.get("setup_commands"))]
    if "setup_commands" in document and not any("chmod" in each and "600" in each for each in commands):
        yield missing("setup_commands: chmod 600", f"only its owner may read the token on a node: {_AGAIN}")


def _starting(document: dict[str, Any], key: str) -> list[tuple[int, str]]:
    commands = [str(each) for each in items(document.get(key))]
    return [(number, each) for number, each in enumerate(commands) if "ray start" in each]


def _start(where: str, command: str) -> Iterator[Problem]:
    if not re.search(r"\bRAY_AUTH_MODE=token\b", command):
        yield missing(f"{where}: RAY_AUTH_MODE=token", "nobody may use the cluster without its token: export it")
    for host in re.findall(r"--dashboard-host[= ](\S+)", command):
        if host.strip("'\"") not in LOOPBACK:
            rule = "must be 127.0.0.1: the dashboard runs whatever it is sent; reach it by `ray dashboard`"
            yield wrong(f"{where}: --dashboard-host", host, rule)


def _head(where: str, command: str) -> Iterator[Problem]:
    if "--head" not in command:
        yield missing(f"{where}: --head", f"there would be no cluster: {_AGAIN}")
    for option, why in _ON_HEAD.items():
        if option not in command.replace(" 0", "=0"):
            yield missing(f"{where}: {option}", f"{why}: {_AGAIN}")


def _worker(where: str, command: str) -> Iterator[Problem]:
    if "RAY_HEAD_IP" not in command:
        yield missing(f"{where}: --address=$RAY_HEAD_IP:6379", f"a worker must join the head: {_AGAIN}")


def _token_path(command: str) -> str:
    said = re.search(r"\bRAY_AUTH_TOKEN_PATH=(\S+)", command)
    path = said[1].strip("'\";") if said else "~/.ray/auth_token"
    return path.replace("$HOME", "~").replace("${HOME}", "~")
