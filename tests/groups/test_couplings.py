"""Wigner 3j, Gaunt and bracket coefficients against e3nn, sympy and their own laws; matrices from angles."""

import math
import subprocess
import sys

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups.harmonics import (
    bracket_coefficients,
    clebsch_gordan,
    gaunt_coefficients,
    wigner_3j,
    wigner_D,
    wigner_D_from_angles,
)
from erlangen.groups.harmonics.gaunt import couples

from .strategies import draws, seeds

degrees = st.integers(0, 5)
triples = st.tuples(degrees, degrees, degrees).filter(lambda t: couples(*t))


@settings(max_examples=20)
@given(triples)
def test_3j_is_that_of_e3nn_signs_included(triple):
    torch.testing.assert_close(wigner_3j(*triple), o3.wigner_3j(*triple, dtype=torch.float64), atol=1e-12, rtol=0)


@given(triples, seeds)
def test_3j_is_invariant_and_clebsch_gordan_an_isometry(triple, seed):
    (r,) = draws("SO(3)", seed, 1)
    w = wigner_3j(*triple)
    turned = torch.einsum("abc,ia,jb,kc->ijk", w, *[wigner_D(l, r[0]) for l in triple])
    torch.testing.assert_close(turned, w, atol=1e-12, rtol=0)
    c = clebsch_gordan(*triple).flatten(0, 1)
    torch.testing.assert_close(c.mT @ c, torch.eye(2 * triple[2] + 1, dtype=torch.float64), atol=1e-12, rtol=0)


@settings(max_examples=10)
@given(triples)
def test_gaunt_is_3j_times_the_constant_of_the_textbook(triple):
    from sympy.physics.wigner import wigner_3j as exact

    l1, l2, l3 = triple
    at_zero = float(exact(l1, l2, l3, 0, 0, 0))
    constant = math.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * math.pi)) * at_zero
    ours = gaunt_coefficients(*triple)
    assert abs(ours.norm() - abs(constant)) < 1e-12
    if (l1 + l2 + l3) % 2:
        assert not ours.any()


@given(triples)
def test_every_coupling_is_a_gaunt_or_a_bracket_integral(triple):
    """The symmetric part where the sum of the degrees is even, the antisymmetric where it is odd, never both or none."""
    even = sum(triple) % 2 == 0
    present, absent = (gaunt_coefficients, bracket_coefficients) if even else (bracket_coefficients, gaunt_coefficients)
    assert present(*triple).norm() > 0.01 and not absent(*triple).any()
    direction = present(*triple) / present(*triple).norm()
    assert abs(abs((direction * wigner_3j(*triple)).sum()) - 1) < 1e-12
    swapped = present(triple[1], triple[0], triple[2]).transpose(0, 1)
    torch.testing.assert_close(swapped, present(*triple) if even else -present(*triple), atol=1e-12, rtol=0)


def test_of_65_couplings_up_to_degree_4_42_are_gaunt():
    all_of_them = [(a, b, c) for a in range(5) for b in range(5) for c in range(5) if couples(a, b, c)]
    assert len(all_of_them) == 65
    assert sum(bool(gaunt_coefficients(*t).any()) for t in all_of_them) == 42


def test_bracket_of_two_vectors_is_their_cross_product():
    """Y_1 = √(3/4π) u: {a·u, b·u} = u · (a × b), so the coefficients are the Levi-Civita symbol over a constant."""
    levi_civita = torch.linalg.cross(*[torch.eye(3, dtype=torch.float64)[s] for s in (([0, 0, 1]), ([1, 2, 2]))])
    table = bracket_coefficients(1, 1, 1)
    scale = math.sqrt(3 / (4 * math.pi))
    torch.testing.assert_close(table[[0, 0, 1], [1, 2, 2]], levi_civita * scale, atol=1e-13, rtol=0)


@given(seeds, st.integers(0, 8))
def test_matrices_from_angles_are_those_from_the_rotation(seed, degree):
    angles = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 * math.pi
    rotation = o3.angles_to_matrix(*angles)
    torch.testing.assert_close(wigner_D_from_angles(degree, *angles), wigner_D(degree, rotation), atol=1e-11, rtol=0)


COMPILED = """
import torch
from erlangen.groups.harmonics import spherical_harmonics, wigner_D, wigner_D_from_angles

def moved(x, r):
    y = spherical_harmonics(3, x, normalization="component")[3]
    turned = wigner_D(3, r) @ wigner_D(3, r.mT) @ y[..., None] * wigner_D(2, r).sum()
    return turned.sum() + wigner_D_from_angles(3, x[:, 0], x[:, 1], x[:, 2]).sum()

x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
r = wigner_D_from_angles(1, *torch.rand(3, dtype=torch.float64))
compiled = torch.compile(moved, backend="aot_eager", fullgraph=True)
torch.testing.assert_close(compiled(x, r), moved(x, r))
gradients = [torch.autograd.grad(f(x, r), x)[0] for f in (compiled, moved)]
torch.testing.assert_close(*gradients)
"""


def test_compiles_into_one_graph():
    """`fullgraph` raises where the compiler would leave the graph. In a process of its own: shape checks are not traced."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=120)


def test_tables_cannot_be_spoiled_by_their_users():
    wigner_3j(1, 1, 2).zero_()
    assert wigner_3j(1, 1, 2).norm() > 0.99
    assert wigner_3j(1, 1, 2, dtype=torch.float32).dtype == torch.float32


def test_bad_degrees_are_named():
    with pytest.raises(ValueError, match="l1, l2, l3: expected"):
        wigner_3j(1, 1, 3)
    with pytest.raises(ValueError, match="l2: expected at least 0, given -1"):
        gaunt_coefficients(0, -1, 0)
    with pytest.raises(ValueError, match="degree: expected at least 0"):
        wigner_D_from_angles(-1, *torch.zeros(3))
