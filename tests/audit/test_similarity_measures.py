"""One interface for likeness: what each measure must not see, what outside definitions give, and streams."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA
from torch import Tensor

from erlangen.audit.similarity import MEASURES, similarity, similarity_matrix
from erlangen.stats import MinibatchCKA, StreamingCKA, canonical_correlations, cka, unbiased_hsic
from erlangen.stats.similarity import linear_gram
from erlangen.stats.similarity_neighbors import distance_correlation, neighbor_overlap

SEED = st.integers(0, 10_000)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("measure", sorted(MEASURES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_a_measure_ignores_and_what_it_gives_for_the_same(measure: str, dtype: torch.dtype) -> None:
    tolerance = 1e-6 if dtype == torch.float64 else 2e-3
    turn = torch.linalg.qr(noise(3, 6, 6))[0]
    maps = {
        "rotation": lambda x: x @ turn,
        "scale": lambda x: 3 * x,
        "shift": lambda x: x + 2 * noise(4, 1, 6),
        "permutation": lambda x: x[:, [3, 1, 0, 5, 4, 2]],
        "linear": lambda x: x @ (noise(5, 6, 6) + 3 * torch.eye(6, dtype=torch.float64)),
    }
    holds = {
        "cka": ["rotation", "scale", "shift"],
        "cka_biased": ["rotation", "scale", "shift"],
        "cca": list(maps),
        "svcca": ["rotation", "scale", "shift"],
        "pwcca": ["scale", "shift", "permutation"],
        "procrustes": ["rotation", "scale", "shift"],
        "rsa": ["permutation", "scale"],
        "matching": ["permutation", "scale", "shift"],
        "soft_matching": ["permutation", "scale", "shift"],
        "neighbors": ["rotation", "scale"],
        "mutual_neighbors": ["rotation", "scale"],
        "distance_correlation": ["rotation", "scale", "shift"],
    }
    x = noise(0, 60, 6)
    y = x @ noise(1, 6, 6) + noise(2, 60, 6)
    value = similarity(x.to(dtype), y.to(dtype), measure).value
    for name in holds[measure]:
        moved = similarity(maps[name](x).to(dtype), y.to(dtype), measure).value
        assert moved == pytest.approx(value, abs=tolerance), name
    own = similarity(x.to(dtype), x.to(dtype), measure).value
    assert own == pytest.approx(MEASURES[measure].same, abs=tolerance if measure != "soft_matching" else 0.01)
    if MEASURES[measure].symmetric:
        assert similarity(y.to(dtype), x.to(dtype), measure).value == pytest.approx(value, abs=max(tolerance, 1e-4))
    if measure not in ("cca", "pwcca"):
        stretched = similarity(x @ torch.diag(torch.tensor([30.0, 1, 1, 1, 1, 1]).double()), y, measure).value
        assert measure in ("matching", "soft_matching") or abs(stretched - value) > 1e-3


def test_canonical_correlations_are_those_of_scikit_learn() -> None:
    x, y = noise(0, 80, 4), noise(1, 80, 3)
    y[:, 0] += x[:, 1]
    a, b = CCA(3, max_iter=10_000, tol=1e-10).fit_transform(x.numpy(), y.numpy())
    expected = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(canonical_correlations(x, y), expected, atol=1e-6)
    assert float(canonical_correlations(x, y, ridge=0.5)[0]) < float(canonical_correlations(x, y)[0])
    wide = canonical_correlations(noise(2, 10, 20), noise(3, 10, 20))
    torch.testing.assert_close(
        wide, torch.ones_like(wide), atol=1e-6, rtol=0
    )  # more dimensions than samples say nothing
    linear = noise(4, 5, 5)
    torch.testing.assert_close(
        canonical_correlations(noise(5, 60, 5), noise(5, 60, 5) @ linear), torch.ones(5).double()
    )


def test_svcca_ignores_directions_without_variance_and_pwcca_weighs_them() -> None:
    signal = noise(0, 200, 2)
    x = torch.cat([10 * signal, 0.1 * noise(1, 200, 8)], 1)
    y = torch.cat([10 * signal, 0.1 * noise(2, 200, 8)], 1)
    assert similarity(x, y, "svcca").value > 0.99 > similarity(x, y, "cca").value + 0.3
    assert similarity(x, y, "pwcca").value > similarity(x, y, "cca").value + 0.3


def test_distance_correlation_sees_what_correlation_does_not() -> None:
    u = noise(0, 300, 1)
    assert float(distance_correlation(u, u.square())) > 0.15
    null = [float(distance_correlation(noise(s, 30, 3), noise(900 + s, 30, 3))) for s in range(200)]
    assert abs(np.mean(null)) < 4 * np.std(null) / math.sqrt(200)
    x, y = noise(1, 7, 2), noise(2, 7, 2)
    a, b = (torch.cdist(t, t).numpy() for t in (x, y))
    centre = np.eye(7) - 1 / 7
    a, b = centre @ a @ centre, centre @ b @ centre
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert float(distance_correlation(x, y, unbiased=False)) == pytest.approx(expected, abs=1e-10)


def test_unrelated_representations_share_neighbours_by_chance() -> None:
    found = [float(neighbor_overlap(noise(s, 101, 3), noise(700 + s, 101, 3), jaccard=False).mean()) for s in range(20)]
    assert np.mean(found) == pytest.approx(0.1, abs=0.01)


@given(seed=SEED, dims=st.tuples(st.integers(1, 5), st.integers(1, 5)), cut=st.integers(0, 30))
@settings(max_examples=15)
def test_streamed_cka_is_the_gram_matrices_in_any_split(seed: int, dims: tuple[int, int], cut: int) -> None:
    x, y = noise(seed, 30, dims[0]) + 50, noise(seed + 1, 30, dims[1]) - 20
    y[:, 0] += x[:, 0]
    k, l = linear_gram(x), linear_gram(y)
    expected = unbiased_hsic(k, l) / (unbiased_hsic(k, k) * unbiased_hsic(l, l)).sqrt()
    one, two = StreamingCKA(*dims), StreamingCKA(*dims)
    for a, b in zip(x[:cut].split(4), y[:cut].split(4), strict=True):
        one.update(a, b)
    for a, b in zip(x[cut:].split(7), y[cut:].split(7), strict=True):
        two.update(a, b)
    torch.testing.assert_close(two.merge(one).compute(), expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(two.compute(debiased=False), cka(x, y, debiased=False), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(cka(x, y), expected, atol=1e-9, rtol=1e-9)


def test_a_stream_holds_no_more_for_more_rows() -> None:
    state = StreamingCKA(4, 3).update(noise(0, 10, 4), noise(1, 10, 3))
    before = state.nbytes
    assert state.update(noise(2, 500, 4), noise(3, 500, 3)).nbytes == before
    assert math.isnan(float(StreamingCKA(2, 2).update(torch.full((9, 2), 0.1), noise(0, 9, 2)).compute()))
    with pytest.raises(ValueError, match="at least 4"):
        StreamingCKA(2, 2).update(noise(0, 3, 2), noise(0, 3, 2)).compute()


def test_minibatches_average_the_unbiased_terms_of_all_pairs() -> None:
    first = {"a": noise(0, 32, 5), "b": noise(1, 32, 2, 3)}
    second = {"c": noise(0, 32, 5) + noise(2, 32, 5), "d": noise(3, 32, 4), "e": torch.ones(32, 2).double()}
    state, other = MinibatchCKA(), MinibatchCKA()
    hsic = torch.zeros(3, 2, 3, dtype=torch.float64)
    for place in range(4):
        rows = slice((0, 8, 13, 25)[place], (8, 13, 25, 32)[place])
        (state if place < 3 else other).update(
            {n: v[rows] for n, v in first.items()}, {n: v[rows] for n, v in second.items()}
        )
        for i, x in enumerate(first.values()):
            for j, y in enumerate(second.values()):
                k, l = linear_gram(x[rows].flatten(1)), linear_gram(y[rows].flatten(1))
                hsic[:, i, j] += torch.stack([unbiased_hsic(k, l), unbiased_hsic(k, k), unbiased_hsic(l, l)])
    found = state.merge(other).compute()
    torch.testing.assert_close(found[:, :2], (hsic[0] / (hsic[1] * hsic[2]).sqrt())[:, :2], atol=1e-10, rtol=0)
    assert bool(found[:, 2].isnan().all()) and state.layers2 == ["c", "d", "e"]
    own = MinibatchCKA().update(first).compute()
    torch.testing.assert_close(own.diagonal(), torch.ones(2, dtype=torch.float64))
    whole = MinibatchCKA().update(first, second).compute()
    assert float(whole[0, 0]) == pytest.approx(float(cka(first["a"], second["c"])), abs=1e-10)
    with pytest.raises(ValueError, match="no batch"):
        MinibatchCKA().compute()
    with pytest.raises(ValueError, match="batch of 3 rows"):
        MinibatchCKA().update({"a": noise(0, 3, 2)})


def test_layers_that_are_near_are_more_alike() -> None:
    x = noise(0, 300, 10)
    layers = {"input": x}
    for depth in range(5):
        x = torch.tanh(3 * x @ noise(depth + 20, 10, 10) / 10**0.5)
        layers[str(depth)] = x
    for measure in ("cka", "svcca", "rsa", "neighbors", "distance_correlation"):
        matrix = similarity_matrix(layers, measure=measure)
        torch.testing.assert_close(matrix, matrix.T)
        near, far = matrix.diagonal(1).mean(), torch.cat([matrix.diagonal(4), matrix.diagonal(5)]).mean()
        assert float(near) > float(far) + 0.02, measure
    crossed = similarity_matrix({"a": x}, layers, "pwcca")
    assert crossed.shape == (1, 6)


def test_intervals_cover_and_undefined_says_why() -> None:
    x = noise(0, 200, 5)
    found = similarity(x, x + noise(1, 200, 5), ci=True, generator=torch.Generator().manual_seed(0))
    assert found.low < found.value < found.high and found.samples == 200
    constant = similarity(torch.ones(9, 3), x[:9])
    assert math.isnan(constant.value) and "x is constant" in constant.reason
    half = similarity(x.half(), x.half())
    assert half.value == pytest.approx(1, abs=1e-3)


def test_bad_input_is_named() -> None:
    x = noise(0, 10, 3)
    with pytest.raises(ValueError, match="did you mean 'cka'"):
        similarity(x, x, "ckaa")
    with pytest.raises(ValueError, match="pool it"):
        similarity(noise(0, 10, 3, 4, 4), x)
    with pytest.raises(ValueError, match="same samples"):
        similarity(x, x[:9])
    with pytest.raises(ValueError, match="3 samples are too few"):
        similarity(x[:3], x[:3])
    with pytest.raises(ValueError, match="sample 4 contains NaN"):
        similarity(x.index_fill(0, torch.tensor(4), torch.nan), x)
