"""Merging shards equals one pass; the sums agree with torch.cov; a large mean costs no precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.stats import (
    ClassMoments,
    CrossMoments,
    Gram,
    Moments,
    PairwiseGram,
    Reservoir,
    StreamedNeighbors,
    count_sketch,
    knn,
)


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


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 40), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_merging_shards_is_one_pass(seed: int, cut: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(40, 5, generator=generator).to(dtype), torch.randn(40, 3, generator=generator).to(dtype)
    label = torch.randint(4, (40,), generator=generator)
    exact = {"rtol": 1e-10, "atol": 1e-10}

    one = CrossMoments(5, 3).update(x, y)
    two = CrossMoments(5, 3).update(x[:cut], y[:cut]).merge(CrossMoments(5, 3).update(x[cut:], y[cut:]))
    torch.testing.assert_close(two.covariance(), one.covariance(), **exact)

    whole = ClassMoments(4, 5).update(x, label)
    few = ClassMoments(1, 5).grow(4).update(x[:cut], label[:cut]).merge(ClassMoments(4, 5).update(x[cut:], label[cut:]))
    torch.testing.assert_close(few.means, whole.means, **exact)
    torch.testing.assert_close(few.within_scatter, whole.within_scatter, **exact)

    halves = Gram(5).update(x[:cut]).merge(Gram(5).update(x[cut:]))
    torch.testing.assert_close(halves.sum, x.double().T @ x.double(), **exact)
    assert halves.count == 40 and halves.nbytes == 200

    pieces = PairwiseGram(40).update(x[:, :2]).merge(PairwiseGram(40).update(x[:, 2:]))
    torch.testing.assert_close(pieces.gram, x.double() @ x.double().T, **exact)
    torch.testing.assert_close(pieces.distances().sqrt(), torch.cdist(x.double(), x.double()), rtol=1e-6, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 50), k=st.integers(1, 6), size=st.integers(1, 20))
def test_streamed_neighbours_are_those_of_the_whole_bank(seed: int, cut: int, k: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    bank, index = torch.randn(50, 4, generator=generator, dtype=torch.float64), torch.randperm(50, generator=generator)
    own = torch.arange(8)
    query = bank[index.argsort()][:8]
    parts = [StreamedNeighbors(query, k, own=own), StreamedNeighbors(query, k, own=own)]
    for part, rows in zip(parts, (slice(0, cut), slice(cut, 50)), strict=True):
        for x, places in zip(bank[rows].split(size), index[rows].split(size), strict=True):
            part.update(x, places)
    score, place = parts[1].merge(parts[0]).compute()
    wanted, rows = knn(query, bank[index.argsort()], k, metric="euclidean", exclude=own)
    torch.testing.assert_close(score, wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(place, rows)


def test_classes_that_come_later_make_room() -> None:
    x = torch.randn(6, 2)
    early, late = ClassMoments(1, 2).update(x[:2], torch.tensor([0, 0])), ClassMoments(3, 2)
    merged = early.merge(late.update(x[2:], torch.tensor([0, 1, 2, 2])))
    assert merged.counts.tolist() == [3, 1, 2]
    torch.testing.assert_close(merged.means[2], x[4:].double().mean(0))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_sketch_keeps_inner_products_on_average_and_narrow_rows_as_they_are(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 300, generator=generator, dtype=torch.float64)
    assert count_sketch(x, 300) is x
    products = torch.stack([count_sketch(x, 64, seed=s).prod(0).sum() for s in range(400)])
    error = (products.mean() - x.prod(0).sum()).abs()
    assert error < 4 * products.std() / 20
    bound = 2 * x[0].square().sum() * x[1].square().sum() / 64
    assert products.var() < 1.5 * bound
    assert torch.equal(count_sketch(x, 64), torch.cat([count_sketch(x[:1], 64), count_sketch(x[1:], 64)]))
