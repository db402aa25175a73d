"""The file for ``ray up`` on Google Compute Engine."""

from typing import Any

from neuroiou_study.cluster.blocks import Block, document
from neuroiou_study.cluster.launcher import ORDER, RAY_SCHEMA, begin, docker, head, node_setup, node_type, types_of
from neuroiou_study.cluster.start import growth, head_commands, worker_commands
from neuroiou_study.spec.cluster import ClusterSpec, GcpSpec, GcpWorkersSpec

_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def render_gcp(spec: ClusterSpec, gcp: GcpSpec) -> str:
    """The file of ``gcp``, whole."""
    workers = list(gcp.workers)
    most = sum(each.spot + each.on_demand for each in workers)
    grown = growth((each.spot + each.on_demand, each) for each in workers)
    return document(
        head(spec, "Google Compute Engine", "gcp-gpu.yaml"),
        [
            begin(spec, min(spec.max_workers or most, most)),
            _provider(gcp),
            *docker(spec),
            _types(spec, gcp),
            *node_setup(spec, _start(spec, grown)),
        ],
        RAY_SCHEMA,
    )


def _provider(gcp: GcpSpec) -> Block:
    where = {"type": "gcp", "region": gcp.region, "availability_zone": gcp.zone, "project_id": gcp.project}
    auth = {"ssh_user": gcp.ssh_user}
    comment = (
        "Machines are ended, not stopped. Ray makes a key of its own, ~/.ssh/ray-autoscaler_gcp_…, and hands it on."
    )
    provider = {**where, "cache_stopped_nodes": False, "use_internal_ips": gcp.internal_ips}
    return Block(comment, {"provider": provider, "auth": auth})


def _types(spec: ClusterSpec, gcp: GcpSpec) -> Block:
    comment = (
        f"The head runs no work and is never taken away. Workers begin at none. {ORDER} Google encrypts all disks; the"
        " machines are shielded (what they boot is measured), and have a service account of their own."
    )
    head_type = {
        "min_workers": 0,
        "max_workers": 0,
        "resources": {"CPU": 0, "GPU": 0},
        "node_config": _machine(spec, gcp, gcp.head_instance),
    }
    types = {
        f"{each.name}-{market}": node_type(spec, each, market, _worker(spec, gcp, each, market))
        for each, market in types_of(list(gcp.workers))
    }
    return Block(comment, {"head_node_type": "head", "available_node_types": {"head": head_type, **types}})


def _worker(spec: ClusterSpec, gcp: GcpSpec, workers: GcpWorkersSpec, market: str) -> dict[str, Any]:
    machine = _machine(spec, gcp, workers.instance)
    if workers.accelerator:
        attached = {"acceleratorType": workers.accelerator, "acceleratorCount": workers.gpus}
        machine["guestAccelerators"] = [attached]
    # A machine with a GPU cannot move to another host while Google mends its own.
    scheduling: dict[str, Any] = {"onHostMaintenance": "TERMINATE", "automaticRestart": market != "spot"}
    if market == "spot":
        scheduling |= {"provisioningModel": "SPOT", "instanceTerminationAction": "DELETE"}
    return {**machine, "scheduling": scheduling}


def _machine(spec: ClusterSpec, gcp: GcpSpec, instance: str) -> dict[str, Any]:
    image = {"sourceImage": gcp.source_image, "diskSizeGb": gcp.disk_gb}
    subnet = {"subnetwork": f"regions/{gcp.region}/subnetworks/{gcp.subnet}"} if gcp.subnet else {}
    outside = {} if gcp.internal_ips else {"accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]}
    shielded = {"enableSecureBoot": gcp.secure_boot, "enableVtpm": True, "enableIntegrityMonitoring": True}
    return {
        "machineType": instance,
        "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": image}],
        "networkInterfaces": [{"network": f"global/networks/{gcp.network}", **subnet, **outside}],
        "serviceAccounts": [{"email": gcp.service_account, "scopes": _SCOPES}],
        "shieldedInstanceConfig": shielded,
        "labels": {"cluster": spec.name, **spec.tags},
    }


def _start(spec: ClusterSpec, grown: str) -> Block:
    comment = (
        "Ray with known ports; the dashboard is on the head's loopback. Beside a worker runs what hears that Google"
        " takes the machine, and drains it: its work is kept and goes on elsewhere."
    )
    commands = {
        "head_start_ray_commands": head_commands(spec, grown),
        "worker_start_ray_commands": worker_commands(spec, grown, cloud="gcp"),
    }
    return Block(comment, commands)
