"""Reverse KL and effective sample size against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.objectives.density_matching import effective_sample_size, reverse_kl


def _normal(x, mean, std):
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))


def test_two_gaussians():
    """KL(N(0,1) ‖ N(m,1)) = m²/2, and the effective sample size tends to exp(-m²)."""
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, p = _normal(x, 0.0, 1.0), _normal(x, 0.5, 1.0)
    assert math.isclose(float(reverse_kl(q, p)), 0.125, abs_tol=0.005)
    assert math.isclose(float(effective_sample_size(q, p)), math.exp(-0.25), abs_tol=0.01)


@given(st.integers(1, 50), st.floats(-30, 30))
def test_range_and_scale(count, shift):
    generator = torch.Generator().manual_seed(count)
    q, p = torch.randn(2, count, generator=generator, dtype=torch.float64)
    size = float(effective_sample_size(q, p))
    assert 1 / count - 1e-9 <= size <= 1 + 1e-9
    assert math.isclose(size, float(effective_sample_size(q, p + shift)), rel_tol=1e-9)
    assert math.isclose(float(effective_sample_size(q, q + shift)), 1.0, rel_tol=1e-9)


def test_bad_input():
    with pytest.raises((ValueError, TypeError), match="log_target"):
        reverse_kl(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="sample"):
        effective_sample_size(torch.zeros(0), torch.zeros(0))
