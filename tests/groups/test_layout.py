"""Irreps strings and orders of components against e3nn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import Irreps, parse, to_layout

from .strategies import seeds

terms = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 3), st.sampled_from("eo")).map(lambda t: f"{t[0]}x{t[1]}{t[2]}"),
    min_size=1,
    max_size=4,
).map("+".join)


@given(terms, seeds)
def test_there_and_back(text, seed):
    x = torch.randn(2, Irreps(text).dim, generator=torch.Generator().manual_seed(seed))
    other = to_layout(x, text, source="mul_ir", target="ir_mul")
    assert torch.equal(to_layout(other, text, source="ir_mul", target="mul_ir"), x)
    assert torch.equal(to_layout(x, Irreps(text), source="mul_ir", target="mul_ir"), x)


@given(terms, seeds)
def test_strings_and_matrices_are_those_of_e3nn(text, seed):
    o3 = pytest.importorskip("e3nn.o3")
    theirs = o3.Irreps(text)
    assert str(Irreps(str(theirs))) == str(theirs) and Irreps(text).dim == theirs.dim
    g = parse("O(3)").sample(generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    torch.testing.assert_close(Irreps(text).matrix(g), theirs.D_from_matrix(g), atol=1e-4, rtol=0)


@given(seeds)
def test_in_the_other_order_every_component_carries_its_copies(seed):
    g = parse("SO(3)").sample(generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    moved = to_layout(x @ Irreps("4x1o").matrix(g, torch.float64).mT, "4x1o", source="mul_ir", target="ir_mul")
    y = to_layout(x, "4x1o", source="mul_ir", target="ir_mul")
    torch.testing.assert_close(moved, y @ torch.kron(g, torch.eye(4, dtype=torch.float64)).mT)


def test_bad_input():
    with pytest.raises(ValueError, match="a last axis of 12"):
        to_layout(torch.zeros(2, 11), "4x1o", source="mul_ir", target="ir_mul")
