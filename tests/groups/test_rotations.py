"""Rotations against SciPy, and the moments of Haar measure."""

import math

import pytest
import torch
from hypothesis import given
from scipy.spatial.transform import Rotation

from erlangen.groups import SO, GroupLogError, O, parse
from erlangen.groups.orthogonal import rotation_angle

from .strategies import draws, seeds


@given(seeds)
def test_exp_and_log_agree_with_scipy(seed):
    (g,) = draws("SO(3)", seed, 1, (20,))
    theirs = Rotation.from_matrix(g.numpy())
    torch.testing.assert_close(SO(3).log(g), torch.from_numpy(theirs.as_rotvec()), atol=1e-9, rtol=1e-9)
    vector = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    matrix = torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix())
    torch.testing.assert_close(SO(3).exp(vector), matrix, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(rotation_angle(g), torch.from_numpy(theirs.magnitude()), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, math.pi - 1e-7, math.pi])
def test_log_is_stable_where_it_is_delicate(angle):
    axis = torch.tensor([0.6, -0.64, 0.48], dtype=torch.float64)
    g = torch.from_numpy(Rotation.from_rotvec((angle * axis).numpy()).as_matrix())
    log = SO(3).log(g)
    torch.testing.assert_close(log.norm(), torch.tensor(angle, dtype=torch.float64), atol=1e-8, rtol=0)
    torch.testing.assert_close(SO(3).exp(log), g, atol=1e-8, rtol=0)


@pytest.mark.parametrize("group", [SO(2), SO(3), SO(5), O(2), O(3)])
def test_haar_moments(group):
    """E[g] = 0 and E[g_ij²] = 1 / n on the orthogonal groups; half of O(n) reflects."""
    count = 40_000
    g = group.sample(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bound = 5 / math.sqrt(count)
    assert g.mean(0).abs().max() < bound
    assert (g.square().mean(0) - 1 / group.n).abs().max() < bound
    share = (torch.linalg.det(g) < 0).double().mean()
    assert abs(float(share) - (0.5 if isinstance(group, O) else 0.0)) < bound


def test_haar_angle_density_on_SO3():
    """The angle has density (1 - cos t) / pi: its mean is pi / 2 + 2 / pi."""
    g = SO(3).sample(40_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert abs(float(rotation_angle(g).mean()) - (math.pi / 2 + 2 / math.pi)) < 0.02


@pytest.mark.parametrize("name", ["C8", "D4", "S4", "Octahedral"])
def test_finite_groups_are_sampled_uniformly(name):
    group = parse(name)
    drawn = group.index(group.sample(group.order * 2000, generator=torch.Generator().manual_seed(2)))
    counts = torch.bincount(drawn, minlength=group.order).double()
    chi_square = float(((counts - 2000) ** 2 / 2000).sum())
    assert chi_square < group.order + 6 * math.sqrt(2 * group.order)


def test_log_prob_is_the_density_of_translations():
    group = parse("T(2)")
    g = group.sample(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, radius=3.0)
    normal = torch.distributions.Normal(0.0, 3.0)
    torch.testing.assert_close(group.log_prob(g, radius=3.0), normal.log_prob(g[:, :2, 2]).sum(-1))


def test_elements_without_logarithm_are_refused():
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    with pytest.raises(GroupLogError, match="half a turn"):
        SO(4).log(half_turn)
    with pytest.raises(GroupLogError, match="determinant -1"):
        O(3).log(torch.diag(torch.tensor([-1.0, 1.0, 1.0])))


def test_projection_repairs_drift():
    (g,) = draws("SO(3)", 0, 1)
    drifted = g + 1e-3 * torch.randn_like(g)
    assert not SO(3).contains(drifted, atol=1e-6).any()
    repaired = SO(3).project(drifted)
    assert SO(3).contains(repaired, atol=1e-9).all() and (repaired - g).abs().max() < 1e-2


def test_plane_rotations_are_exact_at_quarter_turns():
    quarter = parse("C4").matrix(torch.arange(4), torch.float64)
    assert torch.equal(quarter[1], torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64))
    assert torch.equal(quarter[1] @ quarter[3], torch.eye(2, dtype=torch.float64))


def test_dihedral_flip_acts_first_and_mirrors_x():
    flip = parse("D4").plane_matrix((torch.tensor(0), torch.tensor(1)), torch.float64)
    assert torch.equal(flip, torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64)))
    both = parse("D4").plane_matrix((torch.tensor(1), torch.tensor(1)), torch.float64)
    assert torch.equal(both, torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64) @ flip)
