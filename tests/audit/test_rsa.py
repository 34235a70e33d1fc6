"""Dissimilarities, their transforms and their comparison: what must not change them, and what outside sources say."""

import math

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.spatial.distance import pdist
from torch import Tensor

from erlangen.audit import rsa
from erlangen.audit.rsa import comparison
from erlangen.stats import rank_correlation as ranks
from erlangen.stats.rdm_bootstrap import bootstrap_rdm, pair_weights

SEED = st.integers(0, 10_000)
DTYPE = st.sampled_from([torch.float64, torch.float32])
RANKED = ("cosine", "pearson", "spearman", "rho_a", "tau_a")


def patterns(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def tolerance(dtype: torch.dtype) -> dict[str, float]:
    return {"atol": 1e-10, "rtol": 1e-8} if dtype == torch.float64 else {"atol": 2e-4, "rtol": 1e-3}


@given(seed=SEED, dtype=DTYPE)
@settings(max_examples=10)
def test_what_a_dissimilarity_does_not_see(seed: int, dtype: torch.dtype) -> None:
    x = patterns(seed, 2, 9, 6, dtype=dtype)
    turn = torch.linalg.qr(patterns(seed + 1, 6, 6))[0].to(dtype)
    torch.testing.assert_close(rsa.rdm(x @ turn, "euclidean"), rsa.rdm(x, "euclidean"), **tolerance(dtype))
    scale, shift = patterns(seed + 2, 2, 9, 1, dtype=dtype).abs() + 0.2, patterns(seed + 3, 2, 9, 1, dtype=dtype)
    torch.testing.assert_close(rsa.rdm(scale * x + shift), rsa.rdm(x), **tolerance(dtype))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    for metric in ("correlation", "euclidean", "cosine", "mahalanobis"):
        whole = rsa.rdm(x, metric)
        torch.testing.assert_close(rsa.rdm(x[:, order], metric), whole[:, order][:, :, order], **tolerance(dtype))
        assert bool((whole == whole.mT).all()) and bool((whole.diagonal(dim1=1, dim2=2) == 0).all())


def test_dissimilarities_are_those_of_scipy() -> None:
    x = patterns(0, 11, 7)
    for metric, name in (("correlation", "correlation"), ("cosine", "cosine")):
        np.testing.assert_allclose(rsa.upper_triangle(rsa.rdm(x, metric)), pdist(x.numpy(), name), atol=1e-12)
    np.testing.assert_allclose(
        rsa.upper_triangle(rsa.rdm(x, "euclidean")), pdist(x.numpy(), "sqeuclidean") / 7, atol=1e-12
    )
    noise = torch.cov(patterns(1, 7, 40))
    expected = pdist(x.numpy(), "mahalanobis", VI=np.linalg.inv(noise.numpy())) ** 2 / 7
    np.testing.assert_allclose(rsa.upper_triangle(rsa.rdm(x, "mahalanobis", noise_cov=noise)), expected, rtol=1e-9)


def test_crossnobis_is_its_definition_and_zero_on_average_for_equal_patterns() -> None:
    x = patterns(3, 3, 5, 4)
    noise = torch.cov(patterns(4, 4, 30))
    found = rsa.rdm(x, "crossnobis", noise_cov=noise)
    inverse = torch.linalg.inv(noise)
    total = sum(
        float((x[a, 1] - x[a, 3]) @ inverse @ (x[b, 1] - x[b, 3])) for a in range(3) for b in range(3) if a != b
    )
    assert float(found[1, 3]) == pytest.approx(total / 6 / 4, rel=1e-9)
    null = rsa.upper_triangle(rsa.rdm(patterns(5, 2000, 2, 4, 6), "crossnobis"))
    assert abs(float(null.mean())) < 4 * float(null.mean(1).std()) / math.sqrt(2000)
    biased = rsa.upper_triangle(rsa.rdm(patterns(5, 2000, 4, 6), "euclidean"))
    assert float(biased.mean()) > 1


def test_streamed_blocks_of_features_give_the_whole_matrix_in_any_split() -> None:
    x = patterns(0, 8, 50) + 3
    for metric in ("correlation", "cosine", "euclidean"):
        one, two = rsa.StreamedRDM(8, metric).update(x[:, :13]), rsa.StreamedRDM(8, metric)
        two.update(x[:, 13:30]).update(x[:, 30:])
        torch.testing.assert_close(two.merge(one).compute(), rsa.rdm(x, metric), atol=1e-10, rtol=1e-10)
    assert one.nbytes == 8 * (64 + 8)


def test_bad_patterns_are_named() -> None:
    x = patterns(0, 6, 5)
    with pytest.raises(ValueError, match="stimulus 2 is constant"):
        rsa.rdm(x.index_fill(0, torch.tensor(2), 0.3))
    with pytest.raises(ValueError, match="3 stimuli are too few"):
        rsa.rdm(x[:3])
    with pytest.raises(ValueError, match="subset of at most 5"):
        rsa.rdm(x, limit=5)
    with pytest.raises(ValueError, match="2 folds"):
        rsa.rdm(x, "crossnobis")
    with pytest.raises(ValueError, match="positive definite"):
        rsa.rdm(x, "mahalanobis", noise_cov=-torch.eye(5, dtype=torch.float64))
    with pytest.raises(ValueError, match="did you mean 'euclidean'"):
        rsa.rdm(x, "euclidian")  # type: ignore[arg-type]
    assert bool(rsa.rdm(x.index_fill(0, torch.tensor(2), torch.nan))[2, :2].isnan().all())


@given(seed=SEED, dtype=DTYPE, low=st.floats(0, 0.5), width=st.floats(0, 0.5))
@settings(max_examples=15)
def test_the_geo_topological_transform(seed: int, dtype: torch.dtype, low: float, width: float) -> None:
    d = rsa.rdm(patterns(seed, 2, 10, 8, dtype=dtype))
    kept = d.clone()
    found = rsa.geo_topological(d, low, low + width)
    assert torch.equal(d, kept)
    off = rsa.upper_triangle(found)
    assert float(off.min()) >= 0 and float(off.max()) <= 1
    torch.testing.assert_close(rsa.geo_topological((3 * d).exp(), low, low + width), found)  # any increasing function
    torch.testing.assert_close(rsa.geo_topological(d[1], low, low + width), found[1])  # each matrix by itself
    binary = rsa.geo_topological(d, low, low)
    torch.testing.assert_close(rsa.geo_topological(binary, low, low), binary)
    assert set(rsa.upper_triangle(binary).unique().tolist()) <= {0.0, 1.0}
    middle = rsa.upper_triangle(rsa.geo_topological(d, 0.5, 0.5))
    assert (middle == 0).sum(1).tolist() == [23, 23]  # of 45 pairs, the one at the threshold is near
    whole = rsa.upper_triangle(rsa.geo_topological(d, 0.0, 1.0, rank_first=False))
    value = rsa.upper_triangle(d)
    least, most = value.amin(1, keepdim=True), value.amax(1, keepdim=True)
    torch.testing.assert_close(whole, (value - least) / (most - least), **tolerance(dtype))


def test_ranks_first_is_another_transform_than_thresholds_of_the_values() -> None:
    d = rsa.rdm(patterns(0, 12, 8)) ** 3
    raw, ranked = rsa.geo_topological(d, rank_first=False), rsa.geo_topological(d)
    assert float((raw - ranked).abs().max()) > 0.1
    value = rsa.upper_triangle(d).numpy()
    low, up = np.quantile(value, [0.2, 0.8])
    np.testing.assert_allclose(rsa.upper_triangle(raw), np.clip((value - low) / (up - low), 0, 1), atol=1e-12)


def test_missing_pairs_stay_missing_and_poison_nothing() -> None:
    d = rsa.rdm(patterns(0, 10, 8))
    d[2, 5] = d[5, 2] = torch.nan
    found = rsa.geo_topological(d)
    assert int(found.isnan().sum()) == 2 and bool(found[2, 5].isnan())
    pairs = rsa.upper_triangle(d)
    alone = scipy_stats.rankdata(pairs[~pairs.isnan()])
    alone = np.clip(((alone - 1) / (len(alone) - 1) - 0.2) / 0.6, 0, 1)
    there = rsa.upper_triangle(found)
    np.testing.assert_allclose(there[~there.isnan()], alone, atol=1e-12)
    path = rsa.geodesic(d, "neighbors", neighbors=4)
    assert int(path.isnan().sum()) == 2
    assert math.isfinite(float(rsa.compare_rdms(d, found, "spearman")))
    sigmoid = rsa.sigmoid_topological(d)
    assert int(sigmoid.isnan().sum()) == 2


@given(seed=SEED)
@settings(max_examples=10)
def test_geodesics_are_shortest_paths(seed: int) -> None:
    d = rsa.rdm(patterns(seed, 2, 9, 4), "euclidean").sqrt()
    torch.testing.assert_close(rsa.geodesic(d, p=1.0), d)  # all edges of a metric
    for mode in ("quantile", "neighbors", "fraction", "geo_topological"):
        path = rsa.geodesic(d, mode, p=0.4, neighbors=2, on_disconnected="inf")
        detour = (path[:, :, :, None] + path[:, None, :, :]).amin(2)
        assert bool((path <= detour + 1e-12).all())
    graph = networkx.Graph()
    graph.add_nodes_from(range(9))
    limit = np.quantile(rsa.upper_triangle(d[0]).numpy(), 0.3)
    for i in range(9):
        for j in range(i):
            if float(d[0, i, j]) <= limit:
                graph.add_edge(i, j, weight=float(d[0, i, j]))
    expected = np.array(networkx.floyd_warshall_numpy(graph, nodelist=range(9)))
    np.testing.assert_allclose(rsa.geodesic(d[0], p=0.3, on_disconnected="inf"), expected, atol=1e-12)


def test_the_closest_pair_stays_the_closest() -> None:
    """rsatoolbox 0.3.2 takes the zero of the closest pair for no edge, and puts the pair far apart."""
    x = torch.tensor([[0.0], [0.1], [1.0], [1.3], [2.5], [2.9]], dtype=torch.float64)
    scaled = rsa.geo_topological((x - x.T).abs(), 0.0, 1.0, rank_first=False)
    assert float(scaled[0, 1]) == 0
    path = rsa.geodesic(scaled, "geo_topological", low=0.0, up=1.0, rank_first=False)
    assert float(path[0, 1]) == 0
    duplicate = (x[[0, 0, 2, 3, 4, 5]] - x[[0, 0, 2, 3, 4, 5]].T).abs()
    assert float(rsa.geodesic(duplicate, p=0.5)[0, 1]) == 0


def test_stimuli_without_a_path() -> None:
    x = torch.tensor([[0.0], [1.0], [2.5], [100.0], [101.0], [103.0]], dtype=torch.float64)
    d = (x - x.T).abs()
    assert math.isinf(float(rsa.geodesic(d, p=0.3, on_disconnected="inf")[0, 3]))
    assert float(rsa.geodesic(d, p=0.3)[0, 3]) == 103.0  # never nearer than any direct distance
    categories = (torch.arange(6)[:, None] % 2 != torch.arange(6) % 2).double()
    torch.testing.assert_close(rsa.geodesic(categories, "geo_topological"), categories)
    with pytest.raises(ValueError, match="no path from stimulus 0 to 3"):
        rsa.geodesic(d, p=0.3, on_disconnected="raise")
    with pytest.raises(ValueError, match="negative"):
        rsa.geodesic(d - 2)


@given(seed=SEED, n=st.integers(2, 300), ties=st.booleans())
@settings(max_examples=20)
def test_tau_a_is_its_definition_over_all_pairs(seed: int, n: int, ties: bool) -> None:
    x, y = patterns(seed, 2, n), patterns(seed + 1, 3, n)
    x, y = ((2 * x).round(), (2 * y).round()) if ties else (x, y)
    signs = [(v[:, :, None] - v[:, None, :]).sign() for v in (x, y)]
    expected = torch.einsum("aij,bij->ab", *signs) / 2
    assert torch.equal(ranks.concordance(x, y).double(), expected)
    assert torch.equal(ranks.concordance_of_rows(x, y[:2]).double(), expected.diagonal())


def test_ranks_and_many_inversions_are_those_of_scipy() -> None:
    x = (10 * patterns(0, 2, 6000)).round()
    np.testing.assert_array_equal(ranks.average_ranks(x), scipy_stats.rankdata(x.numpy(), axis=1))
    order = torch.randperm(6000, generator=torch.Generator().manual_seed(0))
    tau = scipy_stats.kendalltau(np.arange(6000), order.numpy()).statistic
    assert 1 - 4 * int(ranks.inversions(order[None])[0]) / (6000 * 5999) == pytest.approx(tau, abs=1e-12)
    missing = torch.tensor([[3.0, torch.nan, 1.0, 3.0]])
    np.testing.assert_array_equal(ranks.average_ranks(missing), [[2.5, np.nan, 1.0, 2.5]])


@given(seed=SEED)
@settings(max_examples=10)
def test_comparisons_are_symmetric_bounded_and_one_of_a_matrix_with_itself(seed: int) -> None:
    a, b = rsa.rdm(patterns(seed, 3, 8, 6)), rsa.rdm(patterns(seed + 1, 2, 8, 6), "euclidean")
    for method in comparison.METHODS:
        found = rsa.compare_rdms(a, b, method)
        assert found.shape == (3, 2)
        torch.testing.assert_close(found, rsa.compare_rdms(b, a, method).T, atol=1e-7, rtol=1e-7)
        assert float(found.abs().max()) <= 1 + 1e-9
        torch.testing.assert_close(
            rsa.compare_rdms(a, a, method).diagonal(), torch.ones(3, dtype=torch.float64), atol=1e-7, rtol=0
        )
    assert rsa.compare_rdms(a[0], b[0]).shape == ()


def test_comparisons_are_their_definitions() -> None:
    a, b = rsa.rdm(patterns(0, 9, 6)), rsa.rdm(patterns(1, 9, 6))
    x, y = rsa.upper_triangle(a).numpy(), rsa.upper_triangle(b).numpy()
    assert float(rsa.compare_rdms(a, b, "pearson")) == pytest.approx(scipy_stats.pearsonr(x, y)[0], abs=1e-12)
    assert float(rsa.compare_rdms(a, b, "spearman")) == pytest.approx(scipy_stats.spearmanr(x, y)[0], abs=1e-12)
    i, j = np.triu_indices(9, 1)
    contrast = np.zeros((36, 9))
    contrast[np.arange(36), i], contrast[np.arange(36), j] = 1, -1
    inverse = np.linalg.inv((contrast @ contrast.T) ** 2)  # covariance of dissimilarities under equal noise
    whitened = x @ inverse @ y / np.sqrt(x @ inverse @ x * (y @ inverse @ y))
    assert float(rsa.compare_rdms(a, b, "whitened_cosine")) == pytest.approx(whitened, abs=1e-9)
    coarse = (a > 0.9).double().fill_diagonal_(0)
    generator = np.random.default_rng(0)
    p = rsa.upper_triangle(coarse).numpy()
    broken = [scipy_stats.spearmanr(p + 1e-6 * generator.random(36), y)[0] for _ in range(4000)]
    assert float(rsa.compare_rdms(coarse, b, "rho_a")) == pytest.approx(np.mean(broken), abs=0.01)


def test_a_comparison_can_be_optimised() -> None:
    x = patterns(0, 6, 5).requires_grad_()
    target = rsa.rdm(patterns(1, 6, 5))
    for method in ("cosine", "pearson", "whitened_cosine"):
        (gradient,) = torch.autograd.grad(rsa.compare_rdms(rsa.rdm(x), target, method), x)
        assert bool(torch.isfinite(gradient).all()) and float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("method", RANKED)
@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_is_the_matrix_written_out_without_the_pairs_of_copies(method: str, ties: bool) -> None:
    a, b = rsa.rdm(patterns(0, 2, 9, 6)), rsa.rdm(patterns(1, 2, 9, 6))
    a = (4 * a).round() if ties else a
    counts = bootstrap_rdm(9, resamples=5, generator=torch.Generator().manual_seed(0)).stimuli
    x, y = rsa.upper_triangle(a), rsa.upper_triangle(b)
    found = comparison.resampled(x, y, pair_weights(counts), method)
    for r, times in enumerate(counts):
        index = torch.arange(9).repeat_interleave(times)
        same = index[:, None] == index[None, :]
        drawn = [m[:, index][:, :, index].masked_fill(same, torch.nan) for m in (a, b)]
        for m in drawn:
            m.diagonal(dim1=1, dim2=2).zero_()
        torch.testing.assert_close(found[r], rsa.compare_rdms(*drawn, method), atol=1e-10, rtol=1e-10)


def test_no_resample_is_undefined_with_few_stimuli() -> None:
    draws = bootstrap_rdm(4, 3, resamples=500, generator=torch.Generator().manual_seed(0))
    assert bool(((draws.stimuli > 0).sum(1) >= 4).all()) and bool((draws.stimuli.sum(1) == 4).all())
    assert bool(((draws.subjects > 0).sum(1) >= 2).all())
    with pytest.raises(ValueError, match="at least 4 different"):
        bootstrap_rdm(3)
    with pytest.raises(ValueError, match="name 'stimuli'"):
        bootstrap_rdm(9, resample=("runs",))


def test_bad_comparisons_are_named() -> None:
    a = rsa.rdm(patterns(0, 6, 5))
    with pytest.raises(ValueError, match="the same stimuli"):
        rsa.compare_rdms(a, a[:5, :5])
    with pytest.raises(ValueError, match="unknown 'kendal'"):
        rsa.compare_rdms(a, a, "kendal")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="drawn twice for 'bures'"):
        rsa.compare_rdms(a, a, "bures", ci="bootstrap")
    hollow = a.clone()
    hollow[0, 1] = hollow[1, 0] = torch.nan
    with pytest.raises(ValueError, match="needs all pairs"):
        rsa.compare_rdms(a, hollow, "whitened_cosine")
    with pytest.raises(ValueError, match="missing"):
        rsa.compare_rdms(a, hollow, ci="bootstrap")
    assert math.isnan(float(rsa.compare_rdms(a, torch.ones(6, 6) - torch.eye(6), "pearson")))
