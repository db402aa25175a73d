import math
from itertools import permutations

import pytest
import torch

from neuroiou_study.core.rank_correlation import rank_correlation

ORDER = torch.tensor([0.1, 0.2, 0.4, 0.8, 1.6])


def test_only_the_order_counts() -> None:
    assert rank_correlation(ORDER, ORDER.log()).rho == pytest.approx(1)
    assert rank_correlation(ORDER, -(ORDER**3)).rho == pytest.approx(-1)


def test_the_correlation_is_that_of_spearman_s_formula() -> None:
    # Ranks 1 2 3 4 5 and 2 1 4 3 5: 1 - 6 Σd² / n(n² - 1) = 1 - 24 / 120.
    assert rank_correlation(ORDER, torch.tensor([2.0, 1, 4, 3, 5])).rho == pytest.approx(0.8)


def test_ties_share_their_mean_rank() -> None:
    # Ranks 1.5 1.5 3 and 1 2 3: covariance 1.5, sizes √1.5 and √2.
    found = rank_correlation(torch.tensor([1.0, 1, 2]), torch.tensor([1.0, 2, 3]))
    assert found.rho == pytest.approx(1.5 / math.sqrt(1.5 * 2))


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_a_perfect_order_is_as_rare_as_chance_makes_it(number: int) -> None:
    # Of n! orders one is perfect and one is perfectly wrong.
    assert rank_correlation(ORDER[:number], ORDER[:number]).p == pytest.approx(2 / math.factorial(number))


def test_many_values_are_tested_as_well_as_few() -> None:
    """The p-values of independent values are even over [0, 1]: a tenth of them is below .1."""
    generator = torch.Generator().manual_seed(0)
    found = [rank_correlation(*torch.rand(2, 12, generator=generator)).p for _ in range(300)]
    assert sum(p < 0.1 for p in found) / 300 == pytest.approx(0.1, abs=0.05)
    assert sum(p < 0.5 for p in found) / 300 == pytest.approx(0.5, abs=0.08)
    long = torch.arange(20.0)
    assert 0 < rank_correlation(long, long).p < 1e-4


def test_all_orders_and_random_orders_agree() -> None:
    values = torch.tensor([3.0, 1, 2, 5, 4, 6, 7])
    exact = rank_correlation(values, torch.arange(7.0))
    ranks = [torch.tensor(order) for order in permutations(range(7))]
    far = [abs(float(((order - 3.0) * (values - 4)).sum())) >= abs(exact.rho) * 28 - 1e-6 for order in ranks]
    assert exact.p == pytest.approx(sum(far) / len(far))


def test_one_value_has_no_order() -> None:
    found = rank_correlation(torch.ones(6), torch.arange(6.0))
    assert math.isnan(found.rho) and math.isnan(found.p)


def test_values_must_come_in_pairs() -> None:
    with pytest.raises(ValueError, match=r"shapes \(3,\), \(4,\): must be \(N,\) both: pass pairs"):
        rank_correlation(torch.zeros(3), torch.zeros(4))
