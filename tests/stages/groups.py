"""A torch.distributed group of test processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed


@contextmanager
def member(index: int, folder: Path) -> Iterator[None]:
    """Makes this process a member of a gloo group of two that meets in ``folder``; it ends well with the block."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'group'}", rank=index, world_size=2)
    yield
    distributed.destroy_process_group()
    # Where DDP was used, gloo's threads outlive the group; one that drops a tensor while Python ends aborts it.
    os._exit(0)
