"""The gradient of NeuroIoU: against finite differences, and against the paper's eq. 5 written out."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from neuroiou_study.core.counts import FN, FP, TP, Reading
from neuroiou_study.core.features import Inputs, InputSet, Scale
from neuroiou_study.core.fitting import make_rows
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.surrogate import Surrogate
from tests.core.examples import batch, surrogate

READINGS: tuple[Reading, ...] = ("class", "predicted", "complement")
INPUT_SETS: tuple[InputSet, ...] = get_args(InputSet)


def _gradient(loss_fn: NeuroIoULoss, logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient that reaches the logits."""
    leaf = logits.clone().requires_grad_(True)
    loss_fn(leaf, labels).backward()
    assert leaf.grad is not None
    return leaf.grad


def _rows_of_batch(inputs: Inputs, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    counts, sums = inputs.statistics(logits, labels, 255)
    rows = make_rows(counts, sums, generator=torch.Generator())
    return rows.counts, rows.sums, rows.class_index


@pytest.mark.parametrize("aggregate", ["image", "batch"])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", INPUT_SETS)
def test_gradient_equals_finite_differences(name: InputSet, reading: Reading, aggregate: str) -> None:
    # With the means detached the gradient is not that of the loss, by definition: see the next test.
    inputs = Inputs(name, reading, means_gradient="full")
    logits, labels = batch(height=3, width=3)
    loss_fn = NeuroIoULoss(surrogate(inputs), aggregate=aggregate)
    assert torch.autograd.gradcheck(lambda z: loss_fn(z, labels), logits.requires_grad_(True))


@pytest.mark.parametrize("scale", ["raw", "pixels", "union", "self", "log"])
def test_gradient_equals_finite_differences_at_every_scale(scale: Scale) -> None:
    logits, labels = batch(height=3, width=3)
    loss_fn = NeuroIoULoss(surrogate(Inputs(scale=scale), depth=2))
    assert torch.autograd.gradcheck(lambda z: loss_fn(z, labels), logits.requires_grad_(True))


@pytest.mark.parametrize("aggregate", ["image", "batch"])
@pytest.mark.parametrize(
    "inputs", [Inputs(class_one_hot=4), Inputs("hinge6", means_gradient="full", hinge="one_vs_rest")]
)
def test_gradient_with_classes_and_of_the_other_hinge_equals_finite_differences(inputs: Inputs, aggregate: str) -> None:
    logits, labels = batch(height=3, width=3)
    loss_fn = NeuroIoULoss(surrogate(inputs), aggregate=aggregate)
    assert torch.autograd.gradcheck(lambda z: loss_fn(z, labels), logits.requires_grad_(True))


def _gradient_by_the_sums_alone(made: Surrogate, logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the mean of ``made`` with all but its first three features held constant."""
    inputs = made.config.inputs
    leaf = logits.clone().requires_grad_(True)
    counts, sums, class_index = _rows_of_batch(inputs, leaf, labels)
    means = (sums / counts.clamp(min=1)).detach()
    parts = [sums / counts.sum(-1, keepdim=True), *[means] * (inputs.has_means + inputs.context)]
    if inputs.class_one_hot:
        parts.append(torch.eye(inputs.class_one_hot).double()[class_index])
    made.net(torch.cat(parts, dim=-1)).mean().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("name", ["prob6", "hinge6"])
@pytest.mark.parametrize("reading", READINGS)
def test_with_detached_means_the_gradient_is_that_by_the_sums_alone(name: InputSet, reading: Reading) -> None:
    logits, labels = batch()
    detached, full = (surrogate(Inputs(name, reading, means_gradient=each)) for each in ("detached", "full"))
    expected = _gradient_by_the_sums_alone(detached, logits, labels)
    torch.testing.assert_close(_gradient(NeuroIoULoss(detached), logits, labels), expected)
    assert not torch.allclose(_gradient(NeuroIoULoss(full), logits, labels), expected)


@pytest.mark.parametrize("name", INPUT_SETS)
@pytest.mark.parametrize(("class_one_hot", "context"), [(4, False), (0, True), (5, True)])
def test_with_context_and_class_the_gradient_is_that_by_the_sums_alone(
    name: InputSet, class_one_hot: int, context: bool
) -> None:
    logits, labels = batch()
    labels[0][labels[0] == 2] = 1  # so that a row's class is not its place
    made = surrogate(Inputs(name, class_one_hot=class_one_hot, context=context))
    expected = _gradient_by_the_sums_alone(made, logits, labels)
    torch.testing.assert_close(_gradient(NeuroIoULoss(made), logits, labels), expected)


@pytest.mark.parametrize("aggregate", ["image", "batch"])
def test_a_loss_that_tells_classes_apart_refuses_others(aggregate: str) -> None:
    logits, labels = batch()
    loss_fn = NeuroIoULoss(surrogate(Inputs(class_one_hot=3)), aggregate=aggregate)
    with pytest.raises(ValueError, match="class_index: class 3: the surrogate knows 3 classes: use its data set"):
        loss_fn(logits, labels)


@pytest.mark.parametrize("aggregate", ["image", "batch"])
@pytest.mark.parametrize("inputs", [Inputs(class_one_hot=4), Inputs("hinge3", hinge="one_vs_rest"), Inputs("prob6")])
def test_a_monotone_surrogate_pulls_every_score_the_right_way(inputs: Inputs, aggregate: str) -> None:
    logits, labels = batch(void_fraction=0)
    made = surrogate(inputs, monotone=True)
    gradient = _gradient(NeuroIoULoss(made, aggregate=aggregate), logits, labels)
    preds, at_label = logits.argmax(1), gradient.gather(1, labels.unsqueeze(1)).squeeze(1)
    at_top = gradient.gather(1, preds.unsqueeze(1)).squeeze(1)[preds != labels]
    assert float(at_label.max()) <= 0 <= float(at_top.min())
    assert float(at_label.min()) < 0 < float(at_top.max())


def _by_the_sums(made: Surrogate, counts: Tensor, sums: Tensor) -> Tensor:
    """Paper eq. 5 for one softplus layer, ``(3,)``: Σ_j w_out,j · w_hidden,j · S'(x·w_hidden,j + b_j), S' = sigmoid.

    The inputs are z-scored sums over the union, so the chain rule divides by both.
    """
    state = made.net.state_dict()
    w_hidden, b_hidden, w_out = state["layers.0.weight"], state["layers.0.bias"], state["layers.1.weight"][0]
    union = counts.sum()
    x = (sums / union - made.net.mean) / made.net.std
    slope = 1 / (1 + (-(w_hidden @ x + b_hidden)).exp())
    by_input = torch.stack([(w_out * w_hidden[:, i] * slope).sum() for i in range(3)])
    return by_input / made.net.std / union


def _at_pixel(z: Tensor, y: int, by_sums: Tensor, reading: Reading) -> Tensor:
    """∂L/∂z_j = [j=y] w_y + [j=k] w_k - s p_j of one pixel with upstream gradients ``by_sums`` ``(C, 3)``."""
    p = z.softmax(0)
    k = int(z.argmax())
    w = torch.zeros_like(p)
    if k == y:
        w[y] += by_sums[y, TP] * p[y]
    else:
        w[k] += by_sums[k, FP] * p[k]
        sign, entering = {"class": (1, y), "predicted": (1, k), "complement": (-1, y)}[reading]
        w[entering] += sign * by_sums[y, FN] * p[entering]
    return w - w.sum() * p


@pytest.mark.parametrize("reading", READINGS)
def test_gradient_is_eq_5_written_out(reading: Reading) -> None:
    inputs = Inputs(reading=reading)
    logits, labels = batch()
    made = surrogate(inputs)
    counts, sums = inputs.statistics(logits, labels, 255)
    present = counts[..., TP] + counts[..., FN] > 0
    by_sums = torch.zeros_like(sums)
    for i, c in present.nonzero().tolist():
        by_sums[i, c] = _by_the_sums(made, counts[i, c], sums[i, c]) / present.sum()

    expected = torch.zeros_like(logits)
    for i, row, column in (labels != 255).nonzero().tolist():
        y = int(labels[i, row, column])
        expected[i, :, row, column] = _at_pixel(logits[i, :, row, column], y, by_sums[i], reading)
    torch.testing.assert_close(_gradient(NeuroIoULoss(made), logits, labels), expected)


def test_the_loss_is_the_mean_over_the_classes_in_each_images_labels() -> None:
    logits, labels = batch()
    labels[0][labels[0] == 2] = 1
    made = surrogate()
    counts, sums = made.config.inputs.statistics(logits, labels, 255)
    values = [
        made(counts[i, c : c + 1], sums[i, c : c + 1], (labels[i : i + 1] != 255).sum((1, 2)))
        for i in range(2)
        for c in range(4)
        if (labels[i] == c).any()
    ]
    assert len(values) == 7
    torch.testing.assert_close(NeuroIoULoss(made)(logits, labels), torch.cat(values).mean())


def test_per_batch_the_loss_is_that_of_one_large_image() -> None:
    logits, labels = batch(images=3)
    made = surrogate()
    whole_logits, whole_labels = logits.transpose(0, 1).reshape(1, 4, 15, 6), labels.reshape(1, 15, 6)
    expected = NeuroIoULoss(made)(whole_logits, whole_labels)
    torch.testing.assert_close(NeuroIoULoss(made, aggregate="batch")(logits, labels), expected)
    assert not torch.allclose(NeuroIoULoss(made)(logits, labels), expected)


def test_the_surrogate_is_frozen() -> None:
    logits, labels = batch()
    loss_fn = NeuroIoULoss(surrogate())
    loss_fn(logits.requires_grad_(True), labels).backward()
    assert [p for p in loss_fn.parameters() if p.requires_grad or p.grad is not None] == []


@pytest.mark.parametrize("name", INPUT_SETS)
@pytest.mark.parametrize("aggregate", ["image", "batch"])
def test_an_all_void_batch_has_loss_0_and_gradient_0(name: InputSet, aggregate: str) -> None:
    logits, labels = batch()
    loss_fn = NeuroIoULoss(surrogate(Inputs(name)), aggregate=aggregate)
    void = torch.full_like(labels, 255)
    assert float(loss_fn(logits, void)) == 0
    assert torch.equal(_gradient(loss_fn, logits, void), torch.zeros_like(logits))


def test_half_precision_logits_have_a_float32_loss() -> None:
    logits, labels = batch(height=20, width=20)
    loss_fn = NeuroIoULoss(surrogate().float())
    loss = loss_fn(logits.to(torch.bfloat16), labels)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(loss_fn(logits, labels)), abs=2e-2)


@pytest.mark.parametrize("inputs", [Inputs(), Inputs("hinge3", hinge="one_vs_rest", class_one_hot=4, context=True)])
def test_what_is_loaded_equals_what_was_saved(tmp_path: Path, inputs: Inputs) -> None:
    logits, labels = batch(ignore_index=11)
    saved = NeuroIoULoss(surrogate(inputs).float(), aggregate="batch", ignore_index=11)
    saved.save(tmp_path)
    assert torch.equal(NeuroIoULoss.load(tmp_path)(logits, labels), saved(logits, labels))
    elsewhere = torch.where(labels == 11, 255, labels)
    assert torch.equal(NeuroIoULoss.load(tmp_path, ignore_index=255)(logits, elsewhere), saved(logits, labels))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        json.dumps({"aggregate": "batch"}),
        '{"aggregate": "all"}',
        *(json.dumps({"aggregate": "image", "ignore_index": each}) for each in ("255", True, 2.0, None, 10**30)),
        *(json.dumps({"aggregate": each, "ignore_index": 255}) for each in ("all", ["image"], None, "a" * 2_000_000)),
    ],
)
def test_damaged_settings_are_named(tmp_path: Path, content: str) -> None:
    NeuroIoULoss(surrogate()).save(tmp_path)
    (tmp_path / "loss.json").write_text(content)
    with pytest.raises(ValueError, match=f"{tmp_path / 'loss.json'}: .*: export the loss again"):
        NeuroIoULoss.load(tmp_path)


@pytest.mark.parametrize("name", INPUT_SETS)
def test_every_input_set_can_be_exported_for_batches_of_any_size(name: InputSet) -> None:
    loss_fn = NeuroIoULoss(surrogate(Inputs(name)).float())
    sizes = [torch.export.Dim(each, min=2) for each in ("batch", "height", "width")]
    shapes = ({0: sizes[0], 2: sizes[1], 3: sizes[2]}, dict(enumerate(sizes)))
    logits, labels = torch.randn(2, 4, 6, 8), torch.randint(0, 4, (2, 6, 8))
    program = torch.export.export(loss_fn, (logits, labels), dynamic_shapes=shapes, strict=True)
    logits, labels = torch.randn(3, 4, 10, 5), torch.randint(0, 4, (3, 10, 5))
    torch.testing.assert_close(program.module()(logits, labels), loss_fn(logits, labels))
