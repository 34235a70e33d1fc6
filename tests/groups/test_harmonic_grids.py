"""Grids on the sphere, on SO(3) and on the plane: exact integrals, equal volumes, and how their functions turn."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups.harmonics import (
    S2Grid,
    SO3Grid,
    circular_harmonics,
    gaunt_coefficients,
    spherical_harmonics,
    wigner_D,
)

from .strategies import seeds


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 12), st.sampled_from(["integral", "component", "norm"]), seeds)
def test_there_and_back(l_max, normalization, seed):
    grid = S2Grid(l_max)
    c = noise(3, (l_max + 1) ** 2, seed=seed)
    signal = grid.to_grid(c, normalization=normalization)
    harmonics = torch.cat(spherical_harmonics(l_max, grid.points, normalization=normalization), -1)
    torch.testing.assert_close(signal, torch.einsum("tpk,bk->btp", harmonics, c), atol=1e-10, rtol=0)
    torch.testing.assert_close(grid.from_grid(signal, normalization=normalization), c, atol=1e-11, rtol=0)
    single = grid.from_grid(grid.to_grid(c.float(), normalization=normalization), normalization=normalization)
    torch.testing.assert_close(single, c.float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("l_max", [2, 5, 10])
def test_products_of_three_are_integrated_exactly_and_one_size_less_is_not(l_max):
    c = noise(2, (l_max + 1) ** 2)
    expected = torch.zeros((l_max + 1) ** 2, dtype=torch.float64)
    for l1 in range(l_max + 1):
        for l2 in range(l_max + 1):
            for l3 in range(l_max + 1):
                a, b = (c[i, l * l : (l + 1) ** 2] for i, l in ((0, l1), (1, l2)))
                expected[l3**2 : (l3 + 1) ** 2] += torch.einsum("i,j,ijk->k", a, b, gaunt_coefficients(l1, l2, l3))

    def product(grid):
        return grid.from_grid(grid.to_grid(c[0]) * grid.to_grid(c[1]))

    exact = S2Grid(l_max, exact_for=3)
    assert exact.n_phi == 3 * l_max + 1 and exact.n_theta == 3 * l_max // 2 + 1
    torch.testing.assert_close(product(exact), expected, atol=1e-11, rtol=0)
    for smaller in ({"n_theta": exact.n_theta - 1}, {"n_phi": exact.n_phi - 1}):
        assert (product(S2Grid(l_max, exact_for=3, **smaller)) - expected).abs().max() > 1e-3


def test_weights_are_the_area():
    grid = S2Grid(5)
    assert abs(grid.weights.sum() - 4 * math.pi) < 1e-12 and grid.points.shape == (*grid.shape, 3)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_rotation_grid_is_even(level):
    grid = SO3Grid(level)
    assert len(grid) == 72 * 8**level and abs(grid.cell_volume * len(grid) - 1) < 1e-15
    r = grid.rotations()
    torch.testing.assert_close(r @ r.mT, torch.eye(3, dtype=torch.float64).expand_as(r), atol=1e-14, rtol=0)
    assert torch.linalg.det(r).min() > 0.999
    # Equal volumes: D¹ averages to exactly zero, D² to little, and less on finer grids.
    assert r.mean(0).abs().max() < 1e-14
    assert wigner_D(2, r).mean(0).abs().max() < 0.06 * 4.0**-level
    # The image of the pole is the pixel centre; parts are the parts of the whole.
    torch.testing.assert_close(r[:: grid.n_turns, :, 1], grid.directions(), atol=1e-15, rtol=0)
    torch.testing.assert_close(grid.rotations(7, 31), r[7:31], atol=0, rtol=0)


def test_the_first_healpix_pixels_are_those_of_the_paper():
    """n_side = 1: three rings of four at heights 2/3, 0, -2/3; the outer ones are turned by 45 degrees."""
    alpha, beta = SO3Grid(0).pixels()
    heights = torch.cos(beta).reshape(3, 4)
    torch.testing.assert_close(
        heights, torch.tensor([2 / 3, 0, -2 / 3]).double()[:, None].expand(3, 4), atol=1e-7, rtol=0
    )
    quarter = torch.arange(4).double() * math.pi / 2
    torch.testing.assert_close(
        alpha.reshape(3, 4), torch.stack([quarter + math.pi / 4, quarter, quarter + math.pi / 4])
    )


def test_a_fine_rotation_grid_costs_nothing_until_asked():
    grid = SO3Grid(8)
    assert len(grid) == 72 * 8**8 and grid.rotations(10**9, 10**9 + 3).shape == (3, 3, 3)


@pytest.mark.parametrize("size", [8, 9])
def test_circular_harmonics_turn_by_their_order(size):
    table = circular_harmonics(size, 3, 3)
    turned = torch.rot90(table, 1, (-2, -1))  # counter-clockwise
    for m in range(4):
        cosine, sine = table[1:, 3 + m], table[1:, 3 - m]
        c, s = math.cos(m * math.pi / 2), math.sin(m * math.pi / 2)
        # f(g⁻¹ u): cos m(φ - 90°) = cos mφ cos(m 90°) + sin mφ sin(m 90°), up to the norms, which agree for odd m
        expected = c * cosine + s * sine if m % 2 else c * cosine
        torch.testing.assert_close(turned[1:, 3 + m], expected, atol=1e-12, rtol=0)
    assert not table[0, [0, 1, 2, 4, 5, 6]].any()
    torch.testing.assert_close(table[1:].flatten(2).norm(dim=-1), torch.ones(2, 7, dtype=torch.float64))


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="exact_for: expected at least 1"):
        S2Grid(2, exact_for=0)
    with pytest.raises(ValueError, match="coefficients: expected"):
        S2Grid(2).to_grid(torch.zeros(8))
    with pytest.raises(ValueError, match="signal: expected"):
        S2Grid(2).from_grid(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="level: expected 0 to 8"):
        SO3Grid(9)
    with pytest.raises(ValueError, match="m_max: 99"):
        circular_harmonics(8, 99, 2)
