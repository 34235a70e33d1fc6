"""Irreps of finite groups, characters, powers, induction and decomposition against tables from the literature."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import SU, FiniteGroup, Symmetric, irrep, parse
from erlangen.groups.characters import conjugacy_classes, inner_product

from .strategies import draws, seeds

FINITE = ["C1", "C2", "C5", "D1", "D3", "D4", "S1", "S2", "S3", "S4", "S5", "Tetrahedral", "Octahedral", "Icosahedral"]


@pytest.mark.parametrize("name", [*FINITE, "C2 x C3", "C3 x C3", "D3 x C2", "C4 x S3"])
def test_irreps_are_complete_orthogonal_and_homomorphisms(name):
    group = parse(name)
    reps = list(group.irreps())
    inner = torch.stack([torch.stack([inner_product(p, q) for q in reps]) for p in reps])
    assert (inner - torch.diag(torch.diagonal(inner))).abs().max() < 1e-9
    assert math.isclose(sum(r.dim**2 / float(inner[i, i]) for i, r in enumerate(reps)), group.order, abs_tol=1e-6)
    a, b = draws(group, 0, 2)
    assert reps[0].is_trivial
    for rep in reps:
        product = rep.matrix(a, torch.float64) @ rep.matrix(b, torch.float64)
        torch.testing.assert_close(rep.matrix(group.compose(a, b), torch.float64), product, atol=1e-9, rtol=0)
        eye = torch.eye(rep.dim, dtype=torch.float64).expand_as(product)
        torch.testing.assert_close(product @ product.mT, eye, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("Tetrahedral", [1, 2, 3]),
        ("Octahedral", [1, 1, 2, 3, 3]),
        ("Icosahedral", [1, 3, 3, 4, 5]),
        ("S5", [1, 4, 5, 6, 5, 4, 1]),
        ("S6", [1, 5, 9, 10, 5, 16, 10, 5, 9, 5, 1]),
    ],
)
def test_dimensions_are_those_of_the_books(name, dims):
    assert [r.dim for r in parse(name).irreps()] == dims


@pytest.mark.parametrize(
    ("name", "sizes"), [("S4", [1, 3, 6, 6, 8]), ("Icosahedral", [1, 12, 12, 15, 20]), ("D4", [1, 1, 2, 2, 2])]
)
def test_classes(name, sizes):
    assert sorted(torch.bincount(conjugacy_classes(parse(name))).tolist()) == sizes


@pytest.mark.parametrize("name", ["C5", "D4", "S4", "S5", "Tetrahedral", "Icosahedral", "C4 x S3"])
def test_character_tables_are_orthogonal(name):
    group = parse(name)
    table, sizes = group.character_table, torch.bincount(group.classes).to(torch.complex128)
    gram = (table * sizes) @ table.mH / group.order
    torch.testing.assert_close(gram, torch.eye(len(table), dtype=torch.complex128), atol=1e-8, rtol=0)
    columns = table.mH @ table
    torch.testing.assert_close(columns, torch.diag(group.order / sizes), atol=1e-7, rtol=0)
    assert bool((table[0] == 1).all())


def test_the_table_of_s4_is_the_known_one():
    values = sorted(tuple(int(v) for v in row.real.round()) for row in parse("S4").character_table)
    assert sorted(map(sorted, values)) == sorted(
        map(sorted, [(1, 1, 1, 1, 1), (1, -1, 1, 1, -1), (2, 0, 2, -1, 0), (3, 1, -1, 0, -1), (3, -1, -1, 0, 1)])
    )


def test_the_icosahedron_knows_the_golden_ratio():
    table = parse("Icosahedral").character_table
    golden = (1 + math.sqrt(5)) / 2
    assert float((table.real - golden).abs().min()) < 1e-9 and float((table.real - (1 - golden)).abs().min()) < 1e-9


CASES = {
    "SO(3) V@V": ("SO(3)", lambda g: g.standard() @ g.standard(), [1, 1, 1]),
    "O(3) V@V@V": ("O(3)", lambda g: g.standard() @ g.standard() @ g.standard(), [1, 3, 2, 1]),
    "SO(2) 2V": ("SO(2)", lambda g: 2 * g.standard() + g.standard() @ g.standard(), [2, 2, 1]),
    "O(2) V@V": ("O(2)", lambda g: g.standard() @ g.standard(), [1, 1, 1]),
    "octahedral l=2": ("Octahedral", lambda g: parse("SO(3)").irrep(2).restrict(g), [1, 1]),
    "octahedral regular": ("Octahedral", lambda g: g.regular(), [1, 1, 2, 3, 3]),
    "tetrahedral regular": ("Tetrahedral", lambda g: g.regular(), [1, 1, 3]),
    "C6 regular": ("C6", lambda g: g.regular(), [1, 1, 1, 1]),
    "S4 V@V": ("S4", lambda g: g.standard() @ g.standard(), [2, 3, 1, 1]),
    "SU(2) spins": ("SU(2)", lambda g: g.irrep(0.5) @ g.irrep(1), [1, 1]),
}


@given(st.sampled_from(sorted(CASES)), seeds)
def test_decomposition_makes_every_matrix_block_diagonal(name, seed):
    group, make, multiplicities = CASES[name]
    rep = make(parse(group))
    found = rep.decompose()
    assert [count for _, count in found.irreps] == multiplicities
    q = found.basis
    torch.testing.assert_close(q.mH @ q, torch.eye(rep.dim, dtype=q.dtype), atol=1e-9, rtol=0)
    (g,) = draws(rep.group, seed, 1)
    moved = q.mH @ rep.matrix(g, torch.float64).to(q) @ q
    torch.testing.assert_close(moved, found.blocks(g).to(q), atol=1e-8, rtol=0)


@given(st.sampled_from(["SO(3)", "O(3)", "SU(2)", "D4", "SL(2)", "GL+(2)"]), seeds)
def test_powers_are_representations_of_the_right_dimension(name, seed):
    group = parse(name)
    v = group.standard()
    a, b = draws(group, seed, 2)
    n = v.dim
    for rep, dim in [(v.sym(2), n * (n + 1) // 2), (v.wedge(2), n * (n - 1) // 2), (v.sym(3), math.comb(n + 2, 3))]:
        assert rep.dim == dim
        product = rep.matrix(a, torch.float64) @ rep.matrix(b, torch.float64)
        torch.testing.assert_close(rep.matrix(group.compose(a, b), torch.float64), product, atol=1e-7, rtol=1e-7)
    volume = v.wedge(n).matrix(a, torch.float64)[..., 0, 0]
    torch.testing.assert_close(volume, torch.linalg.det(v.matrix(a, torch.float64)), atol=1e-8, rtol=1e-8)


@given(st.sampled_from(["SO(3)", "SU(3)", "SE(3)", "SL(2)", "SO(3) x SO(2)"]), seeds)
def test_derivatives_of_composed_representations(name, seed):
    """ρ(exp tX) = exp(t dρ(X)) for sums, products, duals, powers and the adjoint."""
    group = parse(name)
    v = group.standard()
    x = 0.3 * torch.randn(group.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for rep in [v + v, v @ v, v.dual(), v.sym(2), v.wedge(2), group.adjoint()]:
        power = torch.linalg.matrix_exp(rep.algebra_matrix(x))
        torch.testing.assert_close(power, rep.matrix(group.exp(x), torch.float64), atol=1e-9, rtol=1e-9)


def test_adjoint_of_rotations_is_the_standard_representation():
    group = parse("SO(3)")
    (g,) = draws(group, 0, 1)
    torch.testing.assert_close(group.adjoint().matrix(g), g, atol=1e-12, rtol=0)


def test_clebsch_gordan_of_spins():
    """Spin 1 times spin 3/2 is 1/2 + 3/2 + 5/2."""
    group = SU(2)
    assert [r.spin for r, _ in (group.irrep(1) @ group.irrep(1.5)).decompose().irreps] == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("big", "small"), [("D4", "C4"), ("C6", "C3"), ("D6", "D3"), ("O(3)", "SO(3)"), ("O(2)", "SO(2)")]
)
def test_frobenius_reciprocity(big, small):
    """⟨Ind σ, ρ⟩_G = ⟨σ, Res ρ⟩_H."""
    group, sub = parse(big), parse(small)
    hom = group.subgroup(sub)
    for sigma in sub.irreps(2):
        induced = sigma.induce(hom)
        a, b = draws(group, 1, 2)
        product = induced.matrix(a, torch.float64) @ induced.matrix(b, torch.float64)
        torch.testing.assert_close(induced.matrix(group.compose(a, b), torch.float64), product, atol=1e-9, rtol=0)
        for rho in group.irreps(2):
            up, down = inner_product(induced, rho), inner_product(sigma, rho.restrict(hom))
            torch.testing.assert_close(up, down, atol=1e-8, rtol=0)


def test_inducing_the_trivial_representation_of_nothing_gives_the_regular_one():
    group = parse("D3")
    induced = parse("C1").trivial().induce(group.subgroup("C1"))
    assert isinstance(group, FiniteGroup)
    everything = group.elements()
    torch.testing.assert_close(induced.character(everything), group.regular().character(everything))


@given(seeds)
def test_an_axis_stays_under_rotations_about_it(seed):
    for axis, place in (("x", 0), ("y", 1), ("z", 2)):
        hom = parse("O(3)").subgroup(f"SO(2)_{axis}")
        (g,) = draws("SO(2)", seed, 1)
        m = hom(g)
        unit = torch.eye(3, dtype=torch.float64)[place]
        torch.testing.assert_close(m @ unit, unit.expand(6, 3))
        assert (torch.linalg.det(m) > 0.99).all()
    quarter = parse("SO(3)").subgroup("C4_z")(torch.tensor(1))
    torch.testing.assert_close(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_bad_labels_and_subgroups():
    with pytest.raises(ValueError, match=r"label: \(3, 3\) is no partition of 4"):
        irrep(Symmetric(4), (3, 3))
    with pytest.raises(ValueError, match="A1, A2, E, T1, T2"):
        irrep(parse("Octahedral"), "T3")
    with pytest.raises(ValueError, match="0, 1/2, 1"):
        irrep(SU(2), 0.3)
    with pytest.raises(ValueError, match="1 <= k <= 3"):
        parse("SO(3)").standard().wedge(4)
    with pytest.raises(ValueError, match="finite index"):
        parse("SO(2)").standard().induce(parse("O(3)").subgroup("SO(2)_z"))
    with pytest.raises(ValueError, match="not orthogonal"):
        parse("SE(2)").standard().decompose()
    with pytest.raises(ValueError, match=r"irreps of SO\(4\)"):
        parse("SO(4)").standard().decompose()
