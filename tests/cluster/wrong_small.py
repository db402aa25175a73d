"""Cluster files, and files of machines of one's own, each with one mistake."""

from typing import Any

from tests.cluster.wrong_file import drop, files, put, replace

START = "head_start_ray_commands[1]"
ONPREM = files(
    "onprem.yaml",
    (
        "head that works",
        replace(START, "--num-cpus=0 ", ""),
        f"{START}: --num-cpus",
        "missing: must be 0, the head runs no work",
    ),
    ("head with GPUs", replace(START, "--num-gpus=0", "--num-gpus=1"), f"{START}: --num-gpus", "1: must be 0"),
    (
        "machine twice",
        put("provider.worker_ips", ["192.0.2.11", "192.0.2.11"]),
        "provider.worker_ips",
        "192.0.2.11: must be a machine of its own",
    ),
    ("no head", drop("provider.head_ip"), "provider.head_ip", "missing"),
    (
        "types of nodes",
        put("available_node_types", {"x": {"resources": {}, "node_config": {}}}),
        "available_node_types",
        "machines of one's own have no types",
    ),
    ("too few workers", put("max_workers", 1), "max_workers", "must be the 2 of provider.worker_ips"),
    ("unknown provider", put("provider.type", "azure"), "provider.type", "azure: must be aws, gcp, local"),
)


def without_machines(document: dict[str, Any]) -> None:
    """Take every provider out of a cluster file."""
    for provider in ("aws", "gcp", "onprem", "kuberay"):
        del document[provider]


SMALL = files(
    "cluster.yaml",
    (
        "image of today",
        put("images.gpu", "registry.example.org/neuroiou-study:latest"),
        "images.gpu",
        "must name one image for good",
    ),
    (
        "secret in the environment",
        put("environment", {"AWS_SECRET_ACCESS_KEY": "hunter2 x"}),
        "environment",
        "must not be a secret",
    ),
    (
        "key in the environment",
        put("environment", {"SOME_ID": "AKIA" + "A1B2C3D4E5F6G7H8"}),
        "environment.SOME_ID",
        "must not be an AWS access key",
    ),
    ("password in an address", put("tracking_uri", "http://me:hunter2@mlflow"), "tracking_uri", "pattern"),
    ("unknown key", put("stor", "s3://x"), "stor", "did you mean store?"),
    ("a command for a name", put("aws.head_profile", "x; rm -rf /"), "aws.head_profile", "pattern"),
    (
        "no workers at all",
        put("aws.workers[0]", {"name": "l4", "instance": "g6.xlarge", "cpus": 4, "gpus": 1}),
        "aws.workers.0.spot",
        "must be at least 1",
    ),
    ("two sizes of one name", put("gcp.workers[1].name", "l4"), "gcp.workers", "two sizes of workers have this name"),
    ("zone of another region", put("aws.zones[1]", "eu-west-1b"), "aws.zones", "must be a zone of us-east-1"),
    ("network of Google", put("gcp.network", "default"), "gcp.network", "lets in ssh from the world"),
    (
        "head among the workers",
        put("onprem.workers[0]", "192.0.2.10"),
        "onprem.workers",
        "must be a machine of its own",
    ),
    ("float CPUs", put("aws.workers[0].cpus", 4.5), "aws.workers.0.cpus", "valid integer"),
    ("text for a number", put("idle_minutes", "10"), "idle_minutes", "valid integer"),
    ("store elsewhere", put("store", "ftp://x/y"), "store", "pattern"),
    (
        "no machines at all",
        without_machines,
        "aws, gcp, onprem or kuberay",
        "must say which machines there are",
    ),
    (
        "authentication off",
        put("environment", {"RAY_AUTH_MODE": "disabled"}),
        "environment",
        "is made of the other keys",
    ),
    ("own mark", put("tags.cluster", "x"), "tags.cluster", "is the name of the cluster already"),
    ("GPUs that are not there", put("aws.workers[0].gpus", 2), "aws.workers.0.gpus", "must be the 1 of g6.xlarge"),
)
PRICE_LIST = files(
    "prices.yaml",
    ("typo in a price", put("machines.0.spott", 1.0), "machines.0.spott", "unknown key"),
    ("price below 0", put("machines.0.on_demand", -1), "machines.0.on_demand", "greater than or equal to 0"),
    ("no date", drop("date"), "date", "missing"),
)
