"""Signals on the sphere against spherical harmonics, which know exactly how they turn."""

import pytest
import torch

from erlangen.groups import actions, parse, spherical_harmonics, wigner_D
from erlangen.groups.actions.sphere import sphere_grid

from .strategies import draws


def harmonics(size: int) -> torch.Tensor:
    """Degree 3 on the grid, `[7, size, 2 size]`."""
    return spherical_harmonics(3, sphere_grid(size, 2 * size), normalization="component")[3].movedim(-1, 0)


@pytest.mark.parametrize("name", ["SO(3)", "SE(3)", "Octahedral"])
def test_harmonics_turn_by_wigner_matrices(name):
    """Y(g⁻¹u) = D(g)ᵀ Y(u), with an error that falls like the square of the grid."""
    group = parse(name)
    (g,) = draws(group, 3, 1, (4,))
    d = wigner_D(3, group.point_matrix(g, 3, torch.float64))
    errors = []
    for size in (24, 48):
        y = harmonics(size)
        expected = torch.einsum("bmn,mhw->bnhw", d, y)
        moved = actions.from_type("sphere", group)(g, y.expand(4, *y.shape))
        errors.append(float((moved - expected).abs().max()))
    assert errors[1] < 0.35 * errors[0] or errors[1] < 1e-10


def test_turns_about_the_pole_roll_columns():
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    g = parse("SO(3)").exp(torch.tensor([0.0, torch.pi / 2, 0.0], dtype=torch.float64))
    torch.testing.assert_close(actions.Sphere(parse("SO(3)"))(g, x), x.roll(3, -1), atol=1e-12, rtol=0)


def test_odd_widths_and_plane_groups_are_refused():
    with pytest.raises(ValueError, match="even W"):
        actions.Sphere(parse("SO(3)"))(torch.eye(3), torch.randn(6, 11))
    with pytest.raises(ValueError, match="cannot act on 'sphere'"):
        actions.from_type("sphere", "SO(2)")
