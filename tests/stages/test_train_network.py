import json
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from neuroiou_study.spec import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import LocalWorker, Progress, Pruned
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.train_network import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    MODEL_FILE,
    count_images,
    read_history,
    train_network,
)
from tests.stages.processes import kill, received, started
from tests.stages.tiny import Heard, tiny_trial

ADAMW = tiny_trial(pretrain__epochs=4)
SGD = tiny_trial(pretrain__epochs=4, pretrain__optimizer__name="sgd", pretrain__lr=0.01)
SPECS = pytest.mark.parametrize("spec", [ADAMW, SGD], ids=["adamw", "sgd"])


def train(spec: TrialSpec, folder: Path, heard: Heard | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    pretrain(spec, {}, folder, LocalWorker(listener=heard or Heard()))
    return folder


def result(folder: Path) -> tuple[bytes, bytes]:
    return (folder / HISTORY_FILE).read_bytes(), (folder / MODEL_FILE).read_bytes()


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


def test_a_resumed_training_does_not_repeat_epochs(tmp_path: Path) -> None:
    folder = cut(ADAMW, tmp_path / "cut", 4)
    checkpoint = torch.load(folder / CHECKPOINT_FILE, weights_only=True)
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
    counts = count_images(build.model(ADAMW.model, 6, 0), select, batch_size, LocalWorker())
    assert counts.shape == (4, 6, 3)
    for index in range(4):
        labels = torch.from_numpy(select.load(index).labels).long()
        per_class = torch.bincount(labels[labels != select.ignore_index], minlength=6)
        assert torch.equal(counts[index, :, 0] + counts[index, :, 2], per_class)


def test_a_row_is_one_line_of_json(tmp_path: Path) -> None:
    lines = (train(ADAMW, tmp_path) / HISTORY_FILE).read_text().splitlines()
    documents: list[Any] = [json.loads(line) for line in lines]
    assert documents == read_history(tmp_path) and len(lines) == 4
