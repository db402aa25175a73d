"""Room for workers, memory for a step, room on disks: counted, and on a real cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._raylet import Config  # type: ignore[attr-defined]

from neuroiou_study.orchestrate.check_disks import CHECKPOINTS, bytes_of_network, check_disks
from neuroiou_study.orchestrate.check_machines import (
    Memory,
    ThisMachine,
    check_memory,
    check_resources,
    require_memory,
    require_room,
)
from neuroiou_study.orchestrate.findings import find
from neuroiou_study.orchestrate.machines import GROWTH, Machine, growth, num_trials
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.folder_store import FolderStore
from tests.orchestrate.listeners import closed_port
from tests.orchestrate.small_disk import small_disk
from tests.ray_head import RayHead, ray_head
from tests.stages.tiny import tiny_study

GIB = 2**30


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(dashboard=False, num_gpus=1) as started:
        yield started


@pytest.fixture
def where(head: RayHead) -> Iterator[Where]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
            patch.setenv(name, head.environment[name])
        Config.initialize("")  # Ray has read the environment when it was imported
        yield Where(address=head.address)
    Config.initialize("")


@pytest.mark.parametrize(
    ("resources", "machine", "fits"),
    [
        (ResourcesSpec(cpus_per_worker=2), Machine(7, 0), 3),
        (ResourcesSpec(gpus_per_worker=1), Machine(7, 2), 2),
        (ResourcesSpec(cpus_per_worker=4, gpus_per_worker=1), Machine(7, 2), 1),
        (ResourcesSpec(cpus_per_worker=0.1, gpus_per_worker=0.4), Machine(7, 2), 4),  # not 5: none has two halves
        (ResourcesSpec(cpus_per_worker=0.1, gpus_per_worker=0.1), Machine(7, 1), 10),
        (ResourcesSpec(gpus_per_worker=2), Machine(7, 3), 1),
    ],
)
def test_a_worker_is_on_one_machine_and_on_one_gpu(resources: ResourcesSpec, machine: Machine, fits: int) -> None:
    assert machine.num_workers(resources) == fits


def test_trials_at_once_are_those_that_fit() -> None:
    two = [Machine(4, 0), Machine(3, 0)]
    assert require_room(ResourcesSpec(workers=2, cpus_per_worker=2), two, "it") == (
        "passed",
        "it: 7 CPUs and 0 GPUs on 2 machines: 1 trials at once",
    )
    asked = require_room(ResourcesSpec(workers=1, trials_at_once=9), two, "it")
    assert asked[1].endswith(": 7 of 9 asked for trials at once")


@pytest.mark.parametrize(
    "resources",
    [
        ResourcesSpec(cpus_per_worker=5),  # 7 in all, but on two machines
        ResourcesSpec(workers=4, cpus_per_worker=2),
        ResourcesSpec(shared_workers=8),
        ResourcesSpec(gpus_per_worker=0.5),
    ],
)
def test_workers_without_a_place_are_named(resources: ResourcesSpec) -> None:
    with pytest.raises(RuntimeError, match=r"^resources: .*: it has 7 CPUs and 0 GPUs on 2 machines, room for \d"):
        require_room(resources, [Machine(4, 0), Machine(3, 0)], "it")


def test_this_machine_is_looked_at_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert find("resources", lambda: check_resources(tiny_study(), Where())).state == "passed"
    many = tiny_study(resources={"workers": 4000})
    assert find("resources", lambda: check_resources(many, Where())).text.startswith("resources: 4000 workers × 1 CPU")
    assert find("resources", lambda: check_resources(many, Where(backend="local"))).state == "skipped"


def test_a_cluster_is_asked(where: Where) -> None:
    fits = tiny_study(resources={"workers": 2, "gpus_per_worker": 0.5})
    finding = find("resources", lambda: check_resources(fits, where))
    assert finding.text == f"the cluster at {where.address}: 2 CPUs and 1 GPUs on 1 machine: 1 trials at once"
    many = tiny_study(resources={"workers": 2, "gpus_per_worker": 1})
    finding = find("resources", lambda: check_resources(many, where))
    assert finding.state == "failed"
    assert f"the cluster at {where.address} has 2 CPUs and 1 GPUs on 1 machine, room for 1" in finding.text


def test_ray_address_is_the_default(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    assert where.address is not None
    monkeypatch.setenv("RAY_ADDRESS", where.address)
    assert where.address in find("resources", lambda: check_resources(tiny_study(), Where())).text


def test_a_cluster_that_is_not_there_is_named() -> None:
    away = f"127.0.0.1:{closed_port()}"
    finding = find("resources", lambda: check_resources(tiny_study(), Where(address=away)))
    rule = "must be reachable: start it or correct the address"
    assert (finding.state, finding.text) == ("failed", f"--address {away}: Connection refused: {rule}")


def test_a_step_is_measured_where_the_gpu_is(where: Where) -> None:
    """The cluster's GPU is a number only: a task of ours gets it, looks for it, and finds none."""
    finding = find("GPU memory", lambda: check_memory(tiny_study(resources={"gpus_per_worker": 1}), where))
    assert (finding.state, finding.text) == ("skipped", f"no GPU can be had of the cluster at {where.address}")


