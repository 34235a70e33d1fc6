"""An interatomic potential: energies that no motion changes, forces that are their gradients, molecules apart."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups.symmetry import Symmetry
from erlangen.nn.points import Forces, GauntTensorProduct, Interatomic, energy_and_forces
from erlangen.nn.points.gaunt_message import GauntMessage
from erlangen.nn.points.interaction import functions
from erlangen.nn.points.radial import bessel_basis
from erlangen.testing import check

seeds = st.integers(0, 1000)
COUPLINGS = ["gaunt", "clebsch_gordan"]


def potential(seed: int, **options) -> Interatomic:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Interatomic((1, 6, 8), **{"channels": 4, "radial_basis": 4, "cutoff": 4.0, **options}).double()


def atoms(seed: int, frames: int = 2, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    species = torch.tensor([1, 6, 8])[torch.randint(3, (frames, count), generator=generator)]
    return torch.randn(frames, count, 3, dtype=torch.float64, generator=generator) * 1.5, species


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_energy_is_invariant_and_forces_turn_with_the_molecule(coupling):
    x = atoms(0)
    model = potential(0, coupling=coupling, correlation=3)
    group = "E(3) x S(n)"
    check(model, Symmetry(group, input=("points", "mask"), output="invariant"), x).raise_if_failed()
    check(Forces(model), Symmetry(group, input=("points", "mask"), output="vectors"), x).raise_if_failed()


@settings(max_examples=4)
@given(seeds, st.sampled_from(COUPLINGS))
def test_forces_are_the_gradient_of_the_energy_and_add_up_to_nothing(seed, coupling):
    model, (positions, species) = potential(seed, coupling=coupling), atoms(seed, 1)
    _, forces = energy_and_forces(model, positions, species)
    step = torch.zeros_like(positions)
    step[0, 2, 1] = 1e-5
    slope = (model(positions + step, species) - model(positions - step, species)) / 2e-5
    torch.testing.assert_close(forces[0, 2, 1], -slope[0], atol=1e-6, rtol=1e-6)
    assert forces.sum(1).abs().max() < 1e-10


@settings(max_examples=4)
@given(seeds)
def test_molecules_of_a_batch_do_not_see_each_other_nor_empty_places(seed):
    model, (positions, species) = potential(seed), atoms(seed)
    alone = torch.cat([model(positions[i : i + 1], species[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(model(positions, species), alone)
    padded = torch.cat([positions, torch.zeros(2, 2, 3, dtype=torch.float64)], 1)
    with_gaps = torch.cat([species, torch.zeros(2, 2, dtype=species.dtype)], 1)
    torch.testing.assert_close(model(padded, with_gaps), alone)


def test_far_atoms_are_free_and_the_cutoff_is_smooth():
    model = potential(0, layers=1)
    species = torch.tensor([[6, 1]])

    def energy(distance: float) -> torch.Tensor:
        return model(torch.tensor([[[0.0, 0, 0], [0, distance, 0]]], dtype=torch.float64), species)

    torch.testing.assert_close(energy(4.0 + 1e-9), energy(7.0), atol=0, rtol=0)
    assert abs(energy(4.0 - 1e-3) - energy(7.0)) < 1e-6 and abs(energy(2.0) - energy(7.0)) > 1e-5
    basis = bessel_basis(torch.tensor([1.0, 3.999, 4.5], dtype=torch.float64), 4.0, 3)
    assert basis[0].abs().min() > 0.05 and basis[1].abs().max() < 1e-6 and not basis[2].any()


def test_training_on_forces_reaches_every_parameter():
    for coupling in COUPLINGS:
        model, (positions, species) = potential(0, coupling=coupling, correlation=3), atoms(0)
        energy, forces = energy_and_forces(model, positions, species)
        (energy.square().sum() + forces.square().sum()).backward()
        idle = [name for name, p in model.named_parameters() if p.grad is None]
        assert not idle, idle


def test_shift_and_scale_come_from_the_data():
    model, (_, species) = potential(0), atoms(3, 20)
    truth = {1: -1.0, 6: -30.0, 8: -60.0}
    energies = torch.tensor([sum(truth[int(z)] for z in row) for row in species], dtype=torch.float64)
    model.fit_scale(species, energies, torch.full((20, 5, 3), 2.0, dtype=torch.float64))
    torch.testing.assert_close(model.shift, torch.tensor(list(truth.values()), dtype=torch.float64), atol=1e-8, rtol=0)
    assert model.scale == 2.0


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"species: \[7\] occur"):
        potential(0)(torch.zeros(1, 1, 3, dtype=torch.float64), torch.tensor([[7]]))
    with pytest.raises(ValueError, match="l_hidden, l_max"):
        potential(0, l_hidden=3)
    with pytest.raises(ValueError, match=r"species: got \[0\]"):
        Interatomic((0,))
    nan = torch.full((1, 2, 3), torch.nan, dtype=torch.float64)
    assert torch.isnan(potential(0)(nan, torch.tensor([[1, 6]]))).all()


@settings(max_examples=6)
@given(seeds, st.integers(0, 2), st.integers(0, 3))
def test_messages_are_sums_of_gaunt_products(seed, l_in, l_edge):
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    kinds = (functions(l_in), functions(l_edge), functions(min(l_edge, l_in + l_edge)))
    one = GauntTensorProduct(*kinds, channels=2, weight="none").double()
    sender, receiver = torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1])
    h, y, w = noise(3, 2, (l_in + 1) ** 2), noise(4, (l_edge + 1) ** 2), noise(4, 2, l_edge + 1)
    weighted = y[:, None] * w.repeat_interleave(2 * torch.arange(l_edge + 1) + 1, -1)
    products = one(h[sender], weighted)
    expected = torch.zeros(3, *products.shape[1:], dtype=torch.float64).index_add(0, receiver, products)
    message = GauntMessage(l_in, l_edge, l_edge).double()
    torch.testing.assert_close(message(h, y, w, sender, receiver), expected, atol=1e-12, rtol=0)
