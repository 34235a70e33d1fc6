"""Merging shards equals one pass; the sums agree with torch.cov; a large mean costs no precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.stats import ClassMoments, CrossMoments, Moments, Reservoir


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 40), shift=st.sampled_from([0.0, 1e6]))
def test_moments_of_shards_are_those_of_the_whole(seed: int, cut: int, shift: float) -> None:
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    merged = Moments(5).update(x[:cut]).merge(Moments(5).update(x[cut:]))
    assert merged.count == 40
    torch.testing.assert_close(merged.mean, x.mean(0))
    torch.testing.assert_close(merged.covariance(), torch.cov(x.T), rtol=1e-6, atol=1e-8)
    assert merged.nbytes >= 8 * 25


def test_cross_moments_match_the_covariance_block() -> None:
    x, y = torch.randn(30, 3), torch.randn(30, 4)
    streamed = CrossMoments(3, 4)
    for xs, ys in zip(x.split(7), y.split(7), strict=True):
        streamed.update(xs, ys)
    joint = torch.cov(torch.cat([x, y], 1).T.double())
    torch.testing.assert_close(streamed.covariance(), joint[:3, 3:])
    assert torch.isnan(CrossMoments(3, 4).update(x[:1], y[:1]).covariance()).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 50))
def test_class_scatter_adds_up_to_the_total(seed: int, cut: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, label = torch.randn(50, 4, generator=generator), torch.randint(3, (50,), generator=generator)
    moments = ClassMoments(3, 4).update(x[:cut], label[:cut]).merge(ClassMoments(3, 4).update(x[cut:], label[cut:]))
    total = torch.cov(x.T.double(), correction=0)
    torch.testing.assert_close(moments.between_covariance() + moments.within_covariance(), total)


def test_wrong_shapes_and_labels_are_named() -> None:
    with pytest.raises(ValueError, match="label: -1"):
        ClassMoments(3, 2).update(torch.zeros(2, 2), torch.tensor([0, -1]))
    with pytest.raises(ValueError, match="capacity"):
        Reservoir(0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 20), capacity=st.integers(1, 60))
def test_the_sample_does_not_depend_on_batches_or_shards(seed: int, size: int, capacity: int) -> None:
    index = torch.arange(50)
    whole = Reservoir(capacity, seed=seed).update(index, x=index * 2).compute()
    left, right = Reservoir(capacity, seed=seed), Reservoir(capacity, seed=seed)
    for n, part in enumerate(index.split(size)):
        (left if n % 2 else right).update(part, x=part * 2)
    merged = left.merge(right)
    assert merged.seen == 50
    torch.testing.assert_close(merged.compute()["x"], whole["x"])
    torch.testing.assert_close(whole["x"], whole["index"] * 2)
    assert len(whole["x"]) == min(50, capacity)


def test_every_row_is_sampled_equally_often() -> None:
    index = torch.arange(20)
    counts = torch.zeros(20)
    for seed in range(2000):
        counts[Reservoir(5, seed=seed).update(index).compute()["index"]] += 1
    chi_square = float(((counts - 500) ** 2 / 500).sum())
    assert chi_square < 50  # 19 degrees of freedom: exceeded with probability 1e-4
