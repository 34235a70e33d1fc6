"""Semidirect and wreath products against groups that are known under other names."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import Semidirect, Wreath, parse
from erlangen.groups.characters import inner_product
from erlangen.groups.elements import leaves, map_elem

from .strategies import seeds


def invert(h, n):
    """The flip of C2 turns a rotation around."""
    return torch.where(h % 2 == 1, -n, n) % 5


def turn(h, n):
    """A rotation of the plane turns a translation."""
    out = n.clone()
    out[..., :2, 2] = (h @ n[..., :2, 2, None])[..., 0]
    return out


def rigid(g, dtype):
    m = g[0].clone()
    m[..., :2, :2] = g[1]
    return m if dtype is None else m.to(dtype)


GROUPS = {
    "D5": lambda: Semidirect(parse("C5"), parse("C2"), action=invert),
    "SE(2)": lambda: Semidirect(parse("T(2)"), parse("SO(2)"), action=turn, matrix=(rigid, 3)),
    "C3 wr S2": lambda: Wreath(parse("C3"), 2),
    "C2 wr S3": lambda: Wreath(parse("C2"), 3),
    "SO(3) wr S3": lambda: Wreath(parse("SO(3)"), 3),
    "O(2) wr S2": lambda: Wreath(parse("O(2)"), 2),
}


def close(a, b):
    return all(torch.allclose(p.double(), q.double(), atol=1e-9) for p, q in zip(leaves(a), leaves(b), strict=True))


@given(st.sampled_from(sorted(GROUPS)), seeds)
def test_axioms_and_matrices(name, seed):
    group = GROUPS[name]()
    generator = torch.Generator().manual_seed(seed)
    a, b, c = (group.sample((4,), generator=generator, dtype=torch.float64) for _ in range(3))
    e = group.identity((4,), dtype=torch.float64)
    assert close(group.compose(group.compose(a, b), c), group.compose(a, group.compose(b, c)))
    assert close(group.compose(a, e), a) and close(group.compose(group.inverse(a), a), e)
    assert group.contains(a).all() and close(group.project(a), a)
    product = group.matrix(a, torch.float64) @ group.matrix(b, torch.float64)
    torch.testing.assert_close(group.matrix(group.compose(a, b), torch.float64), product, atol=1e-9, rtol=0)
    moved = group.distance(group.compose(c, a), group.compose(c, b))
    torch.testing.assert_close(moved, group.distance(a, b), atol=1e-6, rtol=1e-6)
    for sampler in group.parts().values():
        assert group.contains(sampler((3,), generator=generator, dtype=torch.float64)).all()
    first = map_elem(lambda x: x[0], group.grid(5))
    assert close(first, group.identity()) and isinstance(group.label(first), str)


@pytest.mark.parametrize(
    ("name", "order", "irreps"), [("D5", 10, [1, 1, 2, 2]), ("C3 wr S2", 18, None), ("C2 wr S3", 48, None)]
)
def test_enumeration(name, order, irreps):
    group = GROUPS[name]()
    everything = group.elements()
    assert group.order == order and torch.equal(group.index(everything), torch.arange(order))
    table = group.table
    assert torch.equal(table.sort(0).values, torch.arange(order)[:, None].expand_as(table))
    if irreps is not None:
        assert [r.dim for r in group.irreps()] == irreps


def test_signed_permutations_are_the_symmetries_of_the_cube():
    """C2 ≀ S3 has order 48 and ten classes, and moves R^3 irreducibly."""
    group = Wreath(parse("C2"), 3)
    assert int(group.classes.max()) + 1 == 10
    assert [r.dim for r in group.irreps()] == [1, 1, 1, 1, 2, 2, 3, 3, 3, 3]


def test_maps_of_interchangeable_vectors():
    """Three interchangeable points that turn on their own: only multiples of the identity commute."""
    rep = Wreath(parse("SO(3)"), 3).standard()
    assert len(rep.hom_basis(rep)) == 1
    pair = Wreath(parse("C2"), 2).standard()
    assert float(inner_product(pair, pair)) == pytest.approx(len(pair.hom_basis(pair)))


def test_they_are_values():
    for name in ("C3 wr S2", "SO(3) wr S3"):
        group = GROUPS[name]()
        again = pickle.loads(pickle.dumps(group))
        assert again == group and type(again) is type(group)


def test_bad_input():
    with pytest.raises(ValueError, match="matrix: needed"):
        Semidirect(parse("T(2)"), parse("SO(2)"), action=turn)
    with pytest.raises(ValueError, match="tuples as elements"):
        Wreath(parse("D4"), 2)
