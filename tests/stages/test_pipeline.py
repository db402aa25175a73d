import json
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroiou_study.spec import TrialSpec
from neuroiou_study.stages.backend import LocalWorker, Pruned
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.manifest import MANIFEST
from neuroiou_study.stages.pipeline import STAGES, MustWait, PlannedStage, Stage, plan, run_stages
from neuroiou_study.stages.train_network import read_history
from tests.stages.processes import kill, received, run_together, started
from tests.stages.tiny import Heard, files, tiny_study, tiny_trial

NAMES = ("pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate")
LEARNED, CONTROL = tiny_study().sample({}), tiny_study().sample({}, arm="ce")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A store in which the tiny trial is complete; only to look at."""
    store = FolderStore(tmp_path_factory.mktemp("made"))
    run_stages(LEARNED, store, LocalWorker())
    return store


def addresses(spec: TrialSpec) -> dict[str, str]:
    return {name: step.address for name, step in plan(spec).items()}


def moved(**values: Any) -> list[str]:
    """Which stages of the tiny trial have another address with ``values``."""
    before, after = addresses(LEARNED), addresses(tiny_trial(**values))
    return [name for name in NAMES if before[name] != after[name]]


def test_the_stages_are_planned_in_order() -> None:
    assert tuple(stage.name for stage in STAGES) == NAMES == tuple(plan(LEARNED))
    assert all(address.startswith(f"{name}/") for name, address in addresses(LEARNED).items())
    inputs = {name: tuple(step.inputs) for name, step in plan(LEARNED).items()}
    assert inputs == {
        "pretrain": (),
        "collect_pairs": ("pretrain",),
        "fit_surrogate": ("collect_pairs",),
        "finetune": ("pretrain", "fit_surrogate"),
        "evaluate": ("finetune",),
    }


def test_a_control_skips_the_surrogate() -> None:
    assert tuple(plan(CONTROL)) == ("pretrain", "finetune", "evaluate")
    assert plan(CONTROL)["pretrain"].address == plan(LEARNED)["pretrain"].address
    assert tuple(plan(CONTROL)["finetune"].inputs) == ("pretrain",)
    assert plan(CONTROL)["finetune"].address != plan(LEARNED)["finetune"].address


def test_equal_fields_have_equal_addresses() -> None:
    assert addresses(tiny_trial()) == addresses(LEARNED)
    again = TrialSpec.model_validate_json(LEARNED.model_dump_json(), strict=False)
    assert addresses(again) == addresses(LEARNED)


@pytest.mark.parametrize(
    ("values", "stages"),
    [
        ({"data__seed": 1}, NAMES),
        ({"model__width": 8}, NAMES),
        ({"seed": 1}, NAMES),
        ({"pretrain__lr": 0.5}, NAMES),
        ({"pretrain__optimizer__weight_decay": 0.5}, NAMES),
        ({"collect_pairs__batch_size": 2}, NAMES[1:]),
        ({"fit_surrogate__depth": 3}, NAMES[2:]),
        ({"finetune__lr": 0.5}, NAMES[3:]),
        ({"evaluate__split": "val"}, NAMES[4:]),
        ({"evaluate__batch_size": 1}, NAMES[4:]),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else "",
)
def test_a_field_moves_the_stages_that_read_it_and_those_after(values: dict[str, Any], stages: tuple[str, ...]) -> None:
    assert moved(**values) == list(stages)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_an_address_is_of_the_declared_fields_alone(stage: Stage) -> None:
    step = PlannedStage(stage, "", {})
    changed = {
        "data": LEARNED.data.model_copy(update={"seed": 1}),
        "model": LEARNED.model.model_copy(update={"width": 8}),
        "seed": 1,
        "gate": LEARNED.gate.model_copy(update={"min_r2": 0.5}),
        **{name: getattr(LEARNED, name).model_copy(update={"batch_size": 2}) for name in NAMES},
    }
    assert set(changed) == set(TrialSpec.model_fields)
    read = {name for name in changed if step.origin(LEARNED) != step.origin(_with(name, changed[name]))}
    assert read == set(stage.reads)


def _with(name: str, value: object) -> TrialSpec:
    return LEARNED.model_copy(update={name: value})


def test_a_version_changes_the_address_s_origin() -> None:
    origins = [PlannedStage(Stage(STAGES[0].run, STAGES[0].reads, version=v), "", {}).origin(LEARNED) for v in (1, 2)]
    assert origins[0] != origins[1]


class Recording:
    """A trial that remembers which of its fields were read."""

    def __init__(self, spec: TrialSpec) -> None:
        self._spec, self.read = spec, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._spec, name)


@pytest.mark.parametrize("spec", [LEARNED, CONTROL], ids=["learned", "control"])
def test_a_stage_reads_the_fields_and_inputs_it_declares_and_no_others(store: FolderStore, spec: TrialSpec) -> None:
    worker = LocalWorker()
    for name, step in plan(spec).items():
        inputs = {upstream: store.find(address) for upstream, address in step.inputs.items()}
        recording: Any = Recording(spec)
        found = {upstream: folder for upstream, folder in inputs.items() if folder is not None}
        assert len(found) == len(inputs)
        step.stage.run(recording, found, store.workspace(step.address), worker)
        store.commit(step.address, {})
        assert recording.read == set(step.stage.reads), name


PICTURES = [f"example-{image:06d}-{epoch:06d}.png" for image in (0, 2, 3) for epoch in (1, 2)]


def test_a_complete_trial_has_what_every_stage_leaves(made: FolderStore) -> None:
    assert {name: _file_names(made, address) for name, address in addresses(LEARNED).items()} == {
        "pretrain": ["history.jsonl", "model.safetensors"],
        "collect_pairs": ["pairs.safetensors"],
        "fit_surrogate": ["fidelity.json", "loss.json", "surrogate.json", "surrogate.safetensors"],
        "finetune": [*PICTURES, "fidelity.json", "history.jsonl", "model.safetensors"],
        "evaluate": ["metrics.json"],
    }
    for address in addresses(LEARNED).values():
        made.verified(address)


def _file_names(store: FolderStore, address: str) -> list[str]:
    folder = store.find(address)
    assert folder is not None
    return sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)


def test_a_manifest_says_what_a_result_was_made_from(made: FolderStore) -> None:
    folder = made.find(plan(LEARNED)["finetune"].address)
    assert folder is not None
    origin = json.loads((folder / MANIFEST).read_text())["origin"]
    assert origin["fields"]["finetune"] == LEARNED.finetune.model_dump() and origin["version"] == 2
    assert set(origin["fields"]) == {"data", "model", "seed", "finetune"}
    assert origin["inputs"] == {name: addresses(LEARNED)[name] for name in ("pretrain", "fit_surrogate")}


def test_what_is_there_is_used(store: FolderStore) -> None:
    run_stages(LEARNED, store, LocalWorker())
    before, heard = files(store.root / "stages"), Heard()
    assert addresses(LEARNED) == {
        name: step.address for name, step in run_stages(LEARNED, store, LocalWorker(listener=heard)).items()
    }
    assert files(store.root / "stages") == before and heard.names == []


def test_only_the_named_stages_are_made(store: FolderStore) -> None:
    run_stages(LEARNED, store, LocalWorker(), ["pretrain", "collect_pairs"])
    assert [name for name, address in addresses(LEARNED).items() if store.has(address)] == ["pretrain", "collect_pairs"]


def test_a_stage_without_its_input_is_an_error(store: FolderStore) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_stages(LEARNED, store, LocalWorker(), ["evaluate"])
    address = addresses(LEARNED)["finetune"]
    rule = "must be complete: run the study again"
    assert str(raised.value) == f"{address}: not in {store.root}: {rule}"


def test_a_stage_that_failed_can_be_made_by_the_next(store: FolderStore) -> None:
    def fails(_: object) -> bool:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_stages(LEARNED, store, LocalWorker(listener=fails), ["pretrain"])
    assert not store.has(addresses(LEARNED)["pretrain"])
    heard = Heard()
    run_stages(LEARNED, store, LocalWorker(listener=heard), ["pretrain"])
    assert heard.names == ["pretrain 1", "pretrain 2"]


def test_a_pruned_stage_keeps_its_history_and_nothing_to_resume(store: FolderStore) -> None:
    with pytest.raises(Pruned):
        run_stages(LEARNED, store, LocalWorker(listener=Heard(stop=("finetune", 1))))
    folder = store.started(addresses(LEARNED)["finetune"])
    assert folder is not None
    assert sorted(path.name for path in folder.iterdir()) == [*PICTURES[::2], "history.jsonl"], "of the first epoch"
    assert len(read_history(folder)) == 1
    assert store.lease_holder(addresses(LEARNED)["finetune"]) is None


def make_pretrain(index: int, barrier: Any, root: Path) -> None:
    torch.set_num_threads(1)
    heard = Heard()
    barrier.wait()
    run_stages(LEARNED, FolderStore(root), LocalWorker(listener=heard), ["pretrain", "collect_pairs", "fit_surrogate"])
    (root / f"heard-{index}.json").write_text(json.dumps(heard.names))


def test_of_two_trials_that_need_a_stage_one_makes_it_and_one_waits(store: FolderStore) -> None:
    store.root.mkdir()
    run_together(make_pretrain, 2, store.root)
    heard = [json.loads(path.read_text()) for path in store.root.glob("heard-*.json")]
    assert sorted(heard, key=len) == [[], ["pretrain 1", "pretrain 2"]]
    assert all(len(list((store.root / "stages" / name).iterdir())) == 1 for name in NAMES[:3])


def test_who_does_not_wait_is_told_what_is_being_made(store: FolderStore) -> None:
    address = addresses(LEARNED)["collect_pairs"]
    with store.try_lease(address) or pytest.fail(), pytest.raises(MustWait, match=address):
        run_stages(LEARNED, store, LocalWorker(), wait=False)
    assert store.has(addresses(LEARNED)["pretrain"]) and not store.has(address)
    run_stages(LEARNED, store, LocalWorker(), wait=False)
    assert all(store.has(each) for each in addresses(LEARNED).values())


def pretrain_and_stay(connection: Connection, root: Path) -> None:
    torch.set_num_threads(1)

    def listener(progress: Any) -> bool:
        connection.send(progress.epoch)
        connection.recv()  # for ever
        return False

    run_stages(LEARNED, FolderStore(root), LocalWorker(listener=listener), ["pretrain"])


def test_a_stage_whose_maker_was_killed_is_taken_over_and_resumed(store: FolderStore) -> None:
    address = addresses(LEARNED)["pretrain"]
    with started(pretrain_and_stay, store.root) as (process, connection):
        assert received(connection) == 1
        assert store.lease_holder(address) is not None
        kill(process)
    assert not store.has(address)
    heard = Heard()
    run_stages(LEARNED, store, LocalWorker(listener=heard), ["pretrain"])
    assert heard.names == ["pretrain 1", "pretrain 2"] and store.has(address)
