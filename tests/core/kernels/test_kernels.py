import logging
import shutil
from dataclasses import replace
from typing import get_args

import pytest
import torch

from neuroiou_study.core.counts import Reading, predictions, probability_statistics
from neuroiou_study.core.kernels import choice, compiled, eager
from neuroiou_study.core.kernels.choice import KernelName, choose
from tests.core.examples import batch
from tests.core.kernels.against_reference import cases, require_equal

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++: install it")
KERNELS = ["eager", pytest.param("compiled", marks=needs_compiler)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_is_the_reference_on_fresh_inputs(kernel: KernelName) -> None:
    require_equal(kernel, seed=torch.seed() % 2**32)


def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "KERNEL", replace(eager.KERNEL, tile=7))
    require_equal("eager", seed=5, max_pixels=2000)


@pytest.mark.parametrize("reading", get_args(Reading))
def test_the_eager_gradient_is_that_of_finite_differences(reading: Reading) -> None:
    logits, labels = batch(height=3, width=4)

    def sums(z: torch.Tensor) -> torch.Tensor:
        return probability_statistics(z, labels, reading=reading, kernel="eager").sums

    torch.autograd.gradcheck(sums, logits.requires_grad_())


@pytest.mark.parametrize("kernel", KERNELS)
def test_under_autocast_the_gradient_reaches_the_weights(kernel: KernelName) -> None:
    network = torch.nn.Conv2d(3, 5, 1)
    _, labels = batch(classes=5)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(2, 3, 5, 6))
        assert logits.dtype == torch.bfloat16
        probability_statistics(logits, labels, kernel=kernel).sums[..., 2].sum().backward()
    assert network.weight.grad is not None and network.weight.grad.isfinite().all()
    assert network.weight.grad.abs().max() > 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_logits_that_are_not_finite_give_sums_that_are_not_finite(kernel: KernelName) -> None:
    logits, labels = batch(void_fraction=0.0)
    logits[0, 1, 2, 3] = float("nan")
    assert not probability_statistics(logits.float(), labels, kernel=kernel).sums.isfinite().all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("wrong", [4, 5, -1, 2**32 + 1, -(2**40)])
def test_a_label_that_is_neither_void_nor_a_class_is_refused(kernel: KernelName, wrong: int) -> None:
    logits, labels = batch(classes=4)
    labels[1, 2, 3] = wrong
    with pytest.raises(ValueError, match=f"labels: {wrong}: classes are 0 to 3 and 255 is void"):
        probability_statistics(logits.float(), labels, kernel=kernel)


def test_predictions_are_those_of_argmax() -> None:
    for case in cases(seed=3):
        assert torch.equal(predictions(case.logits), case.logits.argmax(dim=1)), case.name


def test_of_equal_logits_the_first_class_is_predicted() -> None:
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, :, 0, 1] = torch.tensor([1.0, 2.0, 2.0])
    assert predictions(logits).tolist() == [[[0, 1]]]


@needs_compiler
def test_large_batches_are_compiled_and_small_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    assert choose(torch.zeros(2, 3, 256, 256)) is compiled.KERNEL
    assert choose(torch.zeros(2, 3, 256, 255)) is eager.KERNEL
    assert choose(torch.zeros(2, 3, 256, 256, dtype=torch.float64)) is eager.KERNEL


def test_without_a_compiler_eager_is_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "works", lambda: False)
    assert choose(torch.zeros(2, 3, 256, 256)) is eager.KERNEL
    with pytest.raises(ValueError, match=r"kernel: compiled: needs a C\+\+ compiler"):
        choose(torch.zeros(2, 3, 4, 4), "compiled")


def test_the_environment_overrules_auto_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "reference")
    assert choose(torch.zeros(2, 3, 4, 4)) is None
    assert choose(torch.zeros(2, 3, 4, 4), "eager") is eager.KERNEL


def test_the_log_says_which_kernel_once(caplog: pytest.LogCaptureFixture) -> None:
    choice._tell.cache_clear()
    with caplog.at_level(logging.INFO):
        choose(torch.zeros(2, 3, 4, 4))
        choose(torch.zeros(2, 3, 4, 4))
    assert caplog.messages == ["IoU statistics on cpu: kernel eager"]


@pytest.mark.parametrize(("name", "message"), [("triton", "runs on cuda, the logits are on cpu"), ("fast", "one of")])
def test_a_kernel_that_cannot_be_is_refused(name: KernelName, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(torch.zeros(2, 3, 4, 4), name)


def test_a_compiled_loss_uses_the_operations_that_the_compiler_knows() -> None:
    logits, labels = batch()
    whole = torch.compile(lambda z: probability_statistics(z, labels).sums, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(logits), probability_statistics(logits, labels).sums)
