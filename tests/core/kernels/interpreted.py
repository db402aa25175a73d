"""Run as a script with TRITON_INTERPRET=1: the GPU kernel, interpreted on the CPU, against the reference."""

import sys

from neuroiou_study.core.kernels import choice
from tests.core.kernels.against_reference import require_equal

# It is refused on the CPU, where nobody would want it but to check it.
setattr(choice, "_require_runs", lambda *_: None)  # noqa: B010  mypy would not have it otherwise
require_equal("triton", seed=int(sys.argv[1]), max_pixels=5000)
