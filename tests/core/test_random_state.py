import pytest
import torch

from neuroiou_study.core.random_state import random_state, restore_random_state

CPU = torch.device("cpu")


def test_numbers_go_on_from_a_state() -> None:
    torch.manual_seed(3)
    torch.rand(5)
    state = random_state(CPU)
    expected = torch.rand(4)
    torch.manual_seed(4)
    restore_random_state(state, CPU)
    assert torch.equal(torch.rand(4), expected)


def test_a_state_may_be_a_row_that_is_not_aligned_and_have_more_than_is_needed() -> None:
    state = random_state(CPU)
    expected = torch.rand(4)
    for shift in range(1, 65):
        table = torch.cat([torch.zeros(shift, dtype=torch.uint8), state, torch.ones(16, dtype=torch.uint8)])
        restore_random_state(table[shift:], CPU)
        assert torch.equal(torch.rand(4), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_numbers_of_a_gpu_go_on_too() -> None:
    device = torch.device("cuda", 0)
    state = random_state(device)
    expected = torch.rand(4, device=device), torch.rand(4)
    restore_random_state(state, device)
    assert torch.equal(torch.rand(4, device=device), expected[0]) and torch.equal(torch.rand(4), expected[1])
    restore_random_state(random_state(CPU), device)  # of a machine without one
