import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import Rows
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.spec import TrialSpec
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.collect_pairs import PAIRS_FILE, collect_pairs
from neuroiou_study.stages.fit_surrogate import fit_surrogate, read_fidelity, rows_of
from neuroiou_study.stages.pretrain import pretrain
from tests.stages.tiny import tiny_trial


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain")
    pretrain(tiny_trial(), {}, folder, LocalWorker())
    return folder


def collected(pretrained: Path, folder: Path, spec: TrialSpec) -> Path:
    folder.mkdir()
    collect_pairs(spec, {"pretrain": pretrained}, folder, LocalWorker())
    return folder


def fitted(pretrained: Path, folder: Path, **values: Any) -> dict[str, float]:
    """The fidelity of the surrogate of a trial, which is left in ``folder``."""
    spec = tiny_trial(**values)
    pairs = collected(pretrained, folder, spec)
    fit_surrogate(spec, {"collect_pairs": pairs}, folder, LocalWorker())
    return read_fidelity(folder)


def others(report: dict[str, float]) -> dict[str, float]:
    found = {name: value for name, value in report.items() if name.startswith("other_")}
    return {name.removeprefix("other_"): value for name, value in found.items()}


def test_a_plain_d_has_one_fidelity(pretrained: Path, tmp_path: Path) -> None:
    report = fitted(pretrained, tmp_path / "plain")
    assert others(report) == {}
    assert {"r2", "sign_tp", "sign_fp", "sign_fn", "gain_error", "num_epochs"} <= set(report)
    assert 1 <= report["num_epochs"] <= 5


def test_a_wider_d_has_a_fidelity_of_its_other_outputs_too(pretrained: Path, tmp_path: Path) -> None:
    # Copies that are hardly perturbed are the network's own output once more …
    near = fitted(pretrained, tmp_path / "near", collect_pairs__perturbed=2, collect_pairs__perturbation=1e-7)
    own = {name: near[name] for name in others(near)}
    assert set(near) == {*own, *(f"other_{name}" for name in own), "num_epochs"}
    assert others(near) == pytest.approx(own, rel=1e-3, nan_ok=True)
    # … and those that are perturbed are not.
    far = fitted(pretrained, tmp_path / "far", collect_pairs__perturbed=2, collect_pairs__perturbation=4.0)
    assert math.isfinite(far["other_mse"]) and abs(far["other_mse"] - far["mse"]) > 1e-3 * far["mse"]


def test_fidelity_is_of_whole_images_that_the_fit_has_not_seen(pretrained: Path, tmp_path: Path) -> None:
    spec = tiny_trial(collect_pairs__perturbed=1, fit_surrogate__held_out_fraction=0.25)
    found = fitted(pretrained, tmp_path / "pairs", collect_pairs__perturbed=1, fit_surrogate__held_out_fraction=0.25)
    parts = rows_of(spec, load_file(tmp_path / "pairs" / PAIRS_FILE), 6)
    surrogate = NeuroIoULoss.load(tmp_path / "pairs").surrogate

    def mse_of(rows: Rows, images: tuple[int, ...]) -> float:
        return fidelity(surrogate, rows.select(torch.isin(rows.image, torch.tensor(images))))["mse"]

    expected = [pytest.approx(found[name], rel=1e-5) for name in ("mse", "other_mse")]
    held_out = [images for images in combinations(range(8), 2) if [mse_of(rows, images) for rows in parts] == expected]
    assert len(held_out) == 1


def test_more_outputs_make_more_rows_of_the_same_images(pretrained: Path, tmp_path: Path) -> None:
    spec = tiny_trial(collect_pairs__perturbed=2)
    pairs = load_file(collected(pretrained, tmp_path / "pairs", spec) / PAIRS_FILE)
    for values in ({}, {"fit_surrogate__aggregate": "batch", "fit_surrogate__images_per_row": 2}):
        own, *further = rows_of(tiny_trial(**values), pairs, 6)
        assert len(further) == 2
        for each in further:
            assert torch.equal(each.image, own.image) and torch.equal(each.num_pixels, own.num_pixels)
            assert torch.equal(each.class_index, own.class_index) and not torch.equal(each.sums, own.sums)
            assert torch.equal(each.counts[:, 0] + each.counts[:, 2], own.counts[:, 0] + own.counts[:, 2])


def test_the_rows_are_of_the_sums_that_the_inputs_are_made_of(pretrained: Path, tmp_path: Path) -> None:
    pairs = load_file(collected(pretrained, tmp_path / "pairs", tiny_trial()) / PAIRS_FILE)
    present = pairs["counts"][0, :, :, 0] + pairs["counts"][0, :, :, 2] > 0
    for inputs, hinge, reading, name in (
        ("prob3", "crammer_singer", "predicted", "predicted"),
        ("prob6", "one_vs_rest", "class", "class"),
        ("hinge3", "crammer_singer", "class", "crammer_singer"),
        ("hinge6", "one_vs_rest", "class", "one_vs_rest"),
        ("log3", "one_vs_rest", "class", "log"),
    ):
        spec = tiny_trial(fit_surrogate__inputs=inputs, fit_surrogate__hinge=hinge, fit_surrogate__reading=reading)
        (rows,) = rows_of(spec, pairs, 6)
        assert torch.equal(rows.sums, pairs[name][0][present])


def test_a_surrogate_is_the_loss_of_the_trial(pretrained: Path, tmp_path: Path) -> None:
    values = {"fit_surrogate__aggregate": "batch", "fit_surrogate__class_one_hot": True}
    fitted(pretrained, tmp_path / "batch", **values)
    loss = NeuroIoULoss.load(tmp_path / "batch")
    assert loss.aggregate == "batch" and loss.surrogate.config.inputs.class_one_hot == 6
