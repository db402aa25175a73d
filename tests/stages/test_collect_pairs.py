from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from neuroiou_study.core.counts import probability_statistics
from neuroiou_study.core.data.transforms import to_tensors
from neuroiou_study.core.perturbing import perturbed
from neuroiou_study.spec import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.collect_pairs import PAIRS_FILE, Pairs, collect_pairs
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.train_network import MODEL_FILE
from tests.stages.tiny import tiny_trial

SUMS = {"log", "crammer_singer", "one_vs_rest", "class", "predicted", "complement"}
PRETRAIN: dict[str, Any] = {"pretrain__epochs": 4, "pretrain__snapshots": 3}


def trial(**values: Any) -> TrialSpec:
    return tiny_trial(**PRETRAIN, **{f"collect_pairs__{name}": value for name, value in values.items()})


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretraining of four epochs that kept snapshots of the first three."""
    folder = tmp_path_factory.mktemp("pretrain")
    pretrain(trial(), {}, folder, LocalWorker())
    return folder


def collected(pretrained: Path, folder: Path, spec: TrialSpec) -> Pairs:
    folder.mkdir()
    collect_pairs(spec, {"pretrain": pretrained}, folder, LocalWorker())
    return load_file(folder / PAIRS_FILE)


def assert_same(one: Pairs, other: Pairs) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-4, msg=name)


def output(pairs: Pairs, number: int) -> Pairs:
    return {name: value[number] for name, value in pairs.items()}


def test_d_is_the_network_s_own_output_unless_more_is_asked_for(pretrained: Path, tmp_path: Path) -> None:
    pairs = collected(pretrained, tmp_path / "plain", trial())
    assert set(pairs) == {"counts", *SUMS}
    assert {value.shape for value in pairs.values()} == {(1, 8, 6, 3)}
    assert pairs["counts"].dtype == torch.int64 and pairs["complement"].dtype == torch.float64


def test_an_output_s_statistics_are_those_of_its_logits(pretrained: Path, tmp_path: Path) -> None:
    spec = trial(perturbed=2, perturbation=1.5)
    pairs = collected(pretrained, tmp_path / "pairs", spec)
    training = build.dataset(spec.data, "train")
    model = build.model(spec.model, training.num_classes, spec.seed).eval()
    model.load_state_dict(load_file(pretrained / MODEL_FILE))
    for index in (0, 5):
        image, labels = (part.unsqueeze(0) for part in to_tensors(training.load(index)))
        logits = model(image).detach()
        copies = [perturbed(logits, 1.5, [(spec.seed, copy, index)]) for copy in range(2)]
        for number, each in enumerate([logits, *copies]):
            found = probability_statistics(each, labels, ignore_index=training.ignore_index)
            assert torch.equal(pairs["counts"][number, index], found.counts[0])
            torch.testing.assert_close(pairs["complement"][number, index], found.sums[0].double(), rtol=1e-5, atol=1e-5)


def test_further_outputs_stand_behind_the_network_s_own(pretrained: Path, tmp_path: Path) -> None:
    plain = collected(pretrained, tmp_path / "plain", trial())
    wide = collected(pretrained, tmp_path / "wide", trial(snapshots=2, perturbed=3))
    assert {value.shape for value in wide.values()} == {(6, 8, 6, 3)}
    assert_same(output(wide, 0), output(plain, 0))
    assert_same(
        {name: value[:4] for name, value in wide.items()},
        collected(pretrained, tmp_path / "perturbed", trial(perturbed=3)),
    )
    distinct = {tuple(counts.flatten().tolist()) for counts in wide["counts"]}
    assert len(distinct) == 6
    # The pixels of a class stay as many, whatever the network says of them.
    assert (wide["counts"][..., 0] + wide["counts"][..., 2] == plain["counts"][..., 0] + plain["counts"][..., 2]).all()


def test_the_latest_snapshots_are_taken_and_the_latest_first(pretrained: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in pretrained.glob("snapshot-*")) == [
        f"snapshot-{epoch:06d}.safetensors" for epoch in (1, 2, 3)
    ]
    wide = collected(pretrained, tmp_path / "wide", trial(snapshots=2))
    for number, epoch in ((1, 3), (2, 2)):
        alone = tmp_path / f"epoch-{epoch}"
        alone.mkdir()
        (alone / MODEL_FILE).symlink_to(pretrained / f"snapshot-{epoch:06d}.safetensors")
        assert_same(output(wide, number), output(collected(alone, tmp_path / f"pairs-{epoch}", trial()), 0))


def test_the_pairs_do_not_depend_on_the_batches(pretrained: Path, tmp_path: Path) -> None:
    one, other = (
        collected(pretrained, tmp_path / str(size), trial(perturbed=1, snapshots=1, batch_size=size)) for size in (3, 8)
    )
    assert_same(one, other)


def test_perturbed_copies_are_decided_by_the_seed(pretrained: Path, tmp_path: Path) -> None:
    spec = trial(perturbed=1)
    first = collected(pretrained, tmp_path / "first", spec)
    torch.manual_seed(99)
    again = collected(pretrained, tmp_path / "again", spec)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = collected(pretrained, tmp_path / "other", spec.model_copy(update={"seed": 1}))
    assert torch.equal(first["counts"][0], other["counts"][0])
    assert not torch.equal(first["counts"][1], other["counts"][1])
