"""Looking at growing data: the error rate is spent once, and false alarms stay at the stated level."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.stats import holm
from erlangen.stats.resample import normal_cdf, normal_quantile
from erlangen.stats.sequential import spend, spent


@given(alpha=st.floats(0.001, 0.5), looks=st.integers(1, 8))
def test_all_of_the_error_rate_is_spent_and_no_more(alpha: float, looks: int) -> None:
    parts = [spend(alpha, look, looks) for look in range(1, looks + 1)]
    assert min(parts) > 0 and sum(parts) == pytest.approx(alpha)
    assert spent(alpha, 1.0) == pytest.approx(alpha) and spent(alpha, 0.0) == 0.0


def test_false_alarms_of_four_looks_stay_at_the_level() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 800, generator=generator)  # no effect planted
    alarm, naive = torch.zeros(4000, dtype=torch.bool), torch.zeros(4000, dtype=torch.bool)
    for look in range(1, 5):
        n = 800 >> (4 - look)
        z = x[:, :n].sum(1).abs() / n**0.5
        alarm |= z > normal_quantile(1 - spend(0.05, look, 4) / 2)
        naive |= z > normal_quantile(0.975)
    assert float(alarm.double().mean()) < 0.05 + 0.01
    assert float(naive.double().mean()) > 0.09


def test_holm_keeps_the_family_wise_error_at_the_level_over_200_families() -> None:
    z = torch.randn(200, 30, generator=torch.Generator().manual_seed(1))
    p = [[2 * (1 - normal_cdf(abs(float(v)))) for v in row] for row in z]
    alarms = sum(any(holm(row, alpha=0.05)) for row in p)
    assert alarms <= 20  # 10 expected; 20 is exceeded with probability 1e-3
    assert sum(any(v < 0.05 for v in row) for row in p) > 120


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="look"):
        spend(0.05, 5, 4)
    with pytest.raises(ValueError, match="alpha"):
        spent(1.5, 0.5)
    with pytest.raises(ValueError, match="share"):
        spent(0.05, -0.1)
