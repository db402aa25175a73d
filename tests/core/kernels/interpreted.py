"""Run as a script with TRITON_INTERPRET=1: the GPU kernel, interpreted on the CPU, against the reference."""

import sys

import torch

from neuroiou_study.core.counts import probability_statistics
from neuroiou_study.core.kernels import choice
from tests.core.examples import batch
from tests.core.kernels.against_reference import require_equal


def require_void_for_what_is_no_class(seed: int) -> None:
    """Raise AssertionError unless a label that is neither void nor a class is as void."""
    logits, labels = batch(classes=4, seed=seed)
    void, wrong = labels.clone(), labels.clone()
    for column, label in enumerate((4, 200, -1, -(2**40))):
        void[1, 2, column], wrong[1, 2, column] = 255, label
    found = probability_statistics(logits.float().requires_grad_(), wrong, kernel="triton")
    expected = probability_statistics(logits, void, kernel="reference")
    assert torch.equal(found.counts, expected.counts)
    torch.testing.assert_close(found.sums, expected.sums, atol=1e-5, rtol=1e-5)
    found.sums.sum().backward()


# It is refused on the CPU, where nobody would want it but to check it.
setattr(choice, "_require_runs", lambda *_: None)  # noqa: B010  mypy would not have it otherwise
require_equal("triton", seed=int(sys.argv[1]), max_pixels=5000)
require_void_for_what_is_no_class(int(sys.argv[1]))
