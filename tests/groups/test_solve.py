"""Equivariant linear maps: dimensions known from theory, projections, and agreement of the routes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import Irreps, parse
from erlangen.groups.elements import plane_rotation
from erlangen.groups.representations import FunctionRep
from erlangen.groups.solve import Projector, hom_basis, projector

from .strategies import draws, seeds


def pairs():
    o3, so2, c4, d4, su2 = parse("O(3)"), parse("SO(2)"), parse("C4"), parse("D4"), parse("SU(2)")
    vector = o3.standard()
    axis = o3.subgroup("SO(2)_z")
    both = parse("SO(3) x C4")
    return {
        "O(3) V -> V": (vector, vector, 1),
        "O(3) T2 -> T2": (vector @ vector, vector @ vector, 3),
        "O(3) T3 -> V": (vector @ vector @ vector, vector, 3),
        "O(3) V -> T2": (vector, vector @ vector, 0),
        "SO(3) V -> T2": (parse("SO(3)").standard(), parse("SO(3)").standard() @ parse("SO(3)").standard(), 1),
        "SO(2)_z V -> V": (vector.restrict(axis), vector.restrict(axis), 3),
        "SO(2)_z T2 -> T2": ((vector @ vector).restrict(axis), (vector @ vector).restrict(axis), 19),
        "SO(2) V -> V": (so2.standard(), so2.standard(), 2),
        "C4 regular": (c4.regular(), c4.regular(), 4),
        "D4 regular -> V": (d4.regular(), d4.standard(), 2),
        "SU(2) C2 x C2": (su2.standard() @ su2.standard(), su2.standard() @ su2.standard(), 2),
        "SO(3) x C4": (both.standard(), both.standard(), 3),
        "SL(2) V x V* -> 1": (
            parse("SL(2)").standard() @ parse("SL(2)").standard().dual(),
            parse("SL(2)").trivial(),
            1,
        ),
        "SE(2) V -> V": (parse("SE(2)").standard(), parse("SE(2)").standard(), 1),
        "S4 T2 -> T2": (
            parse("S4").standard() @ parse("S4").standard(),
            parse("S4").standard() @ parse("S4").standard(),
            15,
        ),
        "O(3) irreps": (Irreps("2x0e+3x1o+1x2e"), Irreps("1x0e+2x1o+1x1e"), 8),
    }


@pytest.mark.parametrize("name", pairs())
def test_ranks_are_those_of_theory_and_every_map_commutes(name):
    source, target, rank = pairs()[name]
    basis = source.hom_basis(target)
    assert basis.shape == (rank, target.dim, source.dim)
    flat = basis.flatten(1)
    torch.testing.assert_close(flat.conj() @ flat.mT, torch.eye(rank, dtype=basis.dtype), atol=1e-9, rtol=0)
    for g in draws(source.group, 3, 3, ()):
        left, right = target.matrix(g, torch.float64).to(basis), source.matrix(g, torch.float64).to(basis)
        torch.testing.assert_close(left @ basis, basis @ right, atol=1e-8, rtol=0)


@given(st.sampled_from(sorted(pairs())), seeds, st.sampled_from([torch.float32, torch.float64]))
def test_projectors_are_orthogonal_projections_onto_equivariant_maps(name, seed, dtype):
    source, target, rank = pairs()[name]
    field = dtype.to_complex() if source.is_complex else dtype
    p = projector(source, target)
    m = torch.randn(2, target.dim, source.dim, dtype=field, generator=torch.Generator().manual_seed(seed))
    once = p(m)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(p(once), once, atol=tolerance, rtol=0)
    left = (p(m[:1]).conj() * m[1:]).sum()
    right = (m[:1].conj() * p(m[1:])).sum()
    torch.testing.assert_close(left, right, atol=50 * tolerance, rtol=50 * tolerance)
    q = p.basis.to(field)
    torch.testing.assert_close(p.matvec(m[0].flatten()), q @ (q.mH @ m[0].flatten()), atol=10 * tolerance, rtol=0)
    assert p.rank == rank and q.shape == (p.shape[0], rank)
    torch.testing.assert_close(
        p(torch.einsum("r,rab->ab", q.new_ones(rank), q.mT.reshape(-1, *m.shape[1:]))),
        (q.sum(1)).reshape(m.shape[1:]),
        atol=10 * tolerance,
        rtol=0,
    )


def test_projection_is_the_average_over_a_finite_group():
    group = parse("Octahedral")
    v = group.standard()
    source, target = v + v @ v, v @ v + group.trivial()
    everything = group.elements()
    m = torch.randn(target.dim, source.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    average = (target.matrix(everything, torch.float64) @ m @ source.matrix(everything, torch.float64).mT).mean(0)
    torch.testing.assert_close(projector(source, target)(m), average, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["O(3) T2 -> T2", "SO(2)_z T2 -> T2", "C4 regular", "S4 T2 -> T2", "D4 regular -> V"])
def test_the_routes_agree(name):
    source, target, rank = pairs()[name]
    m = torch.randn(target.dim, source.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    routes = ["generators", "walk"] + (["average"] if source.group.order else [])
    for route in routes:
        other = Projector(source, target, method=route)
        assert other.rank == rank
        torch.testing.assert_close(other(m), projector(source, target)(m), atol=1e-8, rtol=0)


def test_large_maps_start_from_one_element_of_the_algebra():
    """T3 -> T3 of O(3) has 15 invariants of order 6 (the perfect matchings of 6 points)."""
    v = parse("O(3)").standard()
    assert len(hom_basis(v @ v @ v, v @ v @ v)) == 15


def test_a_sum_is_solved_by_parts():
    v = parse("O(3)").standard()
    p = projector(5 * v, 3 * v + 2 * (v @ v))
    assert p.rank == 15 and p.shape == (15 * 27, 15 * 27)


def test_an_uncertain_rank_is_an_error():
    """Two turning speeds that differ by 3e-7 are neither equal nor clearly different."""
    group = parse("T(1)")

    def turning(speed):
        def matrix(g, dtype):
            return plane_rotation(speed * g[..., 0, 1].double()).to(dtype or torch.float32)

        return FunctionRep(group, 2, matrix, name=f"turning {speed}")

    with pytest.raises(ValueError, match="no gap"):
        hom_basis(turning(1.0), turning(1.0 + 3e-7))
    with pytest.raises(ValueError, match="no integer"):
        hom_basis(
            parse("SO(2)").standard(), FunctionRep(parse("SO(2)"), 1, lambda g, dtype: g[..., :1, :1] * 0.9, name="x")
        )


def test_bad_input():
    with pytest.raises(ValueError, match="different groups"):
        hom_basis(parse("C4").standard(), parse("C8").standard())
    with pytest.raises(ValueError, match=r"m: expected a matrix \(3, 3\)"):
        projector(parse("O(3)").standard(), parse("O(3)").standard())(torch.zeros(2, 3))


@given(seeds)
def test_subgroups_have_more_equivariant_maps(seed):
    v = parse("O(3)").standard()
    rep = v + v @ v
    m = torch.randn(rep.dim, rep.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    sizes = []
    for name in ["O(3)", "SO(3)", "O(2)_z", "SO(2)_z", "C4_z"]:
        small = rep.restrict(parse("O(3)").subgroup(name))
        sizes.append(float((m - projector(small, small)(m)).norm()))
    assert all(a >= b - 1e-9 for a, b in zip(sizes[:2] + sizes[2:], sizes[1:], strict=False))
    assert math.isfinite(sizes[0])
