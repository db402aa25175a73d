"""What the files of Ray's own launcher (``ray up``) have in common, whoever rents out the machines."""

from collections.abc import Sequence
from typing import Any, TypeVar

from neuroiou_study.cluster.blocks import Block
from neuroiou_study.cluster.start import TOKEN
from neuroiou_study.spec.cluster import ClusterSpec, RentedWorkersSpec, WorkersSpec

MOST_PRIORITY = 100
ORDER = (
    "Ray rents the size that is filled best by what is asked for; of sizes that are filled equally, the one of the"
    " higher priority: spot before the full price, then the one with fewer GPUs."
)
"""*measured* with Ray 2.60's own scheduler (`tests/cluster/test_order.py`): a priority decides what is left open."""
Size = TypeVar("Size", bound=RentedWorkersSpec)
RAY_VERSION = "2.60.0"
"""As in `constraints.txt` and the images; a test holds them together."""
RAY_SCHEMA = (
    f"https://raw.githubusercontent.com/ray-project/ray/ray-{RAY_VERSION}/python/ray/autoscaler/ray-schema.json"
)
"""Ray's own, for editors. It does not know all that machines of one's own may say."""


def head(spec: ClusterSpec, provider: str, file: str, before: str = "") -> str:
    """The first comment: what the file is and what to do with it."""
    return f"""Studies on {provider}. Made of a cluster file by `neuroiou-study cluster render`: change that one.

Check it, without any network; once, make the token that all nodes ask for:
  neuroiou-study cluster check {file}
  neuroiou-study cluster token
Begin the cluster, and keep a tunnel to its dashboard open:
  export RAY_AUTH_MODE=token
  {before}ray up {file}
  {before}ray dashboard {file}
Run a study; the job goes on without you:
  ray job submit --address http://127.0.0.1:8265 --working-dir . \\
    --runtime-env-json '{{"env_vars": {{"RAY_JOB_STOP_WAIT_TIME_S": "20"}}}}' \\
    -- python jobs/run_study.py search_spaces/quickstart.yaml
End every machine of the cluster {spec.name!r}:
  {before}ray down {file}

docs/cluster.md has the whole path, and what to do when something is wrong. No secret is in this file."""


def begin(spec: ClusterSpec, max_workers: int) -> Block:
    """Name and size."""
    comment = "At most so many workers; one without work for so long is given back."
    size = {"max_workers": max_workers, "upscaling_speed": 1.0, "idle_timeout_minutes": spec.idle_minutes}
    return Block(comment, {"cluster_name": spec.name, **size})


def docker(spec: ClusterSpec) -> list[Block]:
    """The containers, if there are any. Groups of workers without GPUs name the smaller image themselves."""
    if not spec.docker:
        return []
    comment = "Everything runs in these images, without root. `docker: false` in the cluster file leaves this out."
    images = {"head_image": spec.images.cpu, "worker_image": spec.images.gpu}
    options = {"container_name": "neuroiou", "pull_before_run": True, "run_options": ["--ulimit nofile=65536:65536"]}
    return [Block(comment, {"docker": {**images, **options}})]


def node_type(
    spec: ClusterSpec, workers: RentedWorkersSpec, market: str, node_config: dict[str, Any]
) -> dict[str, Any]:
    """One size of workers on one market."""
    own_image = {"docker": {"worker_image": spec.images.cpu}} if spec.docker and not workers.gpus else {}
    return {
        "min_workers": 0,
        "max_workers": workers.spot if market == "spot" else workers.on_demand,
        "priority": priority(workers, market == "spot"),
        "resources": {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})},
        "labels": {"market": market, "size": workers.name},
        **own_image,
        "node_config": node_config,
    }


def priority(workers: WorkersSpec, spot: bool) -> int:
    """The spot market before the full price; of either, the size with fewer GPUs. What that decides is in ORDER."""
    return (MOST_PRIORITY if spot else 0) + MOST_PRIORITY - 1 - min(workers.gpus, MOST_PRIORITY - 1)


def types_of(workers: Sequence[Size]) -> list[tuple[Size, str]]:
    """Every size on every market on which there may be some."""
    counts = [(each, {"spot": each.spot, "on-demand": each.on_demand}) for each in workers]
    return [(each, market) for each, markets in counts for market, number in markets.items() if number]


_PRIVATE = f"chmod 600 {TOKEN}"
_TO_OWNER = f"[ -O {TOKEN} ] || sudo chown $(id -u) {TOKEN}; "
"""In a container the file is the host's, whose user may have another number."""


def node_setup(spec: ClusterSpec, start: Block) -> list[Block]:
    """The token, and what a new machine runs; all of it said, since Ray's defaults install another version."""
    token = Block(
        "The token of this cluster, carried to every node: nobody uses the cluster without it.",
        {"file_mounts": {TOKEN: spec.token}},
    )
    nothing: dict[str, list[str]] = {
        "initialization_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
    }
    setup = Block(
        "Nothing is installed on a node: it is all in its image. Said, because Ray would install a nightly build.",
        {"setup_commands": [_TO_OWNER + _PRIVATE] if spec.docker else [_PRIVATE, _on_path(spec.path)], **nothing},
    )
    return [token, setup, start]


def _on_path(folder: str) -> str:
    """For logins: `ray down` and `ray exec` look for `ray` there, and without it `ray down` leaves the head running."""
    return f"grep -qsF {folder} ~/.bashrc || echo 'export PATH={folder}:$PATH' >> ~/.bashrc"
