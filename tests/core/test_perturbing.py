import torch

from neuroiou_study.core.perturbing import perturbed

LOGITS = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
SEEDS = [(0, 0, 7), (0, 0, 8), (1, 2, 3)]


def test_each_class_of_an_image_is_shifted_as_a_whole() -> None:
    shifts = perturbed(LOGITS, 2.0, SEEDS) - LOGITS
    torch.testing.assert_close(shifts, shifts[:, :, :1, :1].expand(shifts.shape))
    assert len(shifts[:, :, 0, 0].unique()) == 12


def test_no_spread_leaves_the_logits_and_twice_the_spread_shifts_twice_as_far() -> None:
    assert torch.equal(perturbed(LOGITS, 0.0, SEEDS), LOGITS)
    one, two = (perturbed(LOGITS.double(), spread, SEEDS) - LOGITS for spread in (1.0, 2.0))
    torch.testing.assert_close(two, 2 * one)


def test_the_spread_is_the_standard_deviation() -> None:
    shifts = perturbed(torch.zeros(1000, 4, 1, 1), 2.0, [(0, 0, index) for index in range(1000)])
    assert abs(float(shifts.mean())) < 0.1 and abs(float(shifts.std()) - 2) < 0.1
    neighbours = torch.corrcoef(torch.stack([shifts[:-1].flatten(), shifts[1:].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 0.1


def test_an_image_depends_on_its_own_seed_alone() -> None:
    whole = perturbed(LOGITS, 2.0, SEEDS)
    torch.manual_seed(5)
    apart = [perturbed(LOGITS[i : i + 1], 2.0, [SEEDS[i]]) for i in (2, 0, 1)]
    assert torch.equal(torch.cat([apart[1], apart[2], apart[0]]), whole)


def test_seeds_differ_in_every_part_and_in_their_order() -> None:
    seeds = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0), (0, 0, 2)]
    shifts = perturbed(torch.zeros(5, 2, 1, 1), 1.0, seeds)
    assert len(shifts.flatten().unique()) == 10


def test_precision_stays_and_other_random_numbers_are_not_touched() -> None:
    state = torch.random.get_rng_state()
    for dtype in (torch.float32, torch.float64):
        assert perturbed(LOGITS.to(dtype), 1.0, SEEDS).dtype == dtype
    assert torch.equal(torch.random.get_rng_state(), state)
