"""Files of machines that are rented, each with one mistake."""

from typing import Any

from tests.cluster.wrong_file import Change, drop, files, put

CONFIG = "available_node_types.l4-spot.node_config"
HEAD = "available_node_types.head.node_config"
DISK = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200, "Encrypted": True}}
SPOT = {"provisioningModel": "SPOT", "instanceTerminationAction": "DELETE"}


def both(one: Change, other: Change) -> Change:
    """The two changes."""

    def change(document: dict[str, Any]) -> None:
        one(document)
        other(document)

    return change


AWS = files(
    "aws-gpu.yaml",
    ("typo in node_config", put(f"{CONFIG}.InstanceTyp", "g6.xlarge"), f"{CONFIG}.InstanceTyp", "mean InstanceType?"),
    (
        "typo far inside",
        put(f"{CONFIG}.MetadataOptions.HttpToken", "x"),
        f"{CONFIG}.MetadataOptions.HttpToken",
        "HttpTokens?",
    ),
    (
        "unknown market",
        put(f"{CONFIG}.InstanceMarketOptions.MarketType", "spott"),
        f"{CONFIG}.InstanceMarketOptions.MarketType",
        "mean spot?",
    ),
    (
        "list for a mapping",
        put(f"{CONFIG}.IamInstanceProfile", ["neuroiou-worker"]),
        f"{CONFIG}.IamInstanceProfile",
        "must be a mapping",
    ),
    (
        "text for a number",
        put(f"{CONFIG}.BlockDeviceMappings[0].Ebs.VolumeSize", "200"),
        f"{CONFIG}.BlockDeviceMappings[0].Ebs.VolumeSize",
        "must be a whole number",
    ),
    (
        "worker without a profile",
        drop(f"{CONFIG}.IamInstanceProfile"),
        f"{CONFIG}.IamInstanceProfile",
        "missing: the machine reaches the store by its role",
    ),
    (
        "head without a profile",
        drop("available_node_types.head.node_config.IamInstanceProfile"),
        "available_node_types.head.node_config.IamInstanceProfile",
        "missing",
    ),
    ("no machine image", drop(f"{CONFIG}.ImageId"), f"{CONFIG}.ImageId", "missing: Ray's default is an old Ubuntu"),
    (
        "machine image by a name",
        put(f"{CONFIG}.ImageId", "latest_dlami"),
        f"{CONFIG}.ImageId",
        "latest_dlami: must be the number of a machine image",
    ),
    (
        "no security group",
        drop(f"{CONFIG}.SecurityGroupIds"),
        f"{CONFIG}.SecurityGroupIds",
        "missing: Ray would make a group",
    ),
    ("no subnet", drop(f"{CONFIG}.SubnetIds"), f"{CONFIG}.SubnetIds", "missing"),
    (
        "IMDSv1",
        put(f"{CONFIG}.MetadataOptions.HttpTokens", "optional"),
        f"{CONFIG}.MetadataOptions.HttpTokens",
        "must be required (IMDSv2)",
    ),
    (
        "IMDS not said",
        drop(f"{CONFIG}.MetadataOptions"),
        f"{CONFIG}.MetadataOptions.HttpTokens",
        "must be required (IMDSv2)",
    ),
    (
        "plain disk",
        put(f"{CONFIG}.BlockDeviceMappings[0].Ebs.Encrypted", False),
        f"{CONFIG}.BlockDeviceMappings[0].Ebs.Encrypted",
        "must be true",
    ),
    (
        "disk not said",
        drop(f"{CONFIG}.BlockDeviceMappings"),
        f"{CONFIG}.BlockDeviceMappings",
        "missing: the disk would not be encrypted",
    ),
    (
        "disk that stays",
        put(f"{CONFIG}.BlockDeviceMappings[0].Ebs.DeleteOnTermination", False),
        f"{CONFIG}.BlockDeviceMappings[0].Ebs.DeleteOnTermination",
        "is paid for ever",
    ),
    (
        "float CPUs",
        put("available_node_types.l4-spot.resources.CPU", 4.0),
        "available_node_types.l4-spot.resources.CPU",
        "4.0: must be a whole number",
    ),
    (
        "half a GPU",
        put("available_node_types.l4-spot.resources.GPU", 0.5),
        "available_node_types.l4-spot.resources.GPU",
        "0.5: must be a whole number",
    ),
    (
        "more CPUs than there are",
        put("available_node_types.l4-spot.resources.CPU", 8),
        "available_node_types.l4-spot.resources.CPU",
        "must be at most the 4 of g6.xlarge",
    ),
    (
        "GPUs that are not there",
        put("available_node_types.l4-spot.resources.GPU", 2),
        "available_node_types.l4-spot.resources.GPU",
        "must be the 1 of g6.xlarge",
    ),
    (
        "GPU of a size without",
        put(f"{CONFIG}.InstanceType", "m7i.xlarge"),
        "available_node_types.l4-spot.resources.GPU",
        "must be the 0 of m7i.xlarge",
    ),
    (
        "no resources",
        drop("available_node_types.l4-spot.resources"),
        "available_node_types.l4-spot.resources",
        "missing: this key is required",
    ),
    (
        "head that works",
        put("available_node_types.head.resources.CPU", 4),
        "available_node_types.head.resources.CPU",
        "must be 0: the head runs no work",
    ),
    (
        "head whose GPUs are not said",
        drop("available_node_types.head.resources.GPU"),
        "available_node_types.head.resources.GPU",
        "must be 0",
    ),
    (
        "full price first",
        put("available_node_types.l4-on-demand.priority", 300),
        "available_node_types.l4-spot.priority",
        "must be more than the 300 of g6.xlarge",
    ),
    (
        "metadata out of a container's reach",
        put(f"{CONFIG}.MetadataOptions.HttpPutResponseHopLimit", 1),
        f"{CONFIG}.MetadataOptions.HttpPutResponseHopLimit",
        "1: must be 2",
    ),
    (
        "metadata's reach not said",
        drop(f"{HEAD}.MetadataOptions.HttpPutResponseHopLimit"),
        f"{HEAD}.MetadataOptions.HttpPutResponseHopLimit",
        "must be 2",
    ),
    (
        "no metadata",
        put(f"{CONFIG}.MetadataOptions.HttpEndpoint", "disabled"),
        f"{CONFIG}.MetadataOptions.HttpEndpoint",
        "must be enabled",
    ),
    ("worker without a key", drop(f"{CONFIG}.KeyName"), f"{CONFIG}.KeyName", "missing: ssh_private_key"),
    ("head without a key", drop(f"{HEAD}.KeyName"), f"{HEAD}.KeyName", "missing"),
    (
        "disk of which nothing is said",
        put(f"{CONFIG}.BlockDeviceMappings", [{"DeviceName": "/dev/sda1"}]),
        f"{CONFIG}.BlockDeviceMappings[0].Ebs.Encrypted",
        "must be true",
    ),
    (
        "second disk plain",
        put(f"{CONFIG}.BlockDeviceMappings", [DISK, {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 9}}]),
        f"{CONFIG}.BlockDeviceMappings[1].Ebs.Encrypted",
        "must be true",
    ),
    (
        "spot that comes back",
        put(f"{CONFIG}.InstanceMarketOptions.SpotOptions.SpotInstanceType", "persistent"),
        f"{CONFIG}.InstanceMarketOptions.SpotOptions.SpotInstanceType",
        "must be one-time",
    ),
    (
        "spot that is only stopped",
        put(f"{CONFIG}.InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "stop"),
        f"{CONFIG}.InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior",
        "must be terminate",
    ),
    (
        "head that may be taken",
        put(f"{HEAD}.InstanceMarketOptions", {"MarketType": "spot"}),
        f"{HEAD}.InstanceMarketOptions",
        "the cluster ends when its head is taken",
    ),
)

