"""Densities on SO(3): normalised, equivariant, with modes, samples and entropies that agree with each other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups import SO
from erlangen.groups.harmonics import SO3Grid, wigner_D_all
from erlangen.nn.spheres import RotationDensity, SO3Distribution
from erlangen.nn.spheres.camera import TO_POLAR, in_plane
from erlangen.nn.spheres.rotation_density import grid_rotations

seeds = st.integers(0, 1000)


def _coefficients(seed, l_max=3, batch=2, scale=0.4, dtype=torch.float64):
    count = sum((2 * l + 1) ** 2 for l in range(l_max + 1))
    return scale * torch.randn(batch, count, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _haar(seed, *shape):
    return SO(3).sample(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _turn(x, g, l_max):
    parts, start = [], 0
    for l, d in enumerate(wigner_D_all(l_max, g)):
        size = (2 * l + 1) ** 2
        parts.append((x[:, start : start + size].unflatten(1, (2 * l + 1, 2 * l + 1)) @ d.mT).flatten(1))
        start += size
    return torch.cat(parts, 1)


@given(seeds, st.sampled_from([torch.float64, torch.float32]))
def test_density_sums_to_one_over_the_grid(seed, dtype):
    density = RotationDensity(_coefficients(seed, dtype=dtype), grid_level=1)
    rotations = grid_rotations(1, torch.arange(len(SO3Grid(1)))).to(dtype)
    log_prob = density.log_prob(rotations.expand(2, -1, 3, 3))
    assert torch.allclose(
        log_prob.exp().mean(1), torch.ones(2, dtype=dtype), atol=1e-10 if dtype.itemsize == 8 else 1e-4
    )


@given(seeds)
def test_the_separable_evaluation_is_the_dense_one(seed):
    density = RotationDensity(_coefficients(seed, 4, 3), grid_level=1)
    rotations = TO_POLAR.T @ SO3Grid(1).rotations()
    values = torch.cat([part for _, part in density.on_grid(1)], 1)
    assert torch.allclose(values, density.unnormalized(rotations.expand(3, -1, 3, 3)), atol=1e-10)
    assert torch.allclose(grid_rotations(1, torch.arange(len(rotations))), rotations, atol=1e-12)


@given(seeds)
def test_turned_coefficients_are_a_turned_density(seed):
    x, g, at = _coefficients(seed), _haar(seed), _haar(seed + 1, 2)
    before, after = RotationDensity(x), RotationDensity(_turn(x, g, 3))
    assert torch.allclose(after.unnormalized(g @ at), before.unnormalized(at), atol=1e-10)
    assert torch.allclose(after.log_normalizer, before.log_normalizer, atol=2e-2)
    quarter = in_plane(torch.tensor(math.pi / 2, dtype=torch.float64))  # of the picture: it permutes the grid
    turned = RotationDensity(_turn(x, quarter, 3), grid_level=1)
    assert torch.allclose(turned.log_normalizer, RotationDensity(x, grid_level=1).log_normalizer, atol=1e-10)


@given(seeds)
@settings(max_examples=5)
def test_the_mode_is_a_maximum_and_follows_rotations(seed):
    x, g = _coefficients(seed, 2, scale=0.8), _haar(seed)
    density, turned = RotationDensity(x, grid_level=2), RotationDensity(_turn(x, g, 2), grid_level=2)
    mode = density.mode()
    top = torch.stack([part.amax(1) for _, part in density.on_grid(2)]).amax(0)
    assert bool((density.unnormalized(mode) >= top - 1e-9).all())
    assert torch.allclose(density.unnormalized(mode), turned.unnormalized(turned.mode()), atol=1e-6)


def test_samples_and_entropy_agree():
    density = RotationDensity(_coefficients(0), grid_level=1)
    drawn = density.sample(4000, generator=torch.Generator().manual_seed(1))
    assert drawn.shape == (2, 4000, 3, 3)
    values = density.log_prob(drawn)
    error = values.std(1) / math.sqrt(4000)
    assert bool(((values.mean(1) + density.entropy()).abs() < 4 * error).all())
    assert density.sample(0).shape == (2, 0, 3, 3)


def test_the_uniform_density():
    head = SO3Distribution(2, grid_level=1)
    density = head(torch.zeros(1, head.dim))
    assert torch.allclose(density.log_prob(_haar(0, 1).float()), torch.zeros(1), atol=1e-6)
    assert torch.allclose(density.entropy(), torch.zeros(1), atol=1e-6)


def test_a_peak_against_the_closed_form():
    """exp(κ tr(RᵀM)) has the normaliser I_0(2κ) - I_1(2κ) times e^{κ} (matrix Fisher with equal singular values)."""
    from scipy.special import ive

    kappa = 1.5
    g = _haar(3)
    # tr(Rᵀ g) = Σ_{mn} g_{mn} R_{mn}: degree 1, coefficient (n, m) = κ g_{mn} / √3
    x = torch.zeros(1, 10, dtype=torch.float64)
    x[0, 1:] = (kappa * g.mT / math.sqrt(3)).flatten()
    density = RotationDensity(x, grid_level=3)
    expected = math.log(ive(0, 2 * kappa) - ive(1, 2 * kappa)) + 3 * kappa
    assert abs(float(density.log_normalizer) - expected) < 1e-3
    assert torch.allclose(density.mode()[0], g, atol=1e-6)


@pytest.mark.parametrize("level", [2])
def test_gradients_reach_the_coefficients(level):
    x = _coefficients(0).requires_grad_()
    at = _haar(5, 2)
    RotationDensity(x, grid_level=level).log_prob(at).sum().backward()
    with torch.no_grad():
        shift = torch.zeros_like(x)
        shift[0, 7] = 1e-6
        up, down = (RotationDensity(x + s * shift, grid_level=level).log_prob(at).sum() for s in (1, -1))
    assert math.isclose(float(x.grad[0, 7]), float(up - down) / 2e-6, rel_tol=1e-5)


def test_bad_input():
    density = RotationDensity(_coefficients(0))
    with pytest.raises(ValueError, match="not a rotation"):
        density.log_prob(2 * _haar(0, 2))
    with pytest.raises(ValueError, match="not a rotation"):
        density.log_prob(-_haar(0, 2))
    with pytest.raises(ValueError, match="rotation: shape"):
        density.log_prob(_haar(0, 3))
    with pytest.raises(ValueError, match="1, 10, 35"):
        RotationDensity(torch.zeros(1, 11))
    with pytest.raises(ValueError, match="finite"):
        RotationDensity(torch.full((1, 10), float("nan")))
    with pytest.raises(ValueError, match="l_max"):
        SO3Distribution(-1)
    with pytest.raises(ValueError, match="level"):
        SO3Distribution(1, 12)
    with pytest.raises(ValueError, match="expected 10"):
        SO3Distribution(1)(torch.zeros(2, 35))
