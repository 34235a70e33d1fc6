"""Ranks of representations whose rank is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.stats import (
    alignment,
    effective_rank,
    participation_ratio,
    rankme,
    uniform_sphere_uniformity,
    uniformity,
)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(10, 60), d=st.integers(1, 10), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_rankme_of_orthonormal_columns_is_their_number(n: int, d: int, scale: float, seed: int) -> None:
    x = torch.linalg.qr(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q
    assert float(rankme(scale * x)) == pytest.approx(d, rel=1e-4)
    assert float(rankme(torch.cat([x, x, x], 1))) == pytest.approx(d, rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_duplicated_features_do_not_raise_any_rank(seed: int) -> None:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for rank in (effective_rank, participation_ratio):
        assert float(rank(torch.cat([x, x], 1))) == pytest.approx(float(rank(x)), rel=1e-9)
        assert 1 <= float(rank(x)) <= 4


def test_a_line_has_one_dimension_and_a_point_none() -> None:
    line = torch.linspace(0, 1, 20).unsqueeze(1) * torch.randn(1, 6)
    assert float(participation_ratio(line)) == pytest.approx(1, abs=1e-9)
    assert math.isnan(float(participation_ratio(torch.zeros(20, 6))))
    assert math.isnan(float(rankme(torch.zeros(20, 6))))
    assert math.isnan(float(rankme(torch.full((20, 6), torch.nan))))


@pytest.mark.parametrize("dim", [2, 3, 16, 128, 1000])
def test_uniform_points_reach_the_closed_form(dim: int) -> None:
    x = torch.randn(3000, dim, generator=torch.Generator().manual_seed(0))
    assert float(uniformity(x)) == pytest.approx(uniform_sphere_uniformity(dim), abs=0.03)


def test_the_closed_form_on_the_sphere_is_elementary() -> None:
    # in three dimensions the cosine is uniform on [-1, 1], so E exp(4(u - 1)) = (1 - exp(-8)) / 8
    assert uniform_sphere_uniformity(3) == pytest.approx(math.log((1 - math.exp(-8)) / 8), abs=1e-12)
    # the asymptotic branch continues the Bessel one
    assert uniform_sphere_uniformity(5000) == pytest.approx(-4, abs=0.01)


def test_alignment_is_zero_for_copies_and_two_for_strangers() -> None:
    x, y = torch.randn(4000, 32), torch.randn(4000, 32)
    assert float(alignment(x, 5 * x).max()) < 1e-10
    assert float(alignment(x, y).mean()) == pytest.approx(2, abs=0.05)