GCP = files(
    "gcp-gpu.yaml",
    (
        "scheduling as a list",
        put(f"{CONFIG}.scheduling", [{"preemptible": True}]),
        f"{CONFIG}.scheduling",
        "must be a mapping of keys",
    ),
    ("typo in node_config", put(f"{CONFIG}.machineTipe", "x"), f"{CONFIG}.machineTipe", "did you mean machineType?"),
    (
        "typo far inside",
        put(f"{CONFIG}.scheduling.provisionModel", "SPOT"),
        f"{CONFIG}.scheduling.provisionModel",
        "did you mean provisioningModel?",
    ),
    (
        "unknown choice",
        put(f"{CONFIG}.scheduling.instanceTerminationAction", "DELET"),
        f"{CONFIG}.scheduling.instanceTerminationAction",
        "did you mean DELETE?",
    ),
    ("a field of Amazon", put(f"{CONFIG}.InstanceType", "g6.xlarge"), f"{CONFIG}.InstanceType", "unknown key"),
    (
        "image of today",
        put(f"{CONFIG}.disks[0].initializeParams.sourceImage", "projects/p/global/images/family/common"),
        f"{CONFIG}.disks[0].initializeParams.sourceImage",
        "must be one image",
    ),
    ("disk that stays", put(f"{CONFIG}.disks[0].autoDelete", False), f"{CONFIG}.disks[0].autoDelete", "must be true"),
    (
        "network of Google",
        put(f"{CONFIG}.networkInterfaces[0].network", "global/networks/default"),
        f"{CONFIG}.networkInterfaces[0].network",
        "must be a network of your own",
    ),
    ("no account", drop(f"{CONFIG}.serviceAccounts"), f"{CONFIG}.serviceAccounts", "missing"),
    (
        "account of all",
        put(f"{CONFIG}.serviceAccounts[0].email", "1-compute@developer.gserviceaccount.com"),
        f"{CONFIG}.serviceAccounts[0].email",
        "must be an account of its own",
    ),
    (
        "spot that restarts",
        put(f"{CONFIG}.scheduling.automaticRestart", True),
        f"{CONFIG}.scheduling.automaticRestart",
        "must be false",
    ),
    (
        "GPU that moves",
        put(f"{CONFIG}.scheduling.onHostMaintenance", "MIGRATE"),
        f"{CONFIG}.scheduling.onHostMaintenance",
        "must be TERMINATE",
    ),
    ("no project", drop("provider.project_id"), "provider.project_id", "missing"),
    (
        "GPUs that are not there",
        put("available_node_types.l4-spot.resources.GPU", 4),
        "available_node_types.l4-spot.resources.GPU",
        "must be the 1 of g2-standard-8",
    ),
    (
        "spot that is only stopped",
        put(f"{CONFIG}.scheduling.instanceTerminationAction", "STOP"),
        f"{CONFIG}.scheduling.instanceTerminationAction",
        "must be DELETE",
    ),
    (
        "spot that is only stopped, by default",
        drop(f"{CONFIG}.scheduling.instanceTerminationAction"),
        f"{CONFIG}.scheduling.instanceTerminationAction",
        "STOP: must be DELETE",
    ),
    (
        "head that may be taken",
        put(f"{HEAD}.scheduling", {**SPOT, "automaticRestart": False}),
        f"{HEAD}.scheduling",
        "the cluster ends when its head is taken",
    ),
    (
        "other GPUs than it lends",
        put(f"{CONFIG}.guestAccelerators[0].acceleratorCount", 2),
        f"{CONFIG}.guestAccelerators[0].acceleratorCount",
        "2: must be the 1 of resources.GPU",
    ),
    (
        "n1 without GPUs",
        both(put(f"{CONFIG}.machineType", "n1-standard-8"), drop(f"{CONFIG}.guestAccelerators")),
        f"{CONFIG}.guestAccelerators",
        "missing: an n1 machine",
    ),
    ("no disk with the system", drop(f"{CONFIG}.disks[0].boot"), f"{CONFIG}.disks[0].boot", "missing: must be true"),
    (
        "no machine image",
        drop(f"{CONFIG}.disks[0].initializeParams.sourceImage"),
        f"{CONFIG}.disks[0].initializeParams.sourceImage",
        "missing",
    ),
    (
        "not shielded",
        drop(f"{CONFIG}.shieldedInstanceConfig"),
        f"{CONFIG}.shieldedInstanceConfig.enableVtpm",
        "missing: must be true",
    ),
    (
        "half shielded",
        put(f"{HEAD}.shieldedInstanceConfig.enableIntegrityMonitoring", False),
        f"{HEAD}.shieldedInstanceConfig.enableIntegrityMonitoring",
        "must be true",
    ),
    (
        "a door behind the firewall",
        put(f"{CONFIG}.metadata", {"items": [{"key": "serial-port-enable", "value": "TRUE"}]}),
        f"{CONFIG}.metadata.items[0]",
        "must not be on",
    ),
    (
        "account that may nothing",
        drop(f"{CONFIG}.serviceAccounts[0].scopes"),
        f"{CONFIG}.serviceAccounts[0].scopes",
        "missing: must have https://www.googleapis.com/auth/cloud-platform",
    ),
    ("label in capitals", put(f"{CONFIG}.labels.owner", "Me"), f"{CONFIG}.labels.owner", "Me: must be lower-case"),
    (
        "two zones",
        put("provider.availability_zone", "us-central1-a,us-central1-b"),
        "provider.availability_zone",
        "must be one zone",
    ),
)
