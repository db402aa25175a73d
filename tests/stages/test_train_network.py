import json
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from neuroiou_study.core import counts
from neuroiou_study.core.losses import ClosedFormLoss
from neuroiou_study.spec import TrialSpec
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import LocalWorker, Progress, Pruned
from neuroiou_study.stages.checkpoint import Checkpoint, load_checkpoint
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.train_network import (
    HISTORY_FILE,
    MODEL_FILE,
    SNAPSHOTS,
    count_images,
    read_history,
    snapshot_epochs,
    train_network,
)
from tests.stages.processes import kill, received, started
from tests.stages.tiny import Heard, tiny_trial

ADAMW = tiny_trial(pretrain__epochs=4)
SGD = tiny_trial(pretrain__epochs=4, pretrain__optimizer__name="sgd", pretrain__lr=0.01)
POLY = tiny_trial(pretrain__epochs=4, pretrain__schedule__name="poly", pretrain__snapshots=2)
COSINE = tiny_trial(pretrain__epochs=4, pretrain__schedule__name="cosine")
SPECS = pytest.mark.parametrize("spec", [ADAMW, SGD, POLY], ids=["adamw", "sgd", "poly"])


def train(spec: TrialSpec, folder: Path, heard: Heard | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    pretrain(spec, {}, folder, LocalWorker(listener=heard or Heard()))
    return folder


def result(folder: Path) -> tuple[bytes, ...]:
    snapshots = [path.read_bytes() for path in sorted(folder.glob(SNAPSHOTS))]
    return (folder / HISTORY_FILE).read_bytes(), (folder / MODEL_FILE).read_bytes(), *snapshots


class PowerCut(Exception):  # noqa: N818
    pass


def cut(spec: TrialSpec, folder: Path, epoch: int) -> Path:
    """A folder that was left after ``epoch``, once that was written down."""
    heard = Heard()

    def listener(progress: Progress) -> bool:
        heard(progress)
        if progress.epoch == epoch:
            raise PowerCut
        return False

    folder.mkdir()
    with pytest.raises(PowerCut):
        pretrain(spec, {}, folder, LocalWorker(listener=listener))
    assert len(heard.epochs) == epoch and not (folder / MODEL_FILE).exists()
    return folder


def test_a_row_an_epoch_is_left_and_reported(tmp_path: Path) -> None:
    heard = Heard()
    rows = read_history(train(ADAMW, tmp_path, heard))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [
        Progress("pretrain", ADAMW.seed, int(row.pop("epoch")), 4, row) for row in read_history(tmp_path)
    ] == heard.epochs
    assert all(set(row) == {"epoch", "loss", "select_miou"} and 0 <= row["select_miou"] <= 1 for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_no_history_before_the_first_epoch(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []


@SPECS
def test_training_is_decided_by_the_trial_alone(spec: TrialSpec, tmp_path: Path) -> None:
    first = result(train(spec, tmp_path / "first"))
    torch.manual_seed(12345)
    assert result(train(spec, tmp_path / "again")) == first
    other = spec.model_copy(update={"seed": 1})
    assert result(train(other, tmp_path / "other"))[1] != first[1]


def test_the_seed_decides_the_order_of_the_images_too(tmp_path: Path) -> None:
    training = build.dataset(ADAMW.data, "train")
    for seed in (0, 1):
        spec, folder = ADAMW.model_copy(update={"seed": seed}), tmp_path / str(seed)
        folder.mkdir()
        model, loss_fn = build.model(spec.model, 6, 0), build.loss(spec.pretrain.loss, training)
        train_network("pretrain", spec.pretrain, spec, model, loss_fn, folder, LocalWorker())
    assert read_history(tmp_path / "0")[0]["loss"] != read_history(tmp_path / "1")[0]["loss"]


def test_the_model_is_built_from_the_seed_without_touching_other_random_numbers() -> None:
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    one, same, other = (build.model(ADAMW.model, 6, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [next(network.parameters()) for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@SPECS
@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_an_interrupted_training_ends_as_if_it_had_not_been(spec: TrialSpec, epoch: int, tmp_path: Path) -> None:
    whole = result(train(spec, tmp_path / "whole"))
    heard = Heard()
    resumed = train(spec, cut(spec, tmp_path / "cut", epoch), heard)
    assert result(resumed) == whole
    assert heard.names == [f"pretrain {number}" for number in (1, 2, 3, 4)]
    assert [{"epoch": progress.epoch, **progress.metrics} for progress in heard.epochs] == read_history(resumed)


def checkpoint_of(folder: Path) -> Checkpoint:
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    return checkpoint


def rate(folder: Path) -> float:
    """The learning rate that an interrupted training goes on with."""
    return float(checkpoint_of(folder)["optimizer"]["param_groups"][0]["lr"])


@pytest.mark.parametrize(
    ("spec", "factors"),
    [(ADAMW, (1.0, 1.0)), (POLY, (0.75**0.9, 0.25**0.9)), (COSINE, (0.5 + 8**-0.5, 0.5 - 8**-0.5))],
    ids=["constant", "poly", "cosine"],
)
def test_the_learning_rate_follows_its_schedule_also_when_resumed(
    spec: TrialSpec, factors: tuple[float, float], tmp_path: Path
) -> None:
    after_one = cut(spec, tmp_path / "cut", 1)
    expected = [spec.pretrain.lr * factor for factor in factors]
    assert rate(after_one) == pytest.approx(expected[0])
    with pytest.raises(Pruned):
        train(spec, after_one, Heard(stop=("pretrain", 3)))
    assert rate(after_one) == pytest.approx(expected[1])


def test_snapshots_are_spread_evenly_and_change_nothing(tmp_path: Path) -> None:
    kept = tiny_trial(pretrain__epochs=4, pretrain__schedule__name="cosine", pretrain__snapshots=1)
    assert snapshot_epochs(COSINE.pretrain) == set() == snapshot_epochs(COSINE.finetune)
    assert (snapshot_epochs(kept.pretrain), snapshot_epochs(POLY.pretrain)) == ({2}, {1, 2})
    folder = train(kept, tmp_path / "kept")
    assert result(folder)[:2] == result(train(COSINE, tmp_path / "plain"))
    assert [path.name for path in folder.glob(SNAPSHOTS)] == ["snapshot-000002.safetensors"]
    checkpoint = checkpoint_of(cut(COSINE, tmp_path / "cut", 2))
    weights = load_file(folder / "snapshot-000002.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in checkpoint["model"].items())


def test_a_sum_over_pixels_is_a_mean_with_another_learning_rate(tmp_path: Path) -> None:
    # One step of all eight images, so that the sum is so many times the mean.
    settings = {"epochs": 1, "batch_size": 8, "optimizer__name": "sgd", "optimizer__weight_decay": 0.0}
    step: dict[str, Any] = {f"pretrain__{name}": value for name, value in settings.items()}
    training = build.dataset(ADAMW.data, "train")
    pixels_per_image = sum(int((training.load(i).labels != training.ignore_index).sum()) for i in range(8)) / 8
    mean = train(tiny_trial(**step, pretrain__lr=0.5), tmp_path / "mean")
    lr = 0.5 / pixels_per_image
    added = train(tiny_trial(**step, pretrain__lr=lr, pretrain__reduction="sum"), tmp_path / "sum")
    losses = [read_history(folder)[0]["loss"] for folder in (mean, added)]
    assert losses[1] == pytest.approx(losses[0] * pixels_per_image)
    weights, same = (load_file(folder / MODEL_FILE) for folder in (mean, added))
    assert all(torch.allclose(value, same[name], atol=1e-5) for name, value in weights.items())


def test_a_resumed_training_does_not_repeat_epochs(tmp_path: Path) -> None:
    folder = cut(ADAMW, tmp_path / "cut", 4)
    checkpoint = checkpoint_of(folder)
    train(ADAMW, folder)
    weights = load_file(folder / MODEL_FILE)
    assert all(torch.equal(weights[name], value) for name, value in checkpoint["model"].items())


def test_a_history_that_was_not_written_to_its_end_is_completed(tmp_path: Path) -> None:
    whole = train(ADAMW, tmp_path / "whole")
    folder = cut(ADAMW, tmp_path / "cut", 4)
    text = (folder / HISTORY_FILE).read_text()
    (folder / HISTORY_FILE).write_text(text.rpartition("{")[0])
    assert len(read_history(folder)) == 3
    assert result(train(ADAMW, folder)) == result(whole)


def pretrain_aloud(connection: Connection, folder: Path) -> None:
    torch.set_num_threads(1)

    def listener(progress: Progress) -> bool:
        connection.send(progress)
        return bool(connection.recv())

    pretrain(ADAMW, {}, folder, LocalWorker(listener=listener))


def test_a_training_killed_in_an_epoch_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, folder = train(ADAMW, tmp_path / "whole"), tmp_path / "killed"
    folder.mkdir()
    with started(pretrain_aloud, folder) as (process, connection):
        said = [received(connection)]
        connection.send(False)
        said.append(received(connection))
        connection.send(False)
        kill(process)
    assert not (folder / MODEL_FILE).exists()
    heard = Heard()
    assert result(train(ADAMW, folder, heard)) == result(whole)
    assert heard.epochs[:2] == said and [progress.epoch for progress in heard.epochs] == [1, 2, 3, 4]


def test_a_listener_ends_a_training_after_an_epoch_also_when_it_is_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        heard = Heard(stop=("pretrain", 2))
        with pytest.raises(Pruned):
            train(ADAMW, tmp_path, heard)
        assert heard.names == ["pretrain 1", "pretrain 2"] and len(read_history(tmp_path)) == 2
    assert not (tmp_path / MODEL_FILE).exists()


def test_a_batch_larger_than_the_training_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"batch_size: 9: .* training split \(8\): change batch_size"):
        train(tiny_trial(pretrain__batch_size=9), tmp_path)


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_counts_are_of_every_image_at_its_place(batch_size: int) -> None:
    select = build.dataset(ADAMW.data, "select")
    counts = count_images(build.model(ADAMW.model, 6, 0), LocalWorker().loader(select), batch_size, LocalWorker())
    assert counts.shape == (4, 6, 3)
    for index in range(4):
        labels = torch.from_numpy(select.load(index).labels).long()
        per_class = torch.bincount(labels[labels != select.ignore_index], minlength=6)
        assert torch.equal(counts[index, :, 0] + counts[index, :, 2], per_class)


def test_a_row_is_one_line_of_json(tmp_path: Path) -> None:
    lines = (train(ADAMW, tmp_path) / HISTORY_FILE).read_text().splitlines()
    documents: list[Any] = [json.loads(line) for line in lines]
    assert documents == read_history(tmp_path) and len(lines) == 4


def losses_with(spec: TrialSpec, folder: Path, **resources: Any) -> list[float]:
    folder.mkdir()
    pretrain(spec, {}, folder, LocalWorker(resources=ResourcesSpec(**resources)))
    return [row["loss"] for row in read_history(folder)]


def test_channels_last_does_not_show_in_what_a_network_learns(tmp_path: Path) -> None:
    spec = tiny_trial(pretrain__epochs=2)
    plain, other = losses_with(spec, tmp_path / "plain"), losses_with(spec, tmp_path / "other", channels_last=True)
    assert other == pytest.approx(plain, rel=1e-3)


def test_a_compiled_network_computes_the_same_and_is_saved_under_the_same_names() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    image, names = torch.rand(1, 3, 6, 6), list(network.state_dict())
    expected = network(image)
    prepared = LocalWorker(resources=ResourcesSpec(compile_network=True)).prepare_model(network)
    torch.testing.assert_close(prepared(image), expected)
    assert list(prepared.state_dict()) == names


def test_channels_last_and_compilation_reach_the_network() -> None:
    network = build.model(tiny_trial().model, 6, 0)
    worker = LocalWorker(resources=ResourcesSpec(channels_last=True, compile_network=True))
    worker.prepare_model(network)
    kernel = next(each for each in network.parameters() if each.dim() == 4 and each.shape[1] > 1 and each.shape[2] > 1)
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert network._compiled_call_impl is not None


def test_half_precision_is_another_result(tmp_path: Path) -> None:
    exact = losses_with(tiny_trial(pretrain__epochs=2), tmp_path / "exact")
    rough = losses_with(tiny_trial(pretrain__epochs=2, pretrain__precision="bfloat16"), tmp_path / "rough")
    assert rough != exact and rough == pytest.approx(exact, rel=0.05)


def test_the_kernel_that_a_study_asks_for_is_the_losss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(counts, "choose", lambda _, kernel: asked.append(kernel))
    training = build.dataset(tiny_trial().data, "train")
    worker = LocalWorker(resources=ResourcesSpec(kernel="reference"))
    settings = tiny_trial().finetune
    network = build.model(tiny_trial().model, training.num_classes, 0)
    train_network("finetune", settings, tiny_trial(), network, ClosedFormLoss(), tmp_path, worker)
    assert set(asked) == {"reference"}
