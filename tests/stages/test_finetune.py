from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from neuroiou_study.core.data.transforms import to_tensors
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import make_rows
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.spec import Scalar, TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.finetune import finetune
from neuroiou_study.stages.fit_surrogate import FIDELITY_FILE, read_fidelity
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan, run_stages
from neuroiou_study.stages.train_network import MODEL_FILE
from tests.stages.tiny import tiny_study, tiny_trial

STUDY = tiny_study()
STILL: dict[str, Scalar] = {
    "finetune.epochs": 1,
    "finetune.lr": 1e-12,
    "finetune.optimizer.name": "sgd",
    "finetune.optimizer.weight_decay": 0.0,
}
"""A fine-tuning that moves nothing, so that one sees where it began."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    return FolderStore(tmp_path_factory.mktemp("store"))


def folder(store: FolderStore, spec: TrialSpec, stage: str) -> Path:
    run_stages(spec, store, LocalWorker())
    found = store.find(plan(spec)[stage].address)
    assert found is not None
    return found


def statistics(model: torch.nn.Module, spec: TrialSpec, loss: NeuroIoULoss) -> tuple[Tensor, Tensor]:
    """Counts and sums of ``model``'s output on ``select``, image by image."""
    select, parts = build.dataset(spec.data, "select"), []
    for index in range(len(select)):
        image, labels = (part.unsqueeze(0) for part in to_tensors(select.load(index)))
        parts.append(loss.surrogate.config.inputs.statistics(model(image).detach(), labels, select.ignore_index))
    return torch.cat([part.counts for part in parts]), torch.cat([part.sums.double() for part in parts])


@pytest.mark.parametrize("inputs", ["prob3", "hinge3", "log6"])
def test_the_surrogate_is_measured_where_it_has_led_the_network(store: FolderStore, inputs: str) -> None:
    spec = tiny_trial(fit_surrogate__inputs=inputs)
    found = folder(store, spec, "finetune")
    model = build.model(spec.model, 6, spec.seed).eval()
    model.load_state_dict(load_file(found / MODEL_FILE))
    loss = NeuroIoULoss.load(folder(store, spec, "fit_surrogate"))
    counts, sums = statistics(model, spec, loss)
    expected = fidelity(loss.surrogate, make_rows(counts, sums, generator=torch.Generator()))
    assert read_fidelity(found) == pytest.approx(expected, rel=1e-3, abs=1e-5, nan_ok=True)
    assert read_fidelity(found)["mse"] != read_fidelity(folder(store, spec, "fit_surrogate"))["mse"]


def test_a_control_has_no_surrogate_to_measure(store: FolderStore) -> None:
    assert not (folder(store, STUDY.sample({}, arm="ce"), "finetune") / FIDELITY_FILE).exists()


def is_near(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.allclose(value, other[name], atol=1e-6) for name, value in one.items() if "running" not in name)


def test_a_fine_tuning_begins_with_the_pretrained_network_or_a_random_one(store: FolderStore) -> None:
    spec = STUDY.sample(STILL, arm="ce")
    pretrained = load_file(folder(store, spec, "pretrain") / MODEL_FILE)
    random = build.model(spec.model, 6, spec.seed).state_dict()
    assert not is_near(pretrained, random)
    assert is_near(load_file(folder(store, spec, "finetune") / MODEL_FILE), pretrained)
    anew = STUDY.sample({**STILL, "finetune.start": "random"}, arm="ce")
    found = load_file(folder(store, anew, "finetune") / MODEL_FILE)
    assert is_near(found, random) and not is_near(found, pretrained)


def test_a_random_start_needs_no_pretrained_network(tmp_path: Path) -> None:
    finetune(STUDY.sample({**STILL, "finetune.start": "random"}, arm="ce"), {}, tmp_path, LocalWorker())
    assert (tmp_path / MODEL_FILE).is_file()
