"""The law of weighted sums of chi-squares, beside closed forms, SciPy and two kinds of sampling."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from erlangen.stats import quadratic_form_logcdf

T = torch.Tensor


def form(terms: int, seed: int) -> tuple[T, T]:
    generator = torch.Generator().manual_seed(seed)
    lam = torch.rand(terms, generator=generator, dtype=torch.float64).pow(3) + 1e-4
    return lam, 3 * torch.rand(terms, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("df", [1, 2, 5, 60])
@pytest.mark.parametrize("nc", [0.0, 0.7, 20.0])
def test_equal_weights_are_scipys_noncentral_chi_square(df: int, nc: float) -> None:
    law = stats.ncx2(df, nc) if nc else stats.chi2(df)
    q = torch.as_tensor(law.ppf([1e-9, 1e-4, 0.01, 0.3, 0.5, 0.8, 0.99, 1 - 1e-9]))
    twos = torch.full((df,), 2.0, dtype=torch.float64)
    found = quadratic_form_logcdf(twos, torch.full((df,), nc / df, dtype=torch.float64), 2 * q)
    torch.testing.assert_close(found, torch.as_tensor(law.logcdf(q.numpy())), rtol=2e-8, atol=1e-13)
    once = quadratic_form_logcdf(twos[:1], torch.tensor([nc], dtype=torch.float64), 2 * q, df=torch.tensor([float(df)]))
    torch.testing.assert_close(once, found, rtol=1e-9, atol=1e-13)
    rough = quadratic_form_logcdf(twos, torch.full((df,), nc / df, dtype=torch.float64), 2 * q, method="saddlepoint")
    assert float((rough - found).abs().max()) < (0.2 if df == 1 else 0.08)


def test_thousands_of_bits_deep_it_is_the_incomplete_gamma_function() -> None:
    # log P(chi2_400 <= q) = log P(200, q/2); its series sum_k x^k / (a+1)..(a+k) has positive terms only
    a, q = 200.0, torch.tensor([1e-3, 0.1, 5.0, 40.0], dtype=torch.float64)
    x = q / 2
    series = 1 + sum(
        torch.exp(k * x.log() - special.gammaln(a + 1 + k) + special.gammaln(a + 1)) for k in range(1, 300)
    )
    exact = a * x.log() - x - special.gammaln(a + 1) + series.log()
    found = quadratic_form_logcdf(torch.ones(400), torch.zeros(400), q)
    assert float(found[0]) / math.log(2) < -2000
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-10)


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 40), st.integers(0, 999))
def test_it_grows_and_its_derivative_is_a_density_with_the_right_mean(terms: int, seed: int) -> None:
    lam, nc = form(terms, seed)
    mean, spread = float((lam * (1 + nc)).sum()), float((2 * lam**2 * (1 + 2 * nc)).sum().sqrt())
    q = torch.linspace(1e-6, 1.0, 120, dtype=torch.float64) * (mean + 14 * spread)
    found = quadratic_form_logcdf(lam, nc, q)
    assert bool((found.diff() >= -1e-9).all()) and float(found.max()) <= 0 and float(found[-1]) > -1e-2
    above = float(torch.trapezoid(1 - found.exp(), q))  # E Q = integral of P(Q > q)
    assert above == pytest.approx(mean, rel=0.02)


def test_it_agrees_with_counting_where_counting_can_see() -> None:
    lam, nc = form(30, 1)
    draws = np.random.default_rng(0).standard_normal((500_000, 30))
    total = (lam.numpy() * (draws + nc.sqrt().numpy()) ** 2).sum(1)
    for share in (0.01, 0.05, 0.5, 0.9):
        q = float(np.quantile(total, share))
        bits = -float(quadratic_form_logcdf(lam, nc, q)) / math.log(2)
        assert bits == pytest.approx(-math.log2(share), abs=0.05)


def test_hundreds_of_bits_deep_it_agrees_with_tilted_sampling() -> None:
    lam, nc = form(300, 2)
    for share in (0.5, 0.2, 0.05):
        q = share * float((lam * (1 + nc)).sum())
        exact = float(quadratic_form_logcdf(lam, nc, q))
        generator = torch.Generator().manual_seed(0)
        drawn = float(quadratic_form_logcdf(lam, nc, q, method="tilted", samples=20_000, generator=generator))
        rough = float(quadratic_form_logcdf(lam, nc, q, method="saddlepoint"))
        assert drawn == pytest.approx(exact, abs=0.08) and rough == pytest.approx(exact, abs=0.02)
    assert exact < -200 * math.log(2)


def test_the_ends_and_the_shape() -> None:
    lam, nc = form(5, 0)
    found = quadratic_form_logcdf(lam, nc, torch.tensor([[-1.0, 0.0], [torch.inf, 1e9]]))
    assert found.shape == (2, 2) and found[0].tolist() == [-math.inf, -math.inf] and found[1].tolist() == [0.0, 0.0]
    padded = quadratic_form_logcdf(torch.cat([lam, lam.new_zeros(3)]), torch.cat([nc, nc.new_ones(3)]), 0.4)
    torch.testing.assert_close(padded, quadratic_form_logcdf(lam, nc, 0.4))


@pytest.mark.parametrize(
    ("lam", "nc", "q", "word"),
    [
        ([-1.0], [0.0], 1.0, "lam"),
        ([1.0], [-1.0], 1.0, "nc"),
        ([0.0], [0.0], 1.0, "no positive"),
        ([1.0, 2.0], [0.0], 1.0, "nc"),
        ([math.nan], [0.0], 1.0, "lam"),
        ([1.0], [0.0], math.nan, "q"),
    ],
)
def test_bad_input(lam: list[float], nc: list[float], q: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        quadratic_form_logcdf(torch.tensor(lam), torch.tensor(nc), q)
