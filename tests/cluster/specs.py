"""Cluster files, right ones, by chance."""

import random
from typing import Any

AWS_SIZES = [
    ("g6.xlarge", 4, 1),
    ("g5.12xlarge", 48, 4),
    ("p4d.24xlarge", 96, 8),
    ("p5.48xlarge", 192, 8),
    ("c7i.4xlarge", 16, 0),
]
GCP_SIZES = [("g2-standard-8", 8, 1), ("a2-highgpu-4g", 48, 4), ("a3-highgpu-8g", 208, 8), ("n2-standard-8", 8, 0)]


def random_spec(seed: int) -> dict[str, Any]:
    """A right cluster file with all providers."""
    chance = random.Random(seed)
    image = chance.choice(["registry.example.org/a:1.2-{0}", "r.io:5000/b/{0}@sha256:" + "0" * 64])
    return {
        "name": f"c{chance.randrange(10**6)}",
        "images": {"cpu": image.format("cpu"), "gpu": image.format("gpu")},
        "docker": chance.random() < 0.7,
        "store": chance.choice(["s3://my-bucket", "s3://my.bucket/a/b", "/mnt/runs"]),
        **({"tracking_uri": "https://mlflow.example.org:5000"} if chance.random() < 0.5 else {}),
        "environment": chance.choice([{}, {"AWS_ENDPOINT_URL_S3": "http://10.0.0.9:9000", "OMP_NUM_THREADS": "4"}]),
        "idle_minutes": chance.randint(1, 60),
        **({"max_workers": chance.randint(1, 20)} if chance.random() < 0.5 else {}),
        "tags": chance.choice([{}, {"owner": "me", "project": "x-1"}]),
        "aws": _aws(chance),
        "gcp": _gcp(chance),
        "onprem": _onprem(chance),
        "kuberay": _kuberay(chance),
    }


def _sizes(chance: random.Random, known: list[tuple[str, int, int]]) -> list[dict[str, Any]]:
    return [
        {"name": f"w{number}", "instance": instance, "cpus": chance.randint(1, cpus), "gpus": gpus, **_market(chance)}
        for number, (instance, cpus, gpus) in enumerate(chance.sample(known, chance.randint(1, len(known))))
    ]


def _market(chance: random.Random) -> dict[str, int]:
    return chance.choice([{"spot": 3}, {"on_demand": 2}, {"spot": chance.randint(1, 9), "on_demand": 1}])


def _aws(chance: random.Random) -> dict[str, Any]:
    region = chance.choice(["eu-central-1", "us-gov-west-1", "ap-southeast-2"])
    return {
        "region": region,
        "zones": [f"{region}{zone}" for zone in "abc"[: chance.randint(1, 3)]],
        "ami": f"ami-{chance.randrange(16**17):017x}",
        "key_name": "me",
        "ssh_private_key": "~/.ssh/me.pem",
        "head_profile": "head",
        "worker_profile": "worker",
        "subnets": ["subnet-0a1b"],
        "security_groups": ["sg-0a1b"],
        "internal_ips": chance.random() < 0.5,
        "disk_gb": chance.randint(20, 2000),
        "workers": _sizes(chance, AWS_SIZES),
    }


def _gcp(chance: random.Random) -> dict[str, Any]:
    workers = _sizes(chance, GCP_SIZES)
    for each in workers:
        each["accelerator"] = chance.choice([None, "nvidia-l4"]) if each["gpus"] else None
    return {
        "project": "my-project",
        "region": "europe-west4",
        "zone": "europe-west4-b",
        "source_image": "projects/p/global/images/image-20260801",
        "service_account": "nodes@my-project.iam.gserviceaccount.com",
        "network": "own",
        **({"subnet": "own-1"} if chance.random() < 0.5 else {}),
        "internal_ips": chance.random() < 0.5,
        "secure_boot": chance.random() < 0.5,
        "workers": workers,
    }


def _onprem(chance: random.Random) -> dict[str, Any]:
    lent = chance.choice([{}, {"cpus": 8}, {"cpus": 8, "gpus": 2}, {"gpus": 0}])
    workers = [f"10.0.0.{number}" for number in range(2, 2 + chance.randint(1, 9))]
    return {"head": "10.0.0.1", "workers": workers, "ssh_user": "me", "ssh_private_key": "~/.ssh/me", **lent}


def _kuberay(chance: random.Random) -> dict[str, Any]:
    groups = [
        {"name": f"g{number}", "cpus": 4, "gpus": number % 3, "memory_gb": 8, "most": 3, "spot": chance.random() < 0.5}
        for number in range(chance.randint(1, 4))
    ]
    account = {"service_account": "studies"} if chance.random() < 0.5 else {}
    return {"namespace": "studies", "secret": "keys", **account, "workers": groups}
