"""Equivariant manifold flows: invariant densities, inverses, normalisation, and quadrature as the outside fact."""

import cmath
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups.eigenphases import eigenphases, log_vandermonde
from erlangen.groups.manifolds import SpecialUnitary, Sphere, Torus, riemannian_divergence
from erlangen.groups.rotation_manifold import SpecialOrthogonal
from erlangen.nn.flows import (
    ClassFunctionPotential,
    EquivariantManifoldFlow,
    Potential,
    RidgePotential,
    SymmetrizedPotential,
    TorusPotential,
    ZonalPotential,
)
from erlangen.testing import check

seeds = st.integers(0, 1000)
F64 = torch.float64


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _awake(potential, seed=0, scale=0.1):
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=_generator(seed)))
    return potential


def _tetrahedral():
    from erlangen.groups import Tetrahedral

    group = Tetrahedral()
    return group.matrix(group.elements(), torch.float64)


def _cases():
    plane = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    return {
        "SU(2)": (SpecialUnitary(2), ClassFunctionPotential(2, 8)),
        "SU(3)": (SpecialUnitary(3), ClassFunctionPotential(3, 8)),
        "zonal": (Sphere(3), ZonalPotential(torch.tensor([1.0, 0.0, 2.0, 0.0]), 8)),
        "tetrahedral": (Sphere(2), SymmetrizedPotential(RidgePotential(2, 8), _tetrahedral())),
        "torus": (Torus(2), SymmetrizedPotential(TorusPotential(2, 6), torch.stack([torch.eye(2), plane]))),
    }


CASES = list(_cases())


def _flow(name, dtype=F64, **options):
    torch.manual_seed(1)
    manifold, potential = _cases()[name]
    return EquivariantManifoldFlow(manifold, _awake(potential), **options).to(dtype)


@given(seeds, st.sampled_from([(F64, 1e-10), (torch.float32, 2e-4)]))
def test_conjugation_leaves_the_density_alone(seed, precision):
    dtype, tolerance = precision
    flow = _flow("SU(3)", dtype, steps=5)
    x, g = (SpecialUnitary(3).sample((6,), generator=_generator(seed + k), dtype=dtype) for k in (0, 1000))
    before, after = flow.log_prob(x), flow.log_prob(g @ x @ g.mH)
    assert torch.allclose(before, after, atol=tolerance)
    assert float(before.std()) > 100 * tolerance


def test_the_checker_agrees():
    flow = _flow("SU(3)", steps=1)
    x = SpecialUnitary(3).sample((3,), generator=_generator(0), dtype=F64)
    (symmetry,) = flow.symmetries
    assert check(flow, symmetry, (x,)).verdict == "exact"

    class Tilted(EquivariantManifoldFlow):
        def log_prob(self, u):
            return super().log_prob(u) + u[..., 0, 0].real

    tilted = Tilted(flow.manifold, flow.potential, steps=1)
    assert check(tilted, symmetry, (x,)).verdict == "broken"


