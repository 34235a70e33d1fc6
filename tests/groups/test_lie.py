"""Polar factors and coordinates of GL+(n) and SL(n), symmetric functions, and the density of the sampler."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups import SL, GLPlus, lie
from erlangen.groups.base import GroupMembershipError
from erlangen.groups.linear import symmetric_basis

SEEDS = st.integers(0, 2**31 - 1)
DTYPES = st.sampled_from([torch.float64, torch.float32])
ATOL = {torch.float64: 1e-12, torch.float32: 2e-5}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def noise(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def close(a, b, atol):
    assert a.shape == b.shape
    assert float((a - b).detach().abs().max()) <= atol


@settings(max_examples=20)
@given(seed=SEEDS, dtype=DTYPES, n=st.integers(2, 4), traceless=st.booleans())
def test_coordinates_cover_the_group_and_come_back(seed, dtype, n, traceless):
    g = (SL if traceless else GLPlus)(n).sample((5,), radius=0.25, generator=generator(seed), dtype=dtype)
    v = lie.polar_coordinates(g, traceless=traceless)
    assert v.shape == (5, lie.polar_dimension(n, traceless=traceless))
    close(lie.from_polar_coordinates(v, n, traceless=traceless), g, 10 * ATOL[dtype])
    log_p, rotation = lie.polar_factors(g)
    eye = torch.eye(n, dtype=dtype).expand(5, n, n)
    close(log_p, log_p.mT, ATOL[dtype])
    close(rotation @ rotation.mT, eye, ATOL[dtype])
    close(torch.linalg.det(rotation), torch.ones(5, dtype=dtype), 10 * ATOL[dtype])
    close(torch.linalg.matrix_exp(log_p) @ rotation, g, 10 * ATOL[dtype])
    positive = torch.linalg.matrix_exp(log_p)
    group = SL(n) if traceless else GLPlus(n)
    close(lie.polar_coordinates(positive, traceless=traceless), group.log(positive), 50 * ATOL[dtype])
    if traceless:
        close(torch.linalg.det(g), torch.ones(5, dtype=dtype), 10 * ATOL[dtype])


def test_a_matrix_without_a_logarithm_has_coordinates():
    g = torch.diag(torch.tensor([-2.0, -0.5], dtype=torch.float64))
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(Warning)
        assert np.abs(np.imag(scipy.linalg.logm(g.numpy()))).max() > 1  # no real logarithm
    v = lie.polar_coordinates(g)
    close(lie.from_polar_coordinates(v, 2), g, 1e-12)
    assert abs(float(v[-1])) == pytest.approx(math.pi)
    assert lie.polar_coordinates(g, traceless=True)[0] == pytest.approx(math.log(2))


@settings(max_examples=15)
@given(seed=SEEDS, n=st.integers(2, 4))
def test_symmetric_elements_have_their_matrix_logarithm(seed, n):
    a = noise(seed, n, n)
    g = torch.linalg.matrix_exp(0.4 * (a + a.mT))
    close(lie.polar_factors(g).log_p, torch.from_numpy(scipy.linalg.logm(g.numpy())), 1e-10)
    close(lie.polar_factors(g).rotation, torch.eye(n, dtype=torch.float64), 1e-10)


@given(angle=st.floats(-math.pi, math.pi, exclude_min=True))
def test_a_rotation_of_the_plane_has_its_angle(angle):
    turn = lie.rotation_exp(torch.tensor([angle], dtype=torch.float64), 2)
    close(lie.polar_coordinates(turn), torch.tensor([0, 0, 0, angle], dtype=torch.float64), 1e-12)


@settings(max_examples=15)
@given(seed=SEEDS)
def test_the_plane_in_closed_form_is_the_svd(seed):
    g = GLPlus(2).sample((50,), radius=0.75, generator=generator(seed), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(g)
    log_p, rotation = lie.polar_factors(g)
    close(rotation, u @ vh, 1e-9)
    close(log_p, u @ torch.diag_embed(s.log()) @ u.mT, 1e-9)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("where", ["generic", "identity", "rotation", "nearly a rotation"])
def test_gradients_are_right_where_singular_values_coincide(n, where):
    dimension = lie.polar_dimension(n)
    v = 0.3 * noise(n, 2, dimension)
    if where != "generic":
        v[:, : n * (n + 1) // 2] *= 1e-9 if where == "nearly a rotation" else 0
    if where == "identity":
        v = torch.zeros_like(v)
    g = lie.from_polar_coordinates(v, n).requires_grad_()
    assert torch.autograd.gradcheck(lie.polar_coordinates, g)
    assert torch.autograd.gradcheck(lambda x: lie.from_polar_coordinates(x, n), v.requires_grad_())


def test_functions_of_symmetric_matrices_and_their_derivatives():
    a = noise(0, 4, 3, 3)
    s = torch.cat([a @ a.mT + 0.5 * torch.eye(3), 2 * torch.eye(3, dtype=torch.float64)[None]])
    pairs = {
        lie.symmetric_log: scipy.linalg.logm,
        lie.symmetric_exp: scipy.linalg.expm,
        lie.symmetric_sqrt: scipy.linalg.sqrtm,
        lie.symmetric_inverse_sqrt: lambda m: np.linalg.inv(scipy.linalg.sqrtm(m)),
    }
    for ours, theirs in pairs.items():
        close(ours(s), torch.from_numpy(np.stack([theirs(m) for m in s.numpy()])), 1e-8)

        def symmetric(x, f=ours):
            return f((x + x.mT) / 2)

        assert torch.autograd.gradcheck(symmetric, s.clone().requires_grad_(), check_forward_ad=True)
        mapped = torch.func.vmap(torch.func.jacrev(symmetric))(s)
        close(mapped, torch.func.vmap(torch.func.jacfwd(symmetric))(s), 1e-10)
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.gradgradcheck(lie.symmetric_log, s[:1].clone().requires_grad_())


def test_eigenvalues_with_finite_gradients():
    a = noise(1, 3, 4, 4)
    s = (a + a.mT).requires_grad_()

    def projector(m):
        values, vectors = lie.eigh_safe((m + m.mT) / 2)
        return values, vectors[..., :1] * vectors[..., :1].mT

    assert torch.autograd.gradcheck(projector, s)
    equal = torch.eye(4, dtype=torch.float64, requires_grad=True)
    values, vectors = lie.eigh_safe(equal)
    (values.square().sum() + (vectors * noise(2, 4, 4)).sum()).backward()
    close(equal.grad, 2 * torch.eye(4, dtype=torch.float64), 1e-12)


@settings(max_examples=10)
@given(seed=SEEDS, dtype=DTYPES, n=st.integers(2, 5))
def test_the_nearest_orthogonal_matrix(seed, dtype, n):
    m = noise(seed, 4, n, n, dtype=dtype)
    for special in (False, True):
        r = lie.nearest_orthogonal(m, special=special)
        close(r @ r.mT, torch.eye(n, dtype=dtype).expand(4, n, n), 10 * ATOL[dtype])
        values = torch.linalg.svdvals(m)
        sign = torch.linalg.det(m).sign() if special else 1
        best = values[:, :-1].sum(-1) + sign * values[:, -1]
        close((r * m).sum((-2, -1)), best, 100 * ATOL[dtype])
        if special:
            close(torch.linalg.det(r), torch.ones(4, dtype=dtype), 10 * ATOL[dtype])
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(lambda x: lie.nearest_orthogonal(x, special=True), m[:1].requires_grad_())


@settings(max_examples=15)
@given(seed=SEEDS, dtype=DTYPES, n=st.sampled_from([1, 2, 3, 4]), size=st.floats(1e-9, 1))
def test_rotation_logarithms(seed, dtype, n, size):
    v = size * noise(seed, 4, n * (n - 1) // 2, dtype=dtype).clamp(-1, 1)
    rotation = lie.rotation_exp(v, n)
    if n < 4:
        close(lie.rotation_log(rotation), v, 5 * ATOL[dtype]) if n > 1 else None
    close(lie.rotation_exp(lie.rotation_log(rotation), n), rotation, 50 * ATOL[dtype])
    if n == 3:
        hat = torch.linalg.cross(v[:, None].double(), torch.eye(3, dtype=torch.float64).expand(4, 3, 3), dim=-1).mT
        close(rotation.double(), torch.linalg.matrix_exp(hat), 5 * ATOL[dtype])


@pytest.mark.parametrize("traceless", [True, False])
def test_the_density_is_that_of_the_sampler_against_haar_measure(traceless):
    """Haar measure by brute force: dS / det(S)^(3/2) on a grid of S in the chart (log det, two shape numbers)."""
    spread = 0.4
    basis = symmetric_basis(2, traceless=traceless, dtype=torch.float64)
    count = len(basis)
    v = 0.5 * noise(3, 20, count)
    log_s = torch.einsum("bk,kij->bij", v, basis)
    g = torch.linalg.matrix_exp(log_s / 2) @ lie.rotation_exp(noise(4, 20, 1), 2)

    def entries(x):
        s = torch.linalg.matrix_exp(torch.einsum("k,kij->ij", x, basis))
        flat = torch.stack([s[0, 0], s[0, 1], s[1, 1]])
        return flat[:2] if traceless else flat

    jacobian = torch.func.vmap(torch.func.jacfwd(entries))(v)
    s = torch.linalg.matrix_exp(log_s)
    # SL(2): the invariant measure of the hyperbolic plane is ds11 ds12 / s11; GL+(2): det(S)^(-3/2) ds
    density = 1 / s[:, 0, 0] if traceless else torch.linalg.det(s) ** -1.5
    log_haar = (torch.linalg.det(jacobian).abs() * density).log()
    gaussian = -(log_s / 2).square().sum((-2, -1)) / (2 * spread**2)
    group = SL(2) if traceless else GLPlus(2)
    difference = group.log_prob(g, radius=spread) - (gaussian - log_haar)
    close(difference, difference[:1].expand(20), 1e-9)  # equal up to the constant that Haar measure leaves open


def test_importance_weights_average_to_one():
    g = SL(2).sample((200,), radius=0.35, generator=generator(0), dtype=torch.float64)
    weights = lie.importance_weights(SL(2).log_prob(g, radius=0.35))
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights.std()) > 0.1


@given(seed=SEEDS, count=st.integers(1, 12))
def test_equidistant_rotations_count_no_rotation_twice(seed, count):
    turns = lie.equidistant_rotations(count, generator=generator(seed), dtype=torch.float64)
    angle = torch.sort(torch.atan2(turns[:, 1, 0], turns[:, 0, 0])).values
    gaps = torch.cat([angle[1:] - angle[:-1], angle[:1] + 2 * math.pi - angle[-1:]])
    close(gaps, torch.full_like(gaps, 2 * math.pi / count), 1e-9)


def test_bad_input():
    flip = torch.diag(torch.tensor([1.0, -1.0]))
    with pytest.raises(GroupMembershipError, match=r"GL\+\(2\) needs det>0"):
        lie.polar_factors(flip)
    with pytest.raises(ValueError, match=r"GL\+\(3\) needs det>0.*\[1\]"):
        lie.polar_coordinates(torch.stack([torch.eye(3), -torch.eye(3)]))
    for n in (2, 3):
        nearly = torch.eye(n).repeat(4, 1, 1)
        nearly[2, 0, 0] = 1e-9
        with pytest.raises(GroupMembershipError, match=r"\[2\] is singular"):
            lie.polar_coordinates(nearly)
    with pytest.raises(ValueError, match="4 coordinates"):
        lie.from_polar_coordinates(torch.zeros(3), 2)
    with pytest.raises(ValueError, match="at least one"):
        lie.equidistant_rotations(0)
    nothing = torch.full((1, 2, 2), torch.nan)
    assert bool(lie.polar_coordinates(nothing).isnan().any())
    assert lie.polar_coordinates(torch.zeros(0, 2, 2)).shape == (0, 4)
    assert lie.polar_coordinates(torch.zeros(0, 3, 3)).shape == (0, 9)
