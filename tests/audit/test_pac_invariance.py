"""Linear structural models, approximate invariance and the number of interventions it takes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.audit.invariance import (
    EnvironmentMoments,
    LinearSEM,
    approx_invariance,
    coordinate_subsets,
    find_invariant,
    learn_invariant,
    pac_sample_size,
    pac_violation_bound,
    polynomial_complexity,
    pooled_weights,
    violations,
)

KINDS = ("do", "shift", "scale", "coefficient")
seeds = st.integers(0, 10_000)
precisions = st.sampled_from([torch.float64, torch.float32])


def model(seed, nodes=9, target=4, dtype=torch.float64):
    """A random order, so that the numbers of the nodes do not give it away; the target has a parent and a child."""
    generator = torch.Generator().manual_seed(seed)
    strength = torch.randn(nodes, nodes, generator=generator, dtype=torch.float64)
    keep = torch.rand(nodes, nodes, generator=generator) < 0.4
    lower = (strength * keep).tril(-1)
    lower[target, target - 1], lower[target + 1, target] = 1.0, -1.5
    return LinearSEM(
        lower.to(dtype), (0.5 + torch.rand(nodes, generator=generator, dtype=torch.float64)).to(dtype), target
    )


def changed(sem, kind, seed, sites=(1, 5, 7), environments=6):
    generator = torch.Generator().manual_seed(seed + 1)
    value = 0.2 + torch.rand(environments, len(sites), generator=generator, dtype=torch.float64) * 3
    return sem.intervene(list(sites), kind, value.to(sem.B.dtype))


def columns(subset, features, dtype=torch.float64):
    return torch.eye(features, dtype=dtype)[list(subset)]


@given(seeds, st.sampled_from(KINDS), precisions)
def test_moments_are_those_of_solving_every_environment_by_itself(seed, kind, dtype):
    sem = model(seed, dtype=dtype)
    env = changed(sem, kind, seed)
    mean, covariance = sem.mean_and_covariance(env)
    for e in range(len(env)):
        B, noise, shift = sem.B.double().clone(), sem.noise.double().clone(), torch.zeros(9, dtype=torch.float64)
        for j, site in enumerate(env.sites):
            noise[site], shift[site] = env.variance[e, j].double(), env.mean[e, j].double()
            if env.rows is not None:
                B[site] = env.rows[e, j].double()
        A = torch.linalg.inv(torch.eye(9, dtype=torch.float64) - B)
        wanted = A @ torch.diag(noise) @ A.T
        tolerance = 1e-11 if dtype == torch.float64 else 1e-3
        assert torch.allclose(
            covariance[e].double(), wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max())
        )
        assert torch.allclose(
            mean[e].double(), A @ shift, rtol=tolerance, atol=tolerance * float((A @ shift).abs().max())
        )
    some = sem.mean_and_covariance(env, nodes=[7, 2, 4])
    assert torch.allclose(
        some[1], covariance[:, [7, 2, 4]][:, :, [7, 2, 4]], atol=1e-4 if dtype == torch.float32 else 1e-9
    )


@given(seeds, st.sampled_from(KINDS))
def test_the_parents_of_the_target_are_invariant_under_any_other_intervention(seed, kind):
    sem = model(seed)
    moments = sem.moments(changed(sem, kind, seed))
    phi = columns([sem.features.index(p) for p in sem.parents(4)], 8)
    w = sem.B[4, sem.parents(4)]
    scale = float(moments.yy.max())
    assert float(approx_invariance(phi, moments, w=w)) <= 1e-12 * scale
    assert float(approx_invariance(phi, moments, w=w, norm="grad")) <= 1e-11 * max(scale, float(moments.xx.abs().max()))


@given(seeds)
def test_a_descendant_breaks_invariance(seed):
    sem = model(seed)
    chosen = [*sem.parents(4), 5]
    moments = sem.moments(changed(sem, "shift", seed))
    phi = columns([sem.features.index(p) for p in chosen], 8)
    assert float(approx_invariance(phi, moments)) > 1e-4


@given(seeds)
def test_risk_does_not_see_a_change_of_basis_and_gradient_does(seed):
    sem = model(seed)
    moments = sem.moments(changed(sem, "do", seed))
    generator = torch.Generator().manual_seed(seed)
    phi = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    G = torch.randn(3, 3, generator=generator, dtype=torch.float64) + 3 * torch.eye(3)
    risk = violations(phi, moments)
    assert torch.allclose(risk, violations(G @ phi, moments), rtol=1e-6, atol=1e-9 * float(moments.yy.max()))
    gradient = violations(phi, moments, norm="grad")
    assert not torch.allclose(gradient, violations(2 * phi, moments, norm="grad"), rtol=1e-3)


@given(seeds)
def test_excess_risk_is_the_difference_of_two_regressions(seed):
    sem = model(seed)
    moments = sem.moments(changed(sem, "scale", seed))
    phi = columns([0, 3, 5], 8)
    w = pooled_weights(phi, moments)
    found = violations(phi, moments)
    for e in range(len(moments)):
        second, cross = phi @ moments.xx[e] @ phi.T, phi @ moments.xy[e]

        def squared_error(v, second=second, cross=cross, yy=moments.yy[e]):
            return yy - 2 * v @ cross + v @ second @ v

        best = torch.linalg.solve(second, cross)
        assert torch.allclose(found[e], squared_error(w) - squared_error(best), atol=1e-9 * float(moments.yy.max()))


@given(seeds)
def test_more_environments_never_lower_the_error(seed):
    sem = model(seed)
    moments = sem.moments(changed(sem, "shift", seed, environments=8))
    phi = columns([2, 4], 8)
    w = pooled_weights(phi, moments)
    errors = [float(approx_invariance(phi, moments[:n], w=w)) for n in range(1, 9)]
    assert errors == sorted(errors)


def test_sampled_moments_approach_the_exact_ones_as_one_over_the_root():
    sem = model(1)
    env = changed(sem, "coefficient", 1)
    exact = sem.moments(env)
    generator = torch.Generator().manual_seed(0)
    counts, errors = (100, 1_000, 10_000), []
    for count in counts:
        x = sem.sample(count, env, generator=generator)
        found = EnvironmentMoments.from_samples(x[..., sem.features], x[..., 4])
        errors.append(float((found.xx - exact.xx).norm() / exact.xx.norm()))
    slope = math.log(errors[-1] / errors[0]) / math.log(counts[-1] / counts[0])
    assert -0.7 < slope < -0.3


def test_the_search_finds_the_parents_and_agrees_with_every_set_tried_by_itself():
    sem = model(3)
    moments = sem.moments(changed(sem, "do", 3, sites=(0, 1, 2, 3, 5, 6, 7, 8), environments=20))
    family = coordinate_subsets(8, 4)
    choice = find_invariant(moments, family, tol=1e-8)
    parents = {sem.features.index(p) for p in sem.parents(4)}
    assert choice.found and parents <= set(family[choice.index])
    assert not set(family[choice.index]) & {sem.features.index(5)}
    by_hand = [float(approx_invariance(columns(s, 8), moments)) for s in family if s]
    stacked = [float(find_invariant(moments, [s], tol=0.0).eps) for s in family if s]
    assert torch.allclose(torch.tensor(by_hand), torch.tensor(stacked), atol=1e-9)
    nothing = find_invariant(moments, [(sem.features.index(5),), (0, sem.features.index(5))], tol=1e-9)
    assert not nothing.found


def test_a_learned_representation_is_more_invariant_than_the_pooled_regression():
    sem = model(3)
    moments = sem.moments(changed(sem, "shift", 3, environments=20))
    plain = pooled_weights(torch.eye(8, dtype=torch.float64), moments)[None]
    phi, w = learn_invariant(moments, 1, strength=1e3, generator=torch.Generator().manual_seed(0))
    fresh = sem.moments(changed(sem, "shift", 77, environments=50))
    one = torch.ones(1, dtype=torch.float64)
    assert float(approx_invariance(phi, fresh, w=w)) < 0.2 * float(approx_invariance(plain, fresh, w=one))


@given(st.integers(1, 5_000), st.floats(0.01, 0.9), st.floats(0.001, 0.5))
def test_the_bound_is_the_inverse_of_the_sample_size(complexity, rho, delta):
    for kind in ("finite", "vc"):
        n = pac_sample_size(complexity, rho, delta, kind=kind)
        assert pac_violation_bound(complexity, n, delta, kind=kind) <= rho + 1e-9
        assert pac_sample_size(complexity, rho / 2, delta, kind=kind) >= 2 * n - 2


def test_the_finite_bound_holds_where_the_truth_is_known():
    """Sets [0, a] of a uniform number: the chance that one of N thresholds looks right on n draws and is wrong."""
    generator = torch.Generator().manual_seed(0)
    members, n, delta = 50, 60, 0.1
    rho = pac_violation_bound(members, n, delta)
    draws = torch.rand(4_000, n, generator=generator)
    rates = torch.linspace(0, 1, members)
    consistent = (draws[:, None, :] > rates[None, :, None]).all(-1)
    failed = (consistent & (rates > rho)).any(1).float().mean()
    assert float(failed) <= delta
    assert polynomial_complexity(3, 4) == 35 and pac_sample_size(100, 0.1, 0.05) == math.ceil(math.log(2000) / 0.1)


def test_bad_input_is_named():
    B = torch.zeros(3, 3, dtype=torch.float64)
    noise = torch.ones(3, dtype=torch.float64)
    cyclic = B.clone()
    cyclic[0, 1] = cyclic[1, 2] = cyclic[2, 0] = 1.0
    with pytest.raises(ValueError, match="cycle"):
        LinearSEM(cyclic, noise, 0)
    sem = LinearSEM(B, noise, 0)
    with pytest.raises(ValueError, match="target"):
        sem.intervene(0, "do", 1.0)
    assert len(sem.intervene(0, "do", 1.0, allow_target=True)) == 1
    with pytest.raises((ValueError, TypeError), match="kind"):
        sem.intervene(1, "cut", 1.0)
    with pytest.raises(ValueError, match="variance"):
        sem.intervene(1, "scale", -1.0)
    x = sem.sample(1, sem.intervene(1, "do", 1.0))
    few = EnvironmentMoments.from_samples(x[..., 1:], x[..., 0])
    with pytest.raises(ValueError, match="samples"):
        approx_invariance(torch.eye(2, dtype=torch.float64), few)
    with pytest.raises(ValueError, match="features"):
        approx_invariance(torch.eye(3, dtype=torch.float64), sem.moments())
    with pytest.raises(ValueError, match="target"):
        sem.moments(features=[0, 1])
    with pytest.raises(ValueError, match="every node"):
        sem.intervene([1, 1], "shift", 1.0)
    with pytest.raises(ValueError, match="rho"):
        pac_sample_size(10, 1.5)
    joined = sem.intervene(1, "shift", 1.0).join(sem.intervene(2, "scale", 2.0))
    assert joined.sites == (1, 2) and float(joined.variance[0, 1]) == 2.0
