"""Every group is a group: associativity, identity, inverses, enumeration, faithful matrices, pickling."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import FiniteGroup, LieGroup, Product, Symmetric, parse
from erlangen.groups.elements import leaves, map_elem

from .strategies import NAMES, PRODUCTS, draws, seeds

EVERY = st.sampled_from(NAMES + PRODUCTS)


def close(a, b, atol=1e-9):
    pairs = zip(leaves(a), leaves(b), strict=True)
    return all(torch.allclose(p.to(torch.complex128), q.to(torch.complex128), atol=atol) for p, q in pairs)


@given(EVERY, seeds)
def test_axioms(name, seed):
    group = parse(name)
    a, b, c = draws(group, seed, 3)
    e = group.identity((6,), dtype=torch.float64)
    assert close(group.compose(group.compose(a, b), c), group.compose(a, group.compose(b, c)))
    assert close(group.compose(a, e), a) and close(group.compose(e, a), a)
    assert close(group.compose(a, group.inverse(a)), e) and close(group.compose(group.inverse(a), a), e)
    assert group.contains(a).all() and group.contains(group.compose(a, b)).all()
    assert close(group.project(a), a)


@given(EVERY, seeds)
def test_matrix_is_a_homomorphism(name, seed):
    group = parse(name)
    a, b = draws(group, seed, 2)
    product = group.matrix(a, torch.float64) @ group.matrix(b, torch.float64)
    torch.testing.assert_close(group.matrix(group.compose(a, b), torch.float64), product, atol=1e-9, rtol=1e-9)


@given(EVERY, seeds)
def test_distance_is_left_invariant_and_zero_only_at_home(name, seed):
    group = parse(name)
    a, b, c = draws(group, seed, 3)
    moved = group.distance(group.compose(c, a), group.compose(c, b))
    torch.testing.assert_close(moved, group.distance(a, b), atol=1e-6, rtol=1e-6)
    assert (group.distance(a, a).abs() < 1e-6).all()


@given(st.sampled_from([n for n in NAMES + PRODUCTS if isinstance(parse(n), FiniteGroup)]))
def test_enumeration(name):
    group = parse(name)
    everything = group.elements()
    assert group.batch_shape(everything) == (group.order,)
    assert torch.equal(group.index(everything), torch.arange(group.order))
    first = map_elem(lambda e: e[0], everything)
    assert close(first, group.identity())
    if group.order <= 60:  # a Latin square: each row and column of the table is a permutation
        table = group.table
        assert torch.equal(table.sort(0).values, torch.arange(group.order)[:, None].expand_as(table))
        assert torch.equal(table.sort(1).values, torch.arange(group.order)[None, :].expand_as(table))


@given(EVERY, seeds)
def test_parts_stay_in_the_group_and_obey_dtype(name, seed):
    group = parse(name)
    generator = torch.Generator().manual_seed(seed)
    assert group.parts()
    for sampler in group.parts().values():
        for dtype in (torch.float32, torch.float64):
            g = sampler((3,), generator=generator, dtype=dtype, radius=2.0)
            assert group.batch_shape(g) == (3,) and group.contains(g).all()
            assert all(leaf.dtype in (dtype, dtype.to_complex(), torch.int64) for leaf in leaves(g))


@pytest.mark.parametrize("name", NAMES + PRODUCTS)
def test_grid_starts_at_the_identity_and_labels_are_words(name):
    group = parse(name)
    grid = group.grid(6)
    assert close(map_elem(lambda e: e[0], grid), group.identity())
    assert group.contains(grid).all()
    if not isinstance(group, FiniteGroup):
        assert group.batch_shape(grid) == (6,)
    assert isinstance(group.label(map_elem(lambda e: e[1 % e.shape[0]], grid)), str)


@pytest.mark.parametrize("name", [*NAMES, *PRODUCTS, "S(n)"])
def test_groups_are_values(name):
    group = parse(name)
    again = pickle.loads(pickle.dumps(group))
    assert again == group and hash(again) == hash(group) and type(again) is type(group)
    assert parse(group.name) == group


@given(
    st.sampled_from(["SO(2)", "SO(3)", "SO(4)", "SE(2)", "SE(3)", "T(2)", "Scaling", "SU(2)", "SU(3)", "U(3)"]), seeds
)
def test_exp_and_log_are_inverse(name, seed):
    group = parse(name)
    assert isinstance(group, LieGroup)
    (g,) = draws(group, seed, 1)
    assert close(group.exp(group.log(g)), g, atol=1e-7)


@given(st.sampled_from(["SO(3)", "SE(2)", "SE(3)", "SL(2)", "GL+(3)", "SU(2)", "SU(3)"]), seeds)
def test_adjoint_is_conjugation(name, seed):
    group = parse(name)
    (g,) = draws(group, seed, 1)
    v = torch.randn(6, group.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    moved = torch.einsum("bij,bj->bi", group.adjoint_matrix(g), v)
    conjugated = group.compose(group.compose(g, group.exp(v)), group.inverse(g))
    torch.testing.assert_close(group.exp(moved), conjugated, atol=1e-8, rtol=1e-8)


def test_one_seed_gives_one_element_in_both_precisions():
    for name in ["SO(3)", "SE(3)", "Scaling", "GL+(3)", "SU(3)"]:
        low = parse(name).sample(5, generator=torch.Generator().manual_seed(3), dtype=torch.float32)
        high = parse(name).sample(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        torch.testing.assert_close(low, high.to(low.dtype))


def test_size_of_permutations_is_filled_in():
    group = parse("E(3) x S(n)")
    assert isinstance(group, Product) and group.name == "E(3) x S(n)"
    assert group.infer_size(5) == parse("E(3) x S5")
    assert Symmetric(None).with_size(4) == parse("S4")
    with pytest.raises(ValueError, match="with_size"):
        Symmetric(None).sample()


@pytest.mark.parametrize("bad", ["Q8", "SQ(2)", "C8 x nothing", "C", ""])
def test_unknown_names_are_answered_with_the_known_ones(bad):
    with pytest.raises(ValueError, match=r"group: unknown .*C8.*SE\(3\)"):
        parse(bad)


def test_enumeration_is_guarded():
    with pytest.raises(ValueError, match="at most 1000000"):
        parse("S12").elements()


def test_known_spellings():
    assert parse("c8").name == "C8" and parse("Translation(2)") == parse("T(2)")
    assert parse("O").order == 24 and parse("SO3") == parse("SO(3)") and parse("C4 × S5") == parse("C4 x S5")
    assert parse(parse("C4")) == parse("C4")
