"""Two views that differ by a known element."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.data import Views
from erlangen.groups.actions import Image


def images(n=4, side=10):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(5))


@given(group=st.sampled_from(["C4", "C8", "D4", "SO(2)", "O(2)"]), seed=st.integers(0, 99))
def test_the_second_view_is_the_named_element_on_the_first(group, seed):
    x = images()
    views = Views(group, photometric=False)
    x1, x2, g = views(x, torch.Generator().manual_seed(seed))
    assert torch.equal(x1, x)
    assert torch.allclose(x2, Image(views.group)(g, x), atol=1e-6)


@given(padding=st.sampled_from(["zeros", "reflect", "disc"]), seed=st.integers(0, 99))
def test_views_depend_on_the_generator_and_nothing_else(padding, seed):
    views = Views("SO(2)", padding=padding)
    first = views(images(), torch.Generator().manual_seed(seed))
    torch.rand(7)
    second = views(images(), torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = views(images(), torch.Generator().manual_seed(seed + 1))
    assert not torch.equal(first[1], other[1])


def test_every_sample_has_an_element_of_its_own():
    _, _, g = Views("SO(2)")(images(8), torch.Generator().manual_seed(0))
    assert g.shape[0] == 8 and len(g.flatten(1).unique(dim=0)) == 8


def test_reflection_fills_what_turns_in_and_the_disc_hides_it():
    x = torch.ones(6, 1, 12, 12)
    generator = torch.Generator().manual_seed(1)
    zeros = Views("SO(2)", photometric=False)(x, generator)[1]
    reflect = Views("SO(2)", photometric=False, padding="reflect")(x, generator)[1]
    x1, x2, _ = Views("SO(2)", photometric=False, padding="disc")(x, generator)
    assert float(zeros.min()) < 0.5
    assert torch.allclose(reflect, x, atol=1e-5)
    assert torch.allclose(x1, x2, atol=1e-5)


def test_reflection_agrees_with_plain_quarter_turns():
    x = images()
    plain = Views("C4", photometric=False)(x, torch.Generator().manual_seed(3))
    mirrored = Views("C4", photometric=False, padding="reflect")(x, torch.Generator().manual_seed(3))
    assert torch.equal(plain[1], mirrored[1])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="SO\\(3\\)"):
        Views("SO(3)")
    with pytest.raises(ValueError, match="none may be negative"):
        Views("C4", noise=-0.1)
    with pytest.raises(ValueError, match="x: shape"):
        Views("C4")(torch.rand(3, 5), torch.Generator())