@settings(max_examples=5)
@given(seeds)
def test_finite_groups_leave_the_density_alone(seed):
    flow = _flow("tetrahedral", steps=4)
    x = Sphere(2).sample((5,), generator=_generator(seed), dtype=F64)
    turned = torch.einsum("gij,nj->gni", _tetrahedral(), x)
    assert torch.allclose(flow.log_prob(turned), flow.log_prob(x).expand(12, 5), atol=1e-10)
    torus = _flow("torus", steps=4)
    angles = Torus(2).sample((5,), generator=_generator(seed), dtype=F64)
    assert torch.allclose(torus.log_prob(angles.flip(-1)), torus.log_prob(angles), atol=1e-10)
    assert torch.allclose(torus.log_prob(angles + 2 * math.pi), torus.log_prob(angles), atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_the_inverse_undoes_the_flow(name):
    flow = _flow(name, steps=20)
    x = flow.manifold.sample((8,), generator=_generator(0), dtype=F64)
    y, change = flow.transform(x)
    back, undone = flow.inverse(y)
    assert bool(flow.manifold.contains(y, 1e-10).all())
    assert float((y - x).abs().max()) > 1e-3
    assert torch.allclose(back, x, atol=1e-6)
    assert torch.allclose(change, -undone, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_densities_integrate_to_one(name):
    """E_uniform[p] = 1 within three standard errors, and importance weights of samples average to 1."""
    flow = _flow(name, steps=5)
    with torch.no_grad():
        x = flow.manifold.sample((4000,), generator=_generator(3), dtype=F64)
        p = flow.log_prob(x).exp()
        assert abs(float(p.mean()) - 1) < 3 * float(p.std()) / math.sqrt(len(p)) + 1e-3
        _, log_density = flow.sample_with_log_prob(4000, _generator(4))
        inverse = (-log_density).exp()
    assert abs(float(inverse.mean()) - 1) < 3 * float(inverse.std()) / math.sqrt(len(inverse)) + 1e-3


@pytest.mark.parametrize("name", CASES)
def test_zero_potential_is_the_base(name):
    manifold, potential = _cases()[name]
    flow = EquivariantManifoldFlow(manifold, potential.double(), steps=3)
    x = manifold.sample((5,), generator=_generator(0), dtype=F64)
    assert torch.equal(flow.log_prob(x), torch.zeros(5, dtype=F64))
    assert torch.allclose(flow.transform(x)[0], x, atol=1e-12)


@given(seeds, st.sampled_from(["SU(2)", "SU(3)", "zonal", "tetrahedral", "torus"]))
def test_closed_forms_against_brute_force(seed, name):
    manifold, potential = _cases()[name]
    potential = _awake(potential, seed, 0.3).double()
    x = manifold.sample((4,), generator=_generator(seed), dtype=F64)
    t = torch.tensor(0.4, dtype=F64)
    field, divergence = Potential.field_and_divergence(potential, manifold, t, x)
    if isinstance(potential, ClassFunctionPotential):
        phases, vectors = eigenphases(x)
        velocity, ours = potential.radial(t, phases)
        moved = x @ (vectors * (1j * velocity)[..., None, :]) @ vectors.mH
        assert torch.allclose(potential.value(t, phases), potential(t, x), atol=1e-10)
    else:
        moved, ours = potential.field_and_divergence(manifold, t, x)
    assert torch.allclose(moved, field, atol=1e-9)
    assert torch.allclose(ours, divergence, atol=1e-8)
    again = riemannian_divergence(manifold, lambda y: potential.field(manifold, t, y), x)
    assert torch.allclose(ours, again, atol=1e-8)


def test_phases_and_matrices_agree():
    """The density by the torus of eigenphases and by integrating matrices in ambient coordinates."""

    class Hidden(Potential):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, t, x):
            return self.inner(t, x)

    flow = _flow("SU(3)", steps=10)
    ambient = EquivariantManifoldFlow(SpecialUnitary(3), Hidden(flow.potential), steps=10)
    x = SpecialUnitary(3).sample((3,), generator=_generator(5), dtype=F64)
    assert torch.allclose(flow.log_prob(x), ambient.log_prob(x), atol=1e-5)
    gradients = []
    for route in (flow, ambient):
        flow.zero_grad()
        points, log_density = route.transform(x)
        (log_density + points[:, 0, 0].real).sum().backward()
        gradients.append(flow.potential.weight.grad.clone())
    assert torch.allclose(*gradients, atol=1e-4)


def test_rotations_with_a_potential_of_ones_own():
    """φ = tr R + tr R² / 2 is a class function of SO(3); its flow is invariant, invertible and stays on the group."""

    class Traces(Potential):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(0.4, dtype=F64))

        def forward(self, t, x):
            trace = torch.diagonal(x, dim1=-2, dim2=-1).sum(-1)
            return self.scale * (trace + torch.diagonal(x @ x, dim1=-2, dim2=-1).sum(-1) / 2)

    flow = EquivariantManifoldFlow(SpecialOrthogonal(3), Traces(), steps=10)
    x, g = (SpecialOrthogonal(3).sample((4,), generator=_generator(k), dtype=F64) for k in (0, 1))
    y, change = flow.transform(x)
    assert bool(flow.manifold.contains(y, 1e-12).all())
    assert torch.allclose(flow.inverse(y)[0], x, atol=1e-5)
    assert torch.allclose(flow.log_prob(y), -change, atol=1e-4)
    assert torch.allclose(flow.log_prob(g @ x @ g.mT), flow.log_prob(x), atol=1e-10)