def test_without_gpus_nothing_is_measured() -> None:
    assert find("GPU memory", lambda: check_memory(tiny_study(), Where())).text == "no GPU is asked for"


def test_memory_is_held_against_a_workers_part() -> None:
    step = Memory("finetune with lovasz, 8 images of unet", 3 * GIB, 8 * GIB)
    assert require_memory(step, ResourcesSpec(gpus_per_worker=0.5)) == ("passed", f"{step.step}: 3.00 GiB of 4.00 GiB")
    assert require_memory(step, ResourcesSpec(gpus_per_worker=2)) == ("passed", f"{step.step}: 3.00 GiB of 8.00 GiB")
    with pytest.raises(RuntimeError, match=r"3\.00 GiB of 2\.00 GiB: must fit a worker's 0\.25 of a GPU: raise reso"):
        require_memory(step, ResourcesSpec(gpus_per_worker=0.25))


def test_the_gpu_of_this_machine_is_measured_in_a_process_of_its_own() -> None:
    import torch

    if torch.cuda.is_available():
        memory = ThisMachine().largest_step(tiny_study())
        assert memory is not None
        assert 0 < memory.taken < memory.has
    else:
        assert ThisMachine().largest_step(tiny_study()) is None


def test_disks_must_hold_the_networks_that_are_left(tmp_path: Path) -> None:
    study = tiny_study()
    size = sum(value.nbytes for value in build.model(study.model, 6, 0).state_dict().values())
    assert bytes_of_network(study) == size
    assert bytes_of_network(tiny_study(search={"model.width": {"int": [4, 64]}})) != size
    only_surrogates = tiny_study(search={"fit_surrogate.depth": {"int": [1, 4]}})
    needed = (16 + 1 + 1 + CHECKPOINTS) * size  # trials of the two arms, pretraining
    for number, (spare, state) in enumerate([(-4096, "warned"), (4096 * 2, "passed")]):
        with small_disk(tmp_path / str(number), (needed + spare) // 1024) as disk:
            finding = find("disks", lambda disk=disk: check_disks(only_surrogates, FolderStore(disk / "runs")))  # type: ignore[misc]
            assert finding.state == state
            assert finding.text.startswith(f"{disk / 'runs'}: 0.0 GiB free, about 0.0 needed; ")


def test_a_cluster_says_what_it_grows_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GROWTH, "2x4c1g,1x48c4g")
    assert growth() == [Machine(4, 1), Machine(4, 1), Machine(48, 4)]
    assert num_trials(ResourcesSpec(workers=2, gpus_per_worker=1), growth()) == 3
    monkeypatch.setenv(GROWTH, "2x4c1g,48c")
    with pytest.raises(ValueError, match=f"{GROWTH}: 48c: must be like 8x4c1g"):
        growth()
    monkeypatch.delenv(GROWTH)
    assert growth() == []


def test_machines_that_are_still_to_come_are_room(monkeypatch: pytest.MonkeyPatch, where: Where) -> None:
    study = tiny_study(resources={"gpus_per_worker": 1, "cpus_per_worker": 2, "workers": 3})
    finding = find("resources", lambda: check_resources(study, where))
    assert finding.state == "failed" and "room for 1" in finding.text
    monkeypatch.setenv(GROWTH, "6x4c1g")
    finding = find("resources", lambda: check_resources(study, where))
    assert finding.state == "passed"
    assert finding.text.endswith(", once it has grown: 24 CPUs and 6 GPUs on 6 machines: 2 trials at once")
