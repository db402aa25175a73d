"""The file for ``ray up`` on machines of one's own."""

from neuroiou_study.cluster.blocks import Block, document
from neuroiou_study.cluster.launcher import begin, docker, head, node_setup
from neuroiou_study.cluster.start import growth, head_commands, worker_commands
from neuroiou_study.spec.cluster import ClusterSpec, OnPremSpec, WorkersSpec

WITHOUT_V2 = "RAY_UP_enable_autoscaler_v2=0 "
"""With Ray 2.60's newer autoscaler only one of several workers joins (measured)."""


def render_onprem(spec: ClusterSpec, onprem: OnPremSpec) -> str:
    """The file of ``onprem``, whole."""
    number = len(onprem.workers)
    grown = ""
    if onprem.cpus is not None:
        grown = growth([(number, WorkersSpec(name="worker", cpus=onprem.cpus, gpus=onprem.gpus or 0))])
    return document(
        head(spec, "machines of one's own", "onprem.yaml", WITHOUT_V2) + _WHY,
        [
            Block("All workers, always.", {"min_workers": number, **begin(spec, number).keys}),
            _provider(onprem),
            *docker(spec),
            *node_setup(spec, _start(spec, onprem, grown)),
        ],
    )


_WHY = f"""

{WITHOUT_V2.strip()}: with Ray 2.60's newer autoscaler only one of several workers of `type: local` joins.
`ray down` ends Ray on the head alone: run `ray stop` on each worker too."""


def _provider(onprem: OnPremSpec) -> Block:
    comment = "The head runs no work."
    provider = {"type": "local", "head_ip": onprem.head, "worker_ips": list(onprem.workers)}
    auth = {"ssh_user": onprem.ssh_user, "ssh_private_key": onprem.ssh_private_key}
    return Block(comment, {"provider": provider, "auth": auth})


def _start(spec: ClusterSpec, onprem: OnPremSpec, grown: str) -> Block:
    lent = {"num-cpus": onprem.cpus, "num-gpus": onprem.gpus}
    resources = " ".join(f"--{name}={number}" for name, number in lent.items() if number is not None)
    commands = {
        "head_start_ray_commands": head_commands(spec, grown),
        "worker_start_ray_commands": worker_commands(spec, grown, resources),
    }
    return Block("Ray with known ports; the dashboard is on the head's loopback.", commands)
