"""Spheres, tori and SU(n): tangent spaces, volumes, divergences, and the calculus on eigenphases."""

import cmath
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups.eigenphases import eigenphases, from_eigenphases, log_vandermonde, radial_divergence, zero_sum
from erlangen.groups.manifolds import SpecialUnitary, Sphere, Torus, riemannian_divergence
from erlangen.groups.rotation_manifold import SpecialOrthogonal

ROTATIONS = [SpecialOrthogonal(2), SpecialOrthogonal(3), SpecialOrthogonal(4)]
UNITARY = [SpecialUnitary(2), SpecialUnitary(3), SpecialUnitary(4)]
MANIFOLDS = [*ROTATIONS, *UNITARY, Sphere(1), Sphere(2), Sphere(4), Torus(3)]
DTYPES = [torch.float64, torch.float32]
seeds = st.integers(0, 10_000)


def _generator(seed):
    return torch.Generator().manual_seed(seed)


@given(st.sampled_from(MANIFOLDS), st.sampled_from(DTYPES), seeds)
def test_tangent_bases_are_orthonormal_and_tangent(manifold, dtype, seed):
    x = manifold.sample((5,), generator=_generator(seed), dtype=dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert bool(manifold.contains(x, 10 * tolerance).all())
    basis = manifold.tangent_basis(x)
    assert basis.shape == (5, manifold.dim, *manifold.shape) and basis.dtype == x.dtype
    point = x[:, None].expand_as(basis)
    gram = manifold.inner(basis[:, :, None], basis[:, None, :])
    assert torch.allclose(gram, torch.eye(manifold.dim, dtype=gram.dtype), atol=20 * tolerance)
    assert torch.allclose(manifold.project_tangent(point, basis), basis, atol=20 * tolerance)
    ambient = torch.randn(x.shape, dtype=x.dtype, generator=_generator(seed + 1))
    tangent = manifold.project_tangent(x, ambient)
    parts = manifold.inner(basis, ambient[:, None])
    rebuilt = (parts.reshape(*parts.shape, *(1,) * len(manifold.shape)) * basis).sum(1)
    assert torch.allclose(tangent, rebuilt, atol=50 * tolerance)


@given(st.sampled_from(MANIFOLDS), seeds)
def test_projection_brings_points_back(manifold, seed):
    x = manifold.sample((4,), generator=_generator(seed), dtype=torch.float64)
    moved = x + 1e-3 * torch.randn(x.shape, dtype=x.dtype, generator=_generator(seed + 1))
    assert bool(manifold.contains(manifold.project(moved), 1e-12).all())
    assert torch.allclose(manifold.project(moved), moved, atol=1e-2)


def test_volumes():
    assert math.isclose(Sphere(2).volume, 4 * math.pi) and math.isclose(Sphere(3).volume, 2 * math.pi**2)
    # SU(2) with Re tr A†B is the three-sphere of radius √2
    assert math.isclose(SpecialUnitary(2).volume, 2 * math.pi**2 * 2**1.5)
    # SO(3) is half of SU(2), at twice the scale of tr AᵀB in the defining representation of SU(2)
    assert math.isclose(SpecialOrthogonal(3).volume, SpecialUnitary(2).volume / 2 * 2**3)
    assert math.isclose(SpecialUnitary(3).volume, math.sqrt(3) * (2 * math.pi) ** 5 / 2)


@settings(max_examples=4)
@given(seeds)
def test_divergence_of_known_fields(seed):
    """Δ(x·e) = -d x·e on S^d; Δ Re tr U = -(n² - 1)/n Re tr U on SU(n): Casimir of the defining representation."""
    sphere = Sphere(3)
    x = sphere.sample((4,), generator=_generator(seed), dtype=torch.float64)
    axis = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    found = riemannian_divergence(sphere, lambda y: sphere.project_tangent(y, axis.expand_as(y)), x)
    assert torch.allclose(found, -3 * x @ axis, atol=1e-10)
    group = SpecialUnitary(3)
    u = group.sample((4,), generator=_generator(seed), dtype=torch.float64)
    eye = torch.eye(3, dtype=u.dtype)
    turns = SpecialOrthogonal(3)
    r = turns.sample((4,), generator=_generator(seed), dtype=torch.float64)
    found = riemannian_divergence(
        turns, lambda y: turns.project_tangent(y, torch.eye(3, dtype=y.dtype).expand_as(y)), r
    )
    assert torch.allclose(found, -torch.diagonal(r, dim1=-2, dim2=-1).sum(-1), atol=1e-10)  # (n - 1)/2 for tr AᵀB
    found = riemannian_divergence(group, lambda y: group.project_tangent(y, eye.expand_as(y)), u)
    trace = torch.diagonal(u, dim1=-2, dim2=-1).sum(-1).real
    assert torch.allclose(found, -8 / 3 * trace, atol=1e-10)


def test_hutchinson_is_unbiased():
    sphere = Sphere(2)
    x = sphere.sample((3,), generator=_generator(0), dtype=torch.float64)

    def field(y):
        return sphere.project_tangent(y, y.square() * y.new_tensor([1.0, -2.0, 0.5]))

    exact = riemannian_divergence(sphere, field, x)
    rough = riemannian_divergence(sphere, field, x, method="hutchinson", probes=20_000, generator=_generator(1))
    assert torch.allclose(rough, exact, atol=0.15)
    with pytest.raises((ValueError, TypeError), match="method"):
        riemannian_divergence(sphere, field, x, method="approximate")
    with pytest.raises(ValueError, match="probes"):
        riemannian_divergence(sphere, field, x, method="hutchinson", probes=0)


@given(st.sampled_from([2, 3, 5]), st.sampled_from(DTYPES), seeds)
def test_eigenphases_rebuild_the_matrix(n, dtype, seed):
    u = SpecialUnitary(n).sample((6,), generator=_generator(seed), dtype=dtype)
    phases, vectors = eigenphases(u)
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4
    assert torch.allclose(from_eigenphases(phases, vectors), u, atol=tolerance)
    assert float(phases.sum(-1).abs().max()) < 10 * tolerance
    assert bool((phases.diff(dim=-1) <= 0).all()) and float(phases[:, 0].sub(phases[:, -1]).max()) <= 2 * math.pi
    assert torch.allclose(zero_sum(phases + 2 * math.pi), phases, atol=10 * tolerance)


def test_eigenphases_of_degenerate_matrices():
    eye = torch.eye(3, dtype=torch.complex128)
    for u in (eye, eye * cmath.exp(2j * math.pi / 3), torch.diag(torch.tensor([1, -1, -1])).to(eye)):
        phases, vectors = eigenphases(u)
        assert torch.allclose(from_eigenphases(phases, vectors), u, atol=1e-12)
        assert abs(float(phases.sum())) < 1e-12


@pytest.mark.parametrize("n", [2, 3])
def test_weyl_integration(n):
    """The density of the phases integrates to 1, and class functions have their Haar averages: E|tr U|² = 1."""
    grid = torch.arange(90, dtype=torch.float64) * (2 * math.pi / 90) + 0.017
    free = torch.stack(torch.meshgrid(*(grid,) * (n - 1), indexing="ij"), -1).reshape(-1, n - 1)
    phases = torch.cat([free, -free.sum(-1, keepdim=True)], -1)
    weight = log_vandermonde(phases).exp() / len(phases)
    assert abs(float(weight.sum()) - 1) < 1e-9
    trace = torch.polar(torch.ones_like(phases), phases).sum(-1)
    assert abs(float((weight * trace.abs().square()).sum()) - 1) < 1e-9


@given(seeds, st.sampled_from([2, 3, 4]))
def test_radial_divergence_against_all_tangent_directions(seed, n):
    """The field of φ = Re tr U² + (Im tr U)² on the torus, and brute force over the n² - 1 tangent directions."""
    group = SpecialUnitary(n)
    u = group.sample((4,), generator=_generator(seed), dtype=torch.float64)

    def ambient(y):
        trace = torch.diagonal(y, dim1=-2, dim2=-1).sum(-1)[..., None, None]
        eye = torch.eye(n, dtype=y.dtype)
        return group.project_tangent(y, 2 * y.mH + 2j * trace.imag * eye)

    brute = riemannian_divergence(group, ambient, u)
    phases = eigenphases(u)[0]

    def phi(theta):
        return torch.cos(2 * theta).sum() + torch.sin(theta).sum().square()

    gradient = torch.func.vmap(torch.func.grad(phi))(phases)
    hessian = torch.func.vmap(torch.func.hessian(phi))(phases)
    velocity = gradient - gradient.mean(-1, keepdim=True)
    diagonal = torch.diagonal(hessian, dim1=-2, dim2=-1)
    trace = diagonal.sum(-1) - hessian.sum((-2, -1)) / n
    found = radial_divergence(phases, velocity, trace, torch.zeros_like(phases))
    assert torch.allclose(found, brute, rtol=1e-8, atol=1e-8)


def test_radial_divergence_where_phases_meet():
    """The limit 2 (F_jj - F_jk) joins the values around it."""
    values = []
    for gap in (1e-3, 1e-9, 0.0):
        phases = torch.tensor([0.4 + gap, 0.4, -0.8 - gap], dtype=torch.float64)
        force, bend = -torch.sin(phases), -torch.cos(phases)  # φ = Re tr U
        trace = bend.sum() * (1 - 1 / 3)
        values.append(float(radial_divergence(phases, force - force.mean(), trace, bend)))
        assert math.isclose(values[-1], -8 / 3 * float(torch.cos(phases).sum()), rel_tol=1e-6)
    assert math.isclose(values[0], values[2], rel_tol=1e-2)


def test_points_off_the_manifold_are_refused():
    for manifold, shape in itertools.product(MANIFOLDS, [(7,), (2, 9)]):
        with pytest.raises(ValueError, match="x: shape"):
            manifold.check(torch.zeros(shape))
    with pytest.raises(ValueError, match="project"):
        Sphere(2).check(torch.tensor([1.0, 1.0, 0.0]))
    with pytest.raises(ValueError, match="away"):
        Sphere(2).check(torch.tensor([float("nan"), 1.0, 0.0]))
    with pytest.raises(ValueError, match="away"):
        Torus(2).check(torch.tensor([float("inf"), 1.0]))
    with pytest.raises(ValueError, match="away"):
        SpecialUnitary(2).check(1j * torch.eye(2, dtype=torch.complex128) * 1j * 1.1)
    for bad in (lambda: Sphere(0), lambda: Torus(0), lambda: SpecialUnitary(1)):
        with pytest.raises(ValueError, match="given"):
            bad()
