"""`neuroiou-study cluster render`: of one small file, files that are right for every provider."""

import re
import stat
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroiou_study.cluster.check import check
from neuroiou_study.cluster.launcher import RAY_VERSION
from neuroiou_study.cluster.render import Kind, Provider, render
from neuroiou_study.cluster.start import HEAD_PORTS, PORTS
from neuroiou_study.orchestrate.machines import GROWTH, Machine, growth
from neuroiou_study.spec.cluster import ClusterSpec
from neuroiou_study.spec.document import SpecError, load_document
from tests.cluster.specs import random_spec
from tests.cluster.wrong_file import SHIPPED
from tests.studies import call

SMALL = SHIPPED / "cluster.yaml"
RENDERED = {
    "aws-gpu.yaml": (Provider.aws, Kind.job),
    "gcp-gpu.yaml": (Provider.gcp, Kind.job),
    "onprem.yaml": (Provider.onprem, Kind.job),
    "kuberay-rayjob.yaml": (Provider.kuberay, Kind.job),
    "kuberay-cluster.yaml": (Provider.kuberay, Kind.cluster),
}


def spec(*overrides: str) -> ClusterSpec:
    return load_document(SMALL, overrides, ClusterSpec)


@pytest.mark.parametrize("file", RENDERED)
def test_a_shipped_file_is_what_is_rendered(file: str) -> None:
    """If this fails on purpose: render it anew, with the command in the head of `cluster/cluster.yaml`."""
    assert (SHIPPED / file).read_text() == render(spec(), *RENDERED[file])


@pytest.mark.parametrize("seed", range(24))
def test_whatever_is_rendered_passes_the_check(seed: int, tmp_path: Path) -> None:
    made = ClusterSpec.model_validate(random_spec(seed))
    for provider, kind in product(Provider, Kind):
        path = tmp_path / f"{provider}-{kind}.yaml"
        path.write_text(render(made, provider, kind))
        assert check(path) == []


@pytest.mark.parametrize("seed", range(24))
def test_what_the_nodes_know_of_growth_is_what_the_file_allows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    document = random_spec(seed)
    made = ClusterSpec.model_validate(document)
    for provider in (Provider.aws, Provider.gcp):
        workers = document[provider]["workers"]
        rendered = yaml.safe_load(render(made, provider))
        said = re.search(rf"{GROWTH}=(\S+?);? ", rendered["head_start_ray_commands"][1])
        assert said is not None
        monkeypatch.setenv(GROWTH, said[1])
        machines = [
            Machine(each["cpus"], each["gpus"])
            for each in workers
            for _ in range(each.get("spot", 0) + each.get("on_demand", 0))
        ]
        assert growth() == machines
        types = rendered["available_node_types"].values()
        assert sum(each["max_workers"] for each in types) == len(machines) >= rendered["max_workers"]


def test_without_docker_the_programs_are_those_of_the_machine() -> None:
    for provider in (Provider.aws, Provider.gcp, Provider.onprem):
        document = yaml.safe_load(render(spec("docker=false", "path=/srv/bin"), provider))
        assert "docker" not in document
        for key in ("head_start_ray_commands", "worker_start_ray_commands"):
            stop, start = document[key]
            assert stop == "PATH=/srv/bin:$PATH ray stop"
            assert start.startswith("export PATH=/srv/bin:$PATH RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token ")
        private, on_path = document["setup_commands"]
        assert private == "chmod 600 ~/.ray/auth_token"
        assert on_path.endswith("echo 'export PATH=/srv/bin:$PATH' >> ~/.bashrc")  # for `ray down`


def test_a_worker_without_a_gpu_has_the_smaller_image() -> None:
    workers = '[{"name": "x", "instance": "c7i.xlarge", "cpus": 4, "gpus": 0, "spot": 1}]'
    document = yaml.safe_load(render(spec(f"aws.workers={workers}"), Provider.aws))
    (worker,) = [each for name, each in document["available_node_types"].items() if name != "head"]
    assert worker["docker"] == {"worker_image": spec().images.cpu}
    assert document["docker"]["worker_image"] == spec().images.gpu


def test_every_port_is_one_of_its_own() -> None:
    ports = {**PORTS, **HEAD_PORTS}
    span = range(ports.pop("min-worker-port"), ports.pop("max-worker-port") + 1)
    assert len(set(ports.values())) == len(ports) and not set(ports.values()) & set(span)


def test_a_watcher_hears_of_the_end_of_a_machine_only_where_machines_are_rented() -> None:
    for provider, watches in ((Provider.aws, True), (Provider.gcp, True), (Provider.onprem, False)):
        document = yaml.safe_load(render(spec(), provider))
        start = document["worker_start_ray_commands"][-1]
        assert (f"neuroiou_study.cluster.spot_notice {provider.value} " in start) == watches
        assert "spot_notice" not in document["head_start_ray_commands"][-1]


def test_pods_bear_the_taints_of_the_nodes_they_want() -> None:
    job = yaml.safe_load(render(spec('kuberay.spot_selector={"a/spot": "yes"}'), Provider.kuberay))
    spot, full = (each["template"]["spec"] for each in job["spec"]["rayClusterSpec"]["workerGroupSpecs"])
    assert spot["nodeSelector"] == {"a/spot": "yes"} and "nodeSelector" not in full
    assert [each["key"] for each in spot["tolerations"]] == ["nvidia.com/gpu", "a/spot"]
    assert [each["key"] for each in full["tolerations"]] == ["nvidia.com/gpu"]


def test_versions_are_those_of_the_constraints() -> None:
    constraints = (SHIPPED.parent / "constraints.txt").read_text()
    assert f"\nray=={RAY_VERSION}\n" in constraints
    assert f"rayproject/ray:{RAY_VERSION}-py311" in (SHIPPED / "Dockerfile").read_text()


def test_no_provider_is_made_up() -> None:
    with pytest.raises(SpecError, match="gcp: missing in the cluster file"):
        render(spec().model_copy(update={"gcp": None}), Provider.gcp)


def test_the_command_writes_the_file_with_what_is_set(tmp_path: Path) -> None:
    to = tmp_path / "mine.yaml"
    changes = ["--set", "name=mine", "--set", "aws.region=eu-west-1", "--set", "aws.zones=[eu-west-1c]"]
    done = call("cluster", "render", SMALL, "--provider", "aws", *changes, "--out", to)
    assert done.returncode == 0 and str(to) in done.stdout
    document: dict[str, Any] = yaml.safe_load(to.read_text())
    assert document["cluster_name"] == "mine"
    assert document["provider"]["availability_zone"] == "eu-west-1c"


def test_the_command_refuses_what_is_unsafe() -> None:
    done = call("cluster", "render", SMALL, "--provider", "aws", "--set", "images.gpu=me/image:latest")
    assert done.returncode == 2 and done.stdout == ""
    assert "images.gpu: 'me/image:latest': must name one image for good" in done.stderr


def test_a_token_is_for_its_owner_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    to = tmp_path / "new" / "token"
    assert call("cluster", "token", "--to", to).returncode == 0
    token = to.read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", token) and stat.S_IMODE(to.stat().st_mode) == 0o600
    again = call("cluster", "token", "--to", to)
    assert again.returncode == 2 and f"{to}: there already" in again.stderr
    assert token not in again.stderr and to.read_text() == token
    call("cluster", "token", "--to", tmp_path / "other")
    assert (tmp_path / "other").read_text() != token
