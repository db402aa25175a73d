"""The state of torch's random numbers, which dropout draws from, as one tensor."""

import torch
from torch import Tensor


def random_state(device: torch.device) -> Tensor:
    """``(N,)`` uint8: where the generators of the CPU and of ``device`` are; equally long in all processes alike."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def restore_random_state(state: Tensor, device: torch.device) -> None:
    """Continue from ``state``; of one that another kind of device left, what this process has a use for."""
    num_bytes = len(torch.get_rng_state())
    # Copies, because torch ends the process (2.13, SIGSEGV) over a part that is not aligned in memory as its own are.
    torch.set_rng_state(state[:num_bytes].clone())
    if device.type == "cuda" and len(state) > num_bytes:
        torch.cuda.set_rng_state(state[num_bytes:].clone(), device)
