"""A monotone fit and where it reaches a level."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from erlangen.stats import crossing, isotonic


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 25), st.integers(0, 999))
def test_the_fit_is_that_of_scikit_learn(points: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(3, points, generator=generator, dtype=torch.float64)
    weights = torch.rand(3, points, generator=generator, dtype=torch.float64) + 0.1
    fitted = isotonic(y, weights)
    for row in range(3):
        peer = IsotonicRegression().fit_transform(range(points), y[row].numpy(), sample_weight=weights[row].numpy())
        torch.testing.assert_close(fitted[row], torch.as_tensor(peer), rtol=1e-9, atol=1e-9)


def test_where_it_crosses() -> None:
    x = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    y = torch.tensor([[0.0, 0.5, 0.5, 1.0], [0.9, 0.9, 1.0, 1.0], [0.0, 0.1, 0.2, 0.3], [0.0, 0.0, 1.0, 1.0]])
    found = crossing(x, y, 0.75)
    torch.testing.assert_close(found, torch.tensor([10**2.5, 1.0, torch.inf, 10**1.75]))
    assert float(crossing(x, y[0], 0.5)) == pytest.approx(10.0)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        isotonic(torch.zeros(0))
    with pytest.raises(ValueError, match="weights"):
        isotonic(torch.zeros(2), torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="x:"):
        crossing(torch.tensor([0.0, 1.0]), torch.zeros(2), 0.5)
    with pytest.raises(ValueError, match="x:"):
        crossing(torch.tensor([2.0, 1.0]), torch.zeros(2), 0.5)