def test_su2_density_against_quadrature():
    """On SU(2) the density of the one free phase integrates to 1, and its moments are those of samples."""
    flow = _flow("SU(2)", steps=20)
    theta = (torch.arange(400, dtype=F64) + 0.5) * (2 * math.pi / 400)
    phases = torch.stack([theta, -theta], -1)
    with torch.no_grad():
        weight = (flow.phase_log_prob(phases) + log_vandermonde(phases)).exp() / 400
        assert abs(float(weight.sum()) - 1) < 1e-5
        samples, _ = flow.sample_phases(6000, _generator(7))
    values = torch.cos(samples[:, 0])
    expected = float((weight * torch.cos(theta)).sum())
    assert abs(float(values.mean()) - expected) < 3.5 * float(values.std()) / math.sqrt(len(values))


def test_repeated_eigenvalues_are_finite():
    flow = _flow("SU(3)", steps=5)
    eye = torch.eye(3, dtype=torch.complex128)
    x = torch.stack([eye, eye * cmath.exp(2j * math.pi / 3), torch.diag(torch.tensor([1.0, -1, -1])) + 0j])
    density = flow.log_prob(x)
    density.sum().backward()
    assert bool(density.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in flow.parameters())


def test_gradients_agree_with_finite_differences():
    flow = _flow("SU(2)", steps=3)
    phases = torch.tensor([[0.7, -0.7], [2.0, -2.0]], dtype=F64)
    parameter = flow.potential.weight
    (gradient,) = torch.autograd.grad(flow.phase_log_prob(phases).sum(), parameter)
    with torch.no_grad():
        values = []
        for shift in (1e-5, -1e-5):
            parameter[0, 0] += shift
            values.append(flow.phase_log_prob(phases).sum())
            parameter[0, 0] -= shift
    assert math.isclose(float(gradient[0, 0]), float(values[0] - values[1]) / 2e-5, rel_tol=1e-5)


def test_su8_is_feasible():
    flow = EquivariantManifoldFlow(SpecialUnitary(8), _awake(ClassFunctionPotential(8, 16)), steps=3)
    x, log_density = flow.sample_with_log_prob(16, _generator(0))
    log_density.sum().backward()
    assert x.shape == (16, 8, 8) and bool(SpecialUnitary(8).contains(x.detach(), 1e-4).all())


def test_bad_input():
    flow = _flow("SU(3)", steps=2)
    x = SpecialUnitary(3).sample((2,), generator=_generator(0), dtype=F64)
    with pytest.raises(ValueError, match="project"):
        flow.log_prob(1.01 * x)
    loose = EquivariantManifoldFlow(flow.manifold, flow.potential, steps=2, project=True)
    assert torch.allclose(loose.log_prob(1.01 * x), flow.log_prob(x), atol=1e-8)
    with pytest.raises(ValueError, match="complex"):
        flow.log_prob(x.real)
    with pytest.raises((ValueError, TypeError), match="solver"):
        EquivariantManifoldFlow(flow.manifold, flow.potential, solver="magic")
    with pytest.raises(ValueError, match="steps"):
        EquivariantManifoldFlow(flow.manifold, flow.potential, steps=0)
    with pytest.raises(ValueError, match="SU"):
        EquivariantManifoldFlow(SpecialUnitary(2), flow.potential)
    with pytest.raises(ValueError, match="closed"):
        SymmetrizedPotential(RidgePotential(1, 2), torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]]))
    with pytest.raises(ValueError, match="orthogonal"):
        SymmetrizedPotential(RidgePotential(1, 2), torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match="axis"):
        ZonalPotential(torch.zeros(3))
    half = SpecialUnitary(3).sample((2,), generator=_generator(0)).to(torch.complex32)
    assert loose.float().log_prob(half).dtype == torch.float32
    assert len(flow.sample(0, _generator(0))) == 0
