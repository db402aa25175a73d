"""A training that splits its batches, and one whose batches are too large."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from neuroiou_study.core.losses import CrossEntropyLoss
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.checkpoint import CHECKPOINTS
from neuroiou_study.stages.collect_pairs import pairs_of
from neuroiou_study.stages.train_network import MODEL_FILE, Row, count_images, read_history, train_network
from tests.stages.tiny import tiny_trial

SPEC = tiny_trial(pretrain__epochs=3)


class Counting(nn.Module):
    """The tiny network; counts its images in training, and may run out of memory in the backward pass of a step."""

    def __init__(self, full_at: int = 0) -> None:
        super().__init__()
        self.network = build.model(SPEC.model, 6, 0)
        self.training_sizes: list[int] = []
        self.sizes: list[int] = []
        self.full_at = full_at

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        (self.training_sizes if self.training else self.sizes).append(len(images))
        if self.training and len(self.training_sizes) == self.full_at:
            logits.register_hook(_fill_the_memory)
        return logits


def _fill_the_memory(_: Tensor) -> None:
    raise torch.OutOfMemoryError("tried to allocate 20 GiB")


def train(network: Counting, folder: Path, micro_batches: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    worker = LocalWorker(resources=ResourcesSpec(micro_batches=micro_batches))
    train_network("pretrain", SPEC.pretrain, SPEC, network, CrossEntropyLoss(), folder, worker)
    return folder


def assert_near(one: list[Row], other: list[Row]) -> None:
    """Losses are equal but for rounding, and scores but for a pixel or two that it turns over."""
    assert len(one) == len(other) == SPEC.pretrain.epochs
    for left, right in zip(one, other, strict=True):
        assert right["loss"] == pytest.approx(left["loss"], rel=1e-4)
        assert right["select_miou"] == pytest.approx(left["select_miou"], abs=0.01)


def test_micro_batches_reach_the_network_and_do_not_show_in_what_it_learns(tmp_path: Path) -> None:
    network = Counting()
    plain, split = train(Counting(), tmp_path / "plain"), train(network, tmp_path / "split", micro_batches=3)
    assert network.training_sizes == [2, 1, 1] * 2 * 2 * 3 and network.sizes == [2, 2] * 3
    assert_near(read_history(plain), read_history(split))


def test_networks_are_measured_with_as_many_images_at_a_time() -> None:
    worker, select = LocalWorker(resources=ResourcesSpec(micro_batches=2)), build.dataset(SPEC.data, "select")
    assert [LocalWorker().at_once(5), worker.at_once(5), worker.at_once(1)] == [5, 3, 1]
    network = Counting()
    split = count_images(network, worker.loader(select), 4, worker)
    assert network.sizes == [2, 2]
    assert torch.equal(split, count_images(network, worker.loader(select), 4, LocalWorker()))
    network.sizes.clear()
    pairs_of(network, select, tiny_trial(collect_pairs__batch_size=4), worker)
    assert network.sizes == [2, 2]


def test_out_of_memory_leaves_the_last_whole_epoch_from_which_smaller_parts_go_on(tmp_path: Path) -> None:
    with pytest.raises(torch.OutOfMemoryError, match=r"step 1: 4 images at a time: .*tried to allocate"):
        train(Counting(full_at=4), tmp_path)  # the second step of the second epoch
    assert len(list(tmp_path.glob(CHECKPOINTS))) == 1 and len(read_history(tmp_path)) == 1
    network = Counting()
    train(network, tmp_path, micro_batches=2)
    assert network.training_sizes == [2] * 4 * 2 * 2 and (tmp_path / MODEL_FILE).is_file()
    assert_near(read_history(train(Counting(), tmp_path / "undisturbed")), read_history(tmp_path))
