"""Units that are the same, groups that are mixed, and noise in which nothing is: what the matchings must say of each."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.linear_model import Lasso
from torch import Tensor, nn

from erlangen.audit import alignment

SEED = st.integers(0, 10_000)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal_groups(groups: list[int], seed: int) -> Tensor:
    blocks = [torch.linalg.qr(noise(seed + i, size, size))[0] for i, size in enumerate(groups)]
    return torch.block_diag(*blocks)


@given(seed=SEED, dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=10)
def test_a_network_with_permuted_units_is_matched_exactly(seed: int, dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3)).to(dtype)
    x = noise(seed, 200, 6).to(dtype)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    twin = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3)).to(dtype)
    with torch.no_grad():
        twin[0].weight.copy_(net[0].weight[order])
        twin[0].bias.copy_(net[0].bias[order])
        twin[2].weight.copy_(net[2].weight[:, order])
        twin[2].bias.copy_(net[2].bias)
    torch.testing.assert_close(net(x), twin(x))
    a, b = net[:2](x).detach(), twin[:2](x).detach()
    for method in ("hungarian", "greedy", "semi", "sinkhorn"):
        found = alignment.match_units(alignment.cross_correlation(a, b), method)
        assert torch.equal(order[found.partner], torch.arange(10))
        torch.testing.assert_close(found.similarity, torch.ones(10, dtype=torch.float64), atol=1e-6, rtol=0)
    scaled = (b * (0.1 + noise(seed + 1, 10).abs().to(dtype)) + noise(seed + 2, 10).to(dtype)).float()
    torch.testing.assert_close(
        alignment.cross_correlation(a, scaled), alignment.cross_correlation(a, b), atol=2e-5, rtol=0
    )


@given(seed=SEED, rows=st.integers(1, 6), columns=st.integers(1, 6))
@settings(max_examples=15)
def test_assignments_are_as_good_as_they_say(seed: int, rows: int, columns: int) -> None:
    similarity = noise(seed, rows, columns)
    best = alignment.match_units(similarity)
    greedy, semi = alignment.match_units(similarity, "greedy"), alignment.match_units(similarity, "semi")
    wide = similarity if rows <= columns else similarity.T
    brute = max(
        sum(float(wide[i, c]) for i, c in enumerate(chosen))
        for chosen in itertools.permutations(range(max(rows, columns)), min(rows, columns))
    )
    assert best.score == pytest.approx(brute, abs=1e-9)
    assert best.score >= greedy.score - 1e-12
    kept = best.partner >= 0
    assert bool((semi.similarity[kept] >= best.similarity[kept] - 1e-12).all())
    assert len(best.pairs[0]) == min(rows, columns) == len(set(best.pairs[1].tolist()))
    assert bool((best.similarity[best.pairs[0]].diff() <= 0).all())


def test_greedy_is_the_greedy_choice_written_out() -> None:
    similarity = noise(0, 12, 9)
    left, expected = similarity.clone(), {}
    for _ in range(9):
        i, j = divmod(int(left.argmax()), 9)
        expected[i] = j
        left[i], left[:, j] = -torch.inf, -torch.inf
    found = alignment.match_units(similarity, "greedy")
    assert {i: int(j) for i, j in enumerate(found.partner) if j >= 0} == expected


def test_a_transport_plan_has_uniform_margins() -> None:
    found = alignment.match_units(noise(0, 5, 7), "sinkhorn", temperature=0.3)
    assert found.plan is not None
    torch.testing.assert_close(found.plan.sum(1), torch.full((5,), 0.2, dtype=torch.float64))
    torch.testing.assert_close(found.plan.sum(0), torch.full((7,), 1 / 7, dtype=torch.float64), atol=1e-6, rtol=0)


def test_constant_units_are_reported_and_left_out() -> None:
    a, b = noise(0, 100, 4), noise(1, 100, 3)
    a[:, 2] = 0.3
    b[:, 0] = 0.0
    moments = alignment.PairMoments.of(a, b)
    found = alignment.match_units(moments.correlation())
    assert found.constant1.tolist() == [2] and found.constant2.tolist() == [0]
    assert int(found.partner[2]) == -1 and len(found.pairs[0]) == 2 and math.isfinite(found.mean)
    assert moments.alive[0].tolist() == [True, True, False, True]
    assert bool(torch.isfinite(moments.correlation()).all())


def test_accumulated_halves_are_one_pass_and_positions_are_samples() -> None:
    a, b = noise(0, 40, 3, 4, 4) + 100, noise(1, 40, 5, 4, 4)
    whole = alignment.PairMoments.of(a, b)
    halves = alignment.PairMoments.of(a[:13], b[:13]).merge(alignment.PairMoments.of(a[13:], b[13:]))
    torch.testing.assert_close(halves.correlation(), whole.correlation(), atol=1e-10, rtol=1e-10)
    for one, two in zip(halves.within(), whole.within(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-10, rtol=1e-10)
    flat = [t.permute(0, 2, 3, 1).reshape(-1, t.shape[1]).numpy() for t in (a, b)]
    expected = np.corrcoef(flat[0].T, flat[1].T)[:3, 3:]
    np.testing.assert_allclose(whole.correlation(), expected, atol=1e-10)
    np.testing.assert_allclose(whole.swapped().correlation(), expected.T, atol=1e-10)
    assert whole.count == 640 and whole.nbytes == 8 * (9 + 6 + 25 + 10 + 15 + 8)
    with pytest.raises(ValueError, match="same inputs in the same order"):
        alignment.PairMoments.of(a, b[:39])


def test_mutual_information_is_the_histograms_and_about_zero_without_a_relation() -> None:
    x = noise(0, 3000, 3).relu()
    found = alignment.mutual_information(x, x, bins=10)
    mass = float((x[:, 0] == 0).double().mean())
    used = [mass] + [(1 - mass) / 9] * 9
    expected = entropy(used, base=2) - 81 / (2 * 3000 * math.log(2))
    assert float(found[0, 0]) == pytest.approx(expected, abs=0.01)
    independent = torch.stack(
        [alignment.mutual_information(noise(s, 500, 1), noise(900 + s, 500, 1)) for s in range(200)]
    )
    assert abs(float(independent.mean())) < 4 * float(independent.std()) / math.sqrt(200) + 0.005
    u = noise(5, 3000, 1)
    bent = alignment.mutual_information(u, u.square())
    assert float(bent) > 1.5 and abs(float(alignment.cross_correlation(u, u.square()))) < 0.1
    with pytest.raises(ValueError, match="at least 100 are needed"):
        alignment.mutual_information(x[:50], x[:50])


def test_sparse_maps_are_those_of_scikit_learn() -> None:
    a = noise(0, 400, 6)
    b = a @ noise(1, 6, 4) + noise(2, 400, 4)
    found = alignment.sparse_map(a, b, alphas=(0.3, 0.05, 0.0), tolerance=1e-9)
    z, y = [((t - t.mean(0)) / t.std(0, unbiased=False)).numpy() for t in (a, b)]
    for place, alpha in enumerate((0.3, 0.05)):
        for unit in range(4):
            peer = Lasso(alpha, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(z, y[:, unit])
            np.testing.assert_allclose(found.weight[place, unit], peer.coef_, atol=1e-6)
            left = float(((y[:, unit] - z @ peer.coef_) ** 2).mean())
            assert float(found.unexplained[place, unit]) == pytest.approx(left, abs=1e-6)
    least = np.linalg.lstsq(z, y, rcond=None)[0]
    np.testing.assert_allclose(found.weight[2].T, least, atol=1e-8)
    assert float(found.gap.max()) < 1e-8 and bool((found.error.diff() <= 1e-9).all())
    assert float(alignment.sparse_map(a, b, alphas=(2.0,)).weight.abs().max()) == 0
    fresh = noise(7, 300, 6)
    tested = found.evaluate(alignment.PairMoments.of(fresh, fresh @ noise(1, 6, 4) + noise(8, 300, 4)))
    assert float((tested - found.error).abs().max()) < 0.2


def test_a_unit_is_not_used_to_predict_itself() -> None:
    a = noise(0, 500, 5)
    a[:, 4] = a[:, 0] + a[:, 1]
    found = alignment.sparse_map(a[:, :5] + 0.1 * noise(1, 500, 5), alphas=(0.01, 0.0), within=True)
    assert float(found.weight.diagonal(dim1=1, dim2=2).abs().max()) == 0
    assert float(found.unexplained[1, 4]) < 0.1 and float(found.unexplained[1, 2]) > 0.9


@given(seed=SEED)
@settings(max_examples=8)
def test_groups_that_are_mixed_inside_are_found_by_sparse_maps_and_clusters(seed: int) -> None:
    groups = [2, 3, 4]
    a = torch.linalg.qr(noise(seed, 3000, 9) - noise(seed, 3000, 9).mean(0))[0] * 50
    b = a @ orthogonal_groups(groups, seed + 1)
    owner = torch.arange(3).repeat_interleave(torch.tensor(groups))
    found = alignment.sparse_map(a, b, alphas=(0.01,))
    support = found.weight[0].abs() > 1e-6
    same = owner[:, None] == owner[None, :]
    assert not bool((support & ~same).any())
    strong = alignment.cross_correlation(a, b).T.abs() > 0.05
    assert bool(support[strong].all())
    clusters = alignment.joint_clusters([a, b], 3)
    assert clusters.mixed == [0, 1, 2]
    for label in clusters.labels:
        assert len({(int(o), int(c)) for o, c in zip(owner, label, strict=True)}) == 3
    again = alignment.joint_clusters(alignment.PairMoments.of(a, b), 3)
    assert all(torch.equal(one, two) for one, two in zip(again.labels, clusters.labels, strict=True))


def test_agglomerative_clusters_need_no_number() -> None:
    base = noise(0, 800, 3)
    a = base[:, [0, 0, 1, 2]] + 0.05 * noise(1, 800, 4)
    b = base[:, [1, 1, 0]] + 0.05 * noise(2, 800, 3)
    found = alignment.joint_clusters([a, b], method="agglomerative", threshold=0.3)
    assert len(set(torch.cat(found.labels).tolist())) == 3 and len(found.mixed) == 2
    assert found.members(int(found.labels[0][0])) == ([0, 1], [2])
    dead = alignment.joint_clusters([torch.cat([a, torch.ones(800, 1)], 1), b], 3)
    assert int(dead.labels[0][4]) == -1
    with pytest.raises(ValueError, match="between 1 and the 7 units"):
        alignment.joint_clusters([a, b], 8)
    with pytest.raises(ValueError, match="needs the number"):
        alignment.joint_clusters([a, b])


def test_a_local_code_is_explained_by_one_unit_a_distributed_one_by_many() -> None:
    a = noise(0, 2000, 8)
    local = a[:, [3]] + 0.01 * noise(1, 2000, 1)
    spread = a @ torch.ones(8, 1, dtype=torch.float64) / 8**0.5
    found = alignment.best_partners(alignment.PairMoments.of(a, torch.cat([local, spread], 1)), (1, 2, 8))
    assert float(found[0, 0]) > 0.99 and float(found[0, 1]) < 0.3 and float(found[2, 1]) > 0.99
    assert bool((found.diff(dim=0) >= -1e-9).all())


def test_the_same_subspace_on_other_axes() -> None:
    a = noise(0, 4000, 12)
    turned = a @ torch.linalg.qr(noise(1, 12, 12))[0]
    moments = alignment.PairMoments.of(a, turned)
    overlap, k = alignment.subspace_overlap(moments)
    assert overlap > 0.85 and k <= 12
    assert alignment.subspace_overlap(moments, k=12)[0] == pytest.approx(1, abs=1e-6)
    assert alignment.match_units(moments.correlation()).mean < 0.7
    apart = alignment.PairMoments.of(a, noise(2, 4000, 12))
    assert alignment.subspace_overlap(apart)[0] < 0.1


def test_convergence_is_measured_where_the_pairs_were_not_chosen() -> None:
    generator = torch.Generator().manual_seed(0)
    a = noise(0, 60, 20)
    null = alignment.converge(a, noise(1, 60, 20), shuffles=10, generator=generator)
    assert (
        null.in_sample_mean > 0.3 and abs(null.mean) < 0.15
    )  # 20 units, 30 inputs: noise looks alike where it is chosen
    order = torch.randperm(20, generator=generator)
    true = alignment.converge(a[:, order], a + 0.3 * noise(2, 60, 20), shuffles=10, generator=generator)
    assert true.low > 0.8 > true.null_high and torch.equal(true.matching.partner, order)
    assert len(true.correlation) == 20 and true.different_count == 0 and true.inputs == 30
    maps = alignment.converge(noise(3, 30, 5, 6, 6), noise(3, 30, 5, 6, 6), shuffles=2, generator=generator)
    assert maps.mean == pytest.approx(1) and maps.low == pytest.approx(1)
    unlike = alignment.converge(noise(3, 30, 5, 6, 6), noise(3, 30, 4), shuffles=2, generator=generator)
    assert len(unlike.correlation) == 4
    with pytest.raises(ValueError, match="same inputs"):
        alignment.converge(a, a[:50])


def test_unrelated_networks_are_found_to_converge_no_more_often_than_the_level_says() -> None:
    wrong = 0
    for seed in range(200):
        found = alignment.converge(
            noise(seed, 40, 4),
            noise(5000 + seed, 40, 4),
            resamples=60,
            shuffles=6,
            generator=torch.Generator().manual_seed(seed),
        )
        wrong += found.low > found.null_high
    assert wrong <= 18


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        alignment.match_units(torch.full((2, 2), torch.nan))
    with pytest.raises(ValueError, match="did you mean 'hungarian'"):
        alignment.match_units(noise(0, 2, 2), "hungarien")
    with pytest.raises(ValueError, match="within=True"):
        alignment.sparse_map(noise(0, 9, 2))
    with pytest.raises(ValueError, match="0 or more"):
        alignment.sparse_map(noise(0, 9, 2), noise(1, 9, 2), alphas=(-1.0,))
    with pytest.raises(ValueError, match=r"batch, units"):
        alignment.as_samples(noise(0, 9))
