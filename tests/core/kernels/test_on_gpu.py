import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.core.kernels.against_reference import require_equal

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton, which is for Linux")


def test_the_gpu_kernel_interpreted_is_the_reference_on_fresh_inputs() -> None:
    seed = torch.seed() % 2**32
    command = [sys.executable, "-m", "tests.core.kernels.interpreted", str(seed)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    assert "triton: very sure, complement" in done.stdout


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_kernel_is_the_reference_on_fresh_inputs() -> None:
    require_equal("triton", seed=torch.seed() % 2**32, device="cuda")
