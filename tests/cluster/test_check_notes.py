"""What `cluster check` says of machines and pods without calling it wrong; and amounts of Kubernetes."""

from pathlib import Path

import pytest

from neuroiou_study.cluster.check import check
from neuroiou_study.cluster.checks.quantities import amount
from tests.cluster.wrong_file import WrongFile, drop, put

TYPES = "available_node_types"
NOTES = [
    WrongFile(
        "workers with the head's role",
        "aws-gpu.yaml",
        put(f"{TYPES}.l4-spot.node_config.IamInstanceProfile.Name", "neuroiou-head"),
        f"{TYPES}.l4-spot.node_config.IamInstanceProfile",
        "is the head's, which begins and ends machines",
    ),
    WrongFile(
        "another kind of processor",
        "aws-gpu.yaml",
        put(f"{TYPES}.head.node_config.InstanceType", "m7g.xlarge"),
        f"{TYPES}.head.node_config.InstanceType",
        "m7g.xlarge: has ARM processors",
    ),
    WrongFile(
        "head with a GPU on AWS",
        "aws-gpu.yaml",
        put(f"{TYPES}.head.node_config.InstanceType", "g6.xlarge"),
        f"{TYPES}.head.node_config",
        "g6.xlarge: the head has GPUs and runs no work",
    ),
    WrongFile(
        "head with a GPU on Google Cloud",
        "gcp-gpu.yaml",
        put(
            f"{TYPES}.head.node_config.guestAccelerators",
            [{"acceleratorType": "nvidia-l4", "acceleratorCount": 1}],
        ),
        f"{TYPES}.head.node_config",
        "n2-standard-4: the head has GPUs and runs no work",
    ),
    WrongFile(
        "machine without labels",
        "gcp-gpu.yaml",
        drop(f"{TYPES}.l4-spot.node_config.labels"),
        f"{TYPES}.l4-spot.node_config.labels",
        "a bill cannot be divided",
    ),
    WrongFile(
        "job without an end",
        "kuberay-rayjob.yaml",
        drop("spec.activeDeadlineSeconds"),
        "spec.activeDeadlineSeconds",
        "a job that hangs is paid for ever",
    ),
    WrongFile(
        "pods from the beginning",
        "kuberay-cluster.yaml",
        put("spec.workerGroupSpecs[0].minReplicas", 1),
        "spec.workerGroupSpecs[0].minReplicas",
        "1: so many are paid for from the beginning",
    ),
]


@pytest.mark.parametrize("noted", NOTES, ids=[each.name for each in NOTES])
def test_what_is_worth_a_look_is_said_once_and_is_not_wrong(noted: WrongFile, tmp_path: Path) -> None:
    path = noted.write(tmp_path)
    (problem,) = check(path)
    assert problem.is_note
    assert problem.text.startswith(f"{path}: {noted.where}: ") and noted.says in problem.text


@pytest.mark.parametrize(
    ("said", "comes_to"),
    [
        ("500m", 0.5),
        ("2", 2),
        (2, 2),
        ("1.5", 1.5),
        ("28Gi", 28 * 2**30),
        ("1k", 1000),
        ("1Ki", 1024),
        ("3M", 3e6),
        ("1T", 1e12),
        ("1Pi", 2**50),
        ("28 GB", None),
        ("Gi", None),
        ("1K", None),
        ("-1", None),
        ("", None),
        (True, None),
        (None, None),
    ],
)
def test_amounts_of_kubernetes(said: object, comes_to: float | None) -> None:
    assert amount(said) == comes_to
