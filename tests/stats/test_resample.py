"""Intervals cover, exact intervals agree with SciPy, corrections reject what Holm's paper says."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.stats import bootstrap_bca, clopper_pearson, holm, paired_difference, permutation_null, subsample_ci


@settings(max_examples=25, deadline=None)
@given(trials=st.integers(1, 300), share=st.floats(0, 1), level=st.sampled_from([0.9, 0.95, 0.99]))
def test_clopper_pearson_is_scipys_exact_interval(trials: int, share: float, level: float) -> None:
    successes = round(share * trials)
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    assert clopper_pearson(successes, trials, level=level) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_bca_agrees_with_scipy_on_skewed_data() -> None:
    x = torch.distributions.Exponential(torch.tensor(1.0)).sample((80,)).double()
    ours = bootstrap_bca(x, resamples=20_000, generator=torch.Generator().manual_seed(1))
    theirs = scipy.stats.bootstrap((x.numpy(),), lambda a, axis: a.mean(axis), n_resamples=20_000, method="BCa")
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.03 * float(x.std()))


def test_bca_covers_the_mean_of_a_skewed_distribution() -> None:
    hits = 0
    for seed in range(150):
        generator = torch.Generator().manual_seed(seed)
        x = -torch.rand(60, generator=generator, dtype=torch.float64).log()
        low, high = bootstrap_bca(x, resamples=400, generator=generator)
        hits += low <= 1 <= high
    assert hits >= 132  # 95 % nominal; 88 % is four standard errors below


def test_bca_takes_any_statistic_and_says_nan_for_nan() -> None:
    x = torch.randn(60, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    low, high = bootstrap_bca(x, lambda rows: rows[:, 0].mean() / 2 + 1, resamples=300, generator=generator)
    assert low < float(x[:, 0].mean()) / 2 + 1 < high
    assert all(map(math.isnan, bootstrap_bca(torch.full((5,), torch.nan), resamples=50)))
    assert bootstrap_bca(torch.ones(5), resamples=50) == (1.0, 1.0)
    with pytest.raises(ValueError, match="samples"):
        bootstrap_bca(torch.ones(1))


def test_subsampling_has_the_standard_error_of_a_mean() -> None:
    x = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    low, high = subsample_ci(lambda rows: float(x[rows].mean()), 400, resamples=400, generator=generator)
    assert (high - low) / 2 == pytest.approx(1.96 * float(x.std()) / 20, rel=0.15)


def test_holm_is_the_published_example_and_never_rejects_nan() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([]) == []
    assert holm([math.nan]) == [False]


def test_paired_differences_see_what_unpaired_ones_cannot() -> None:
    generator = torch.Generator().manual_seed(0)
    hard = 10 * torch.randn(100, generator=generator)
    new = hard + 0.1 + 0.01 * torch.randn(100, generator=generator)
    difference, low, high = paired_difference(new, hard, generator=generator)
    assert 0 < low < difference < high < 0.2
    with pytest.raises(ValueError, match="shapes"):
        paired_difference(new, hard[:-1])


def test_the_permutation_null_is_centred_where_theory_says() -> None:
    x, y = torch.randn(30), torch.randn(30)
    null = permutation_null(
        lambda p: float(torch.corrcoef(torch.stack([x, y[p]]))[0, 1]),
        30,
        resamples=400,
        generator=torch.Generator().manual_seed(0),
    )
    assert abs(float(null.mean())) < 4 / math.sqrt(400 * 29)
    assert float(null.std()) == pytest.approx(1 / math.sqrt(29), rel=0.2)


def test_a_function_of_means_has_the_same_interval_without_a_loop() -> None:
    rows = torch.rand(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    loop = bootstrap_bca(
        rows, lambda p: p[:, 0].mean() / p[:, 1].mean(), generator=torch.Generator().manual_seed(1), resamples=300
    )
    closed = bootstrap_bca(
        rows, of_means=lambda m: m[..., 0] / m[..., 1], generator=torch.Generator().manual_seed(1), resamples=300
    )
    assert closed == pytest.approx(loop, rel=1e-6)
