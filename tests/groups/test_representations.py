"""Representations are homomorphisms; characters count what they should."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import FiniteGroup, character_product, irrep, parse
from erlangen.groups.representations import Rep

from .strategies import draws, seeds

GROUPS = ["C1", "C2", "C5", "C6", "D1", "D2", "D5", "D6", "SO(2)", "O(2)", "SO(3)", "O(3)", "S4", "SE(2)"]


def representations(name: str) -> list[Rep]:
    group = parse(name)
    reps = [group.trivial(), group.standard(), group.sign()]
    if name.startswith("S") and isinstance(group, FiniteGroup):
        reps += [irrep(group, kind) for kind in ("trivial", "sign", "standard")]
    elif not name.startswith("SE"):
        reps += list(group.irreps(3))
    if isinstance(group, FiniteGroup):
        reps.append(group.regular())
    return reps


def is_homomorphism(rep: Rep, a, b) -> bool:
    both = rep.matrix(rep.group.compose(a, b), torch.float64)
    return torch.allclose(both, rep.matrix(a, torch.float64) @ rep.matrix(b, torch.float64), atol=1e-9)


@given(st.sampled_from(GROUPS), seeds)
def test_homomorphism_and_its_closure_under_the_algebra(name, seed):
    a, b = draws(name, seed, 2)
    for rep in representations(name):
        other = parse(name).standard()
        for made in (rep, rep + other, rep @ other, rep.dual(), 2 * rep):
            assert is_homomorphism(made, a, b), made
            assert made.matrix(a, torch.float64).shape == (6, made.dim, made.dim)


@pytest.mark.parametrize("name", ["C1", "C2", "C5", "C8", "D1", "D2", "D3", "D8"])
def test_irreps_are_complete(name):
    """Σ dim² / ⟨χ, χ⟩ over the real irreps is the order of the group, and they are mutually orthogonal."""
    group = parse(name)
    reps = list(group.irreps())
    inner = torch.stack([torch.stack([character_product(p, q) for q in reps]) for p in reps])
    off_diagonal = inner - torch.diag(torch.diagonal(inner))
    assert off_diagonal.abs().max() < 1e-9
    total = sum(rep.dim**2 / float(inner[i, i]) for i, rep in enumerate(reps))
    assert math.isclose(total, group.order, abs_tol=1e-6)


def test_permutations_split_into_trivial_and_standard():
    group = parse("S4")
    natural = group.standard()
    assert float(character_product(natural, natural)) == pytest.approx(2.0)
    for kind, multiplicity in (("trivial", 1.0), ("standard", 1.0), ("sign", 0.0)):
        assert float(character_product(natural, irrep(group, kind))) == pytest.approx(multiplicity)


def test_octahedral_splits_degree_two_of_the_sphere():
    """Crystal field theory: under the octahedral group l = 2 falls into E + T2, so ⟨χ, χ⟩ = 2."""
    rep = parse("SO(3)").irrep(2).restrict(parse("Octahedral"))
    assert float(character_product(rep, rep)) == pytest.approx(2.0)


@given(seeds)
def test_restriction_follows_the_inclusion(seed):
    for big, small in [("D8", "C4"), ("C8", "C4"), ("O(2)", "D3"), ("SO(2)", "C5"), ("E(3)", "SO(3)"), ("E(3)", "O")]:
        a, b = draws(small, seed, 2)
        assert is_homomorphism(parse(big).standard().restrict(parse(small)), a, b)


@given(seeds)
def test_derivative_is_the_algebra_representation(seed):
    group = parse("SO(3)")
    v = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(group.standard().algebra_matrix(v), group.hat(v), atol=1e-12, rtol=0)
    rep = group.irrep(2)
    power = torch.linalg.matrix_exp(rep.algebra_matrix(v))
    torch.testing.assert_close(power, rep.matrix(group.exp(v)), atol=1e-10, rtol=0)


def test_errors_name_the_way_out():
    with pytest.raises(ValueError, match=r"SO\(3\)"):
        parse("SO(3)").regular()
    with pytest.raises(ValueError, match="embed="):
        parse("SO(3)").standard().restrict(parse("S4"))
    with pytest.raises(ValueError, match="different groups"):
        parse("C4").standard() + parse("C8").standard()
    with pytest.raises(ValueError, match="0 <= k <= 2"):
        irrep(parse("C4"), 3)
    with pytest.raises(ValueError, match="max_label"):
        list(parse("SO(2)").irreps())
