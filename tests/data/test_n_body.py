"""Charged particles: conserved quantities, symmetry, and a solution known in closed form."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data.n_body import Trajectories, charged_particles


@given(st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_energy_and_momentum_are_conserved(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    data = charged_particles(3, steps=200, dt=1e-3, snapshots=3, generator=generator, dtype=torch.float64)
    energy = data.energy()
    assert torch.allclose(energy[:, 1:], energy[:, :1].expand(3, 2), atol=2e-3, rtol=2e-3)
    momentum = data.velocities.sum(2)
    assert torch.allclose(momentum[:, 1:], momentum[:, :1].expand(3, 2, 3), atol=1e-9)
    assert data.times.tolist() == pytest.approx([0.0, 0.2, 0.4])


def test_the_error_of_leapfrog_falls_with_the_square_of_the_step() -> None:
    def end(steps: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return charged_particles(4, steps=steps, dt=0.5 / steps, generator=generator, dtype=torch.float64).positions[
            :, -1
        ]

    best = end(4000)
    ratio = (end(250) - best).norm() / (end(500) - best).norm()
    assert 3.5 < float(ratio) < 4.6


def test_one_particle_flies_straight_on() -> None:
    data = charged_particles(5, particles=1, steps=100, dt=0.01, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(data.positions[:, 1], data.positions[:, 0] + data.velocities[:, 0], atol=1e-6)
    assert torch.allclose(data.velocities[:, 0].norm(dim=-1), torch.full((5, 1), 0.5))


def test_the_energy_of_a_pair_is_coulombs() -> None:
    x = torch.tensor([[[[0.0, 0, 0], [3.0, 4.0, 0]]]], dtype=torch.float64)
    pair = Trajectories(x, torch.zeros_like(x), torch.tensor([[1.0, -1.0]], dtype=torch.float64), torch.zeros(1))
    assert float(pair.energy(softening=1e-6)) == pytest.approx(-1 / 5)


def test_seeds_and_sizes() -> None:
    one, two = (charged_particles(2, steps=5, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.positions, two.positions)
    assert one.positions.shape == (2, 2, 5, 3)
    assert set(one.charges.flatten().tolist()) <= {-1.0, 1.0}
    assert bool(one.positions.isfinite().all())
    with pytest.raises(ValueError, match="at least 1"):
        charged_particles(0)
    with pytest.raises(ValueError, match="positive"):
        charged_particles(1, dt=math.nan)
