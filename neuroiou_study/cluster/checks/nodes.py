"""What runs on the nodes: images, commands, and the files that are carried there."""

from collections.abc import Callable, Iterator
from typing import Any

from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, wrong
from neuroiou_study.cluster.checks.ray_start import RayStart, ray_starts
from neuroiou_study.spec.cluster import PINNED, is_pinned

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEAD, WORKERS = "head_start_ray_commands", "worker_start_ray_commands"
_SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands")
_AGAIN = "see what `neuroiou-study cluster render` makes"
_ON_HEAD = {
    "--autoscaling-config": ("~/ray_bootstrap_config.yaml", "else no worker is ever started"),
    "--num-cpus": ("0", "the head runs no work"),
    "--num-gpus": ("0", "the head runs no work"),
}
_KEYS_OF_A_PERSON = ("~/.ssh", "~/.aws", "~/.config", "~/.kube", "~/.docker", "~/.netrc", "~", "/", "/root", "/home")
_TOO_MUCH = ("--privileged", "--publish", "-p", "--pid", "--cap-add", "--user=root", "--user=0", "-u=root", "-u=0")


def check_docker(document: dict[str, Any]) -> Iterator[Problem]:
    """Every image is one for good, and a container may no more than it must."""
    if "docker" in document:
        docker = mapping(document["docker"])
        for key in ("head", "worker"):
            if not (docker.get("image") or docker.get(f"{key}_image")):
                yield missing(f"docker.{key}_image", "must say in which image Ray runs: add it")
        if not docker.get("container_name"):
            yield missing("docker.container_name", "Ray starts no container without a name: add neuroiou")
    types = mapping(document.get("available_node_types"))
    blocks = {"docker": document.get("docker")}
    blocks |= {f"available_node_types.{name}.docker": mapping(each).get("docker") for name, each in types.items()}
    for where, block in blocks.items():
        yield from _container(where, mapping(block))


def _container(where: str, block: dict[str, Any]) -> Iterator[Problem]:
    for key in ("image", "head_image", "worker_image"):
        image = block.get(key)
        if isinstance(image, str) and not is_pinned(image):
            yield wrong(f"{where}.{key}", image, PINNED)
    for key in ("run_options", "head_run_options", "worker_run_options"):
        for number, option in enumerate(items(block.get(key))):
            words = str(option).replace(" ", "=").split("=")
            if words[0] in _TOO_MUCH or "=".join(words[:2]) in _TOO_MUCH or "docker.sock" in words[-1]:
                yield wrong(f"{where}.{key}[{number}]", option, "would open the machine to what runs in it: remove it")


def check_commands(document: dict[str, Any]) -> Iterator[Problem]:
    """All commands are said, and the ones that start Ray are safe."""
    for key in _SETUP:
        if key not in document:
            yield missing(key, "Ray's own are taken, which install another version: say it, [] for none")
    for key in (*_SETUP, HEAD, WORKERS):
        for number, command in enumerate(items(document.get(key))):
            if "nightly" in str(command):
                yield wrong(f"{key}[{number}]", command, "must not install what changes every night: pin a version")
    yield from _starts(document, HEAD, _head)
    yield from _starts(document, WORKERS, _worker)


def starts(document: dict[str, Any], key: str) -> list[tuple[str, RayStart]]:
    """Place and content of every ``ray start`` that a shell would take."""
    found = []
    for number, command in enumerate(items(document.get(key))):
        try:
            found += [(f"{key}[{number}]", each) for each in ray_starts(str(command))]
        except ValueError:  # _starts says so
            continue
    return found


def check_carried(document: dict[str, Any]) -> Iterator[Problem]:
    """The token goes to all nodes, where only its owner can read it; keys of a person go to none."""
    mounts = mapping(document.get("file_mounts"))
    for where, start in [*starts(document, HEAD), *starts(document, WORKERS)]:
        path = start.environment.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
        path = path.replace("${HOME}", "~").replace("$HOME", "~")
        if path not in mounts:
            rule = f"the nodes ask for the token in it ({where}): carry it there"
            yield missing(f"file_mounts.{path}", f"{rule}, `neuroiou-study cluster token` makes one")
    for remote, local in mounts.items():
        own = str(local).rstrip("/") or "/"
        if any(own == each or own.startswith(f"{each}/") for each in _KEYS_OF_A_PERSON[:6]) or own in _KEYS_OF_A_PERSON:
            yield wrong(f"file_mounts.{remote}", local, "must not carry your own keys to rented machines: remove it")
    commands = [str(each) for each in items(document.get("setup_commands"))]
    if "setup_commands" in document and not any("chmod 600" in each for each in commands):
        yield missing("setup_commands: chmod 600", f"only its owner may read the token on a node: {_AGAIN}")


def _starts(
    document: dict[str, Any], key: str, rule: Callable[[str, RayStart], Iterator[Problem]]
) -> Iterator[Problem]:
    for number, command in enumerate(items(document.get(key))):
        try:
            ray_starts(str(command))
        except ValueError as error:
            yield wrong(f"{key}[{number}]", command, f"must be a command of a shell ({error}): correct it")
            return
    if not starts(document, key):
        yield missing(key, f"must have `ray start`, as Ray's own open the dashboard and ask for no token: {_AGAIN}")
    for where, start in starts(document, key):
        yield from _start(where, start)
        yield from rule(where, start)


def _start(where: str, start: RayStart) -> Iterator[Problem]:
    mode = start.environment.get("RAY_AUTH_MODE", "not exported")
    if mode != "token":
        rule = "must be token, exported before `ray start`: nobody may use the cluster without it"
        yield wrong(f"{where}: RAY_AUTH_MODE", mode, rule)
    host = start.options.get("--dashboard-host", LOOPBACK[0])
    if host not in LOOPBACK:
        rule = "must be 127.0.0.1: the dashboard runs whatever it is sent; reach it by `ray dashboard`"
        yield wrong(f"{where}: --dashboard-host", host, rule)


def _head(where: str, start: RayStart) -> Iterator[Problem]:
    if "--head" not in start.options:
        yield missing(f"{where}: --head", f"there would be no cluster: {_AGAIN}")
    for option, (value, why) in _ON_HEAD.items():
        said = start.options.get(option, "missing")
        if said != value:
            yield wrong(f"{where}: {option}", said, f"must be {value}, {why}: {_AGAIN}")


def _worker(where: str, start: RayStart) -> Iterator[Problem]:
    address = start.options.get("--address", "missing")
    if not address.startswith("$RAY_HEAD_IP:"):
        yield wrong(
            f"{where}: --address", address, "must be $RAY_HEAD_IP:6379, else it does not join the head: change it"
        )
