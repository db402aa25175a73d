"""The file for ``ray up`` on Amazon EC2."""

from typing import Any

from neuroiou_study.cluster.blocks import Block, document
from neuroiou_study.cluster.launcher import ORDER, RAY_SCHEMA, begin, docker, head, node_setup, node_type, types_of
from neuroiou_study.cluster.start import growth, head_commands, worker_commands
from neuroiou_study.spec.cluster import AwsSpec, ClusterSpec, RentedWorkersSpec


def render_aws(spec: ClusterSpec, aws: AwsSpec) -> str:
    """The file of ``aws``, whole."""
    workers = list(aws.workers)
    most = sum(each.spot + each.on_demand for each in workers)
    grown = growth((each.spot + each.on_demand, each) for each in workers)
    return document(
        head(spec, "Amazon EC2", "aws-gpu.yaml"),
        [
            begin(spec, min(spec.max_workers or most, most)),
            _provider(aws),
            *docker(spec),
            _types(spec, aws),
            *node_setup(spec, _start(spec, grown)),
        ],
        RAY_SCHEMA,
    )


def _provider(aws: AwsSpec) -> Block:
    comment = "Machines are ended, not stopped: a stopped one costs its disk."
    where = {"type": "aws", "region": aws.region, "availability_zone": ",".join(aws.zones)}
    provider = {**where, "cache_stopped_nodes": False, "use_internal_ips": aws.internal_ips}
    auth = {"ssh_user": aws.ssh_user, "ssh_private_key": aws.ssh_private_key}
    return Block(comment, {"provider": provider, "auth": auth})


def _types(spec: ClusterSpec, aws: AwsSpec) -> Block:
    comment = (
        f"The head runs no work and is never taken away. Workers begin at none. {ORDER} All: instance metadata by"
        " session tokens only (IMDSv2), encrypted disks, a role of their own, no group that is open to the world."
    )
    head_type = {
        "min_workers": 0,
        "max_workers": 0,
        "resources": {"CPU": 0, "GPU": 0},
        "node_config": _machine(spec, aws, aws.head_instance, aws.head_profile),
    }
    types = {
        f"{each.name}-{market}": node_type(spec, each, market, _worker(spec, aws, each, market))
        for each, market in types_of(list(aws.workers))
    }
    return Block(comment, {"head_node_type": "head", "available_node_types": {"head": head_type, **types}})


def _worker(spec: ClusterSpec, aws: AwsSpec, workers: RentedWorkersSpec, market: str) -> dict[str, Any]:
    spot = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
    return {
        **_machine(spec, aws, workers.instance, aws.worker_profile),
        **({"InstanceMarketOptions": spot} if market == "spot" else {}),
    }


def _machine(spec: ClusterSpec, aws: AwsSpec, instance: str, profile: str) -> dict[str, Any]:
    disk = {"VolumeSize": aws.disk_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    tags = [{"Key": key, "Value": value} for key, value in {"cluster": spec.name, **spec.tags}.items()]
    return {
        "InstanceType": instance,
        "ImageId": aws.ami,
        "KeyName": aws.key_name,
        "IamInstanceProfile": {"Name": profile},
        "SubnetIds": list(aws.subnets),
        "SecurityGroupIds": list(aws.security_groups),
        # Two hops, because a container is one hop further away.
        "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        "BlockDeviceMappings": [{"DeviceName": aws.ami_device, "Ebs": disk}],
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
    }


def _start(spec: ClusterSpec, grown: str) -> Block:
    comment = (
        "Ray with known ports; the dashboard is on the head's loopback. Beside a worker runs what hears that the spot"
        " market takes the machine, and drains it: its work is kept and goes on elsewhere."
    )
    commands = {
        "head_start_ray_commands": head_commands(spec, grown),
        "worker_start_ray_commands": worker_commands(spec, grown, cloud="aws"),
    }
    return Block(comment, commands)
