"""Rendered solids: pictures turn with the body, symmetric bodies look the same, areas are those of geometry."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.data import solids

QUARTER = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)


@given(st.sampled_from(solids.SOLIDS), st.integers(0, 100), st.sampled_from(["shaded", "silhouette"]))
def test_a_quarter_turn_of_the_body_turns_the_picture(name, seed, style):
    x, rotations = solids.views(name, 3, generator=torch.Generator().manual_seed(seed), size=16, style=style)
    turned = solids.render(name, QUARTER.float() @ rotations, size=16, style=style)
    assert torch.allclose(turned, torch.rot90(x, 1, (-2, -1)), atol=0.3 if style == "silhouette" else 1e-5)
    assert float((turned - torch.rot90(x, 1, (-2, -1))).abs().mean()) < 2e-3
    assert float(x.min()) >= 0 and float(x.max()) <= 1 and float(x.sum()) > 0


@pytest.mark.parametrize(("name", "order"), [("tetrahedron", 12), ("cube", 24), ("icosahedron", 60), ("wedge", 1)])
def test_equivalent_rotations_look_the_same(name, order):
    x, rotations = solids.views(name, 1, generator=torch.Generator().manual_seed(0), size=16)
    same = solids.equivalent(name, rotations.double())[0]
    assert same.shape == (order, 3, 3)
    pictures = solids.render(name, same, size=16)
    assert float((pictures - x).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["cone", "cylinder"])
def test_round_bodies_look_nearly_the_same(name):
    x, rotations = solids.views(name, 1, generator=torch.Generator().manual_seed(0), size=16)
    pictures = solids.render(name, solids.equivalent(name, rotations.double(), turns=20)[0], size=16)
    assert float((pictures - x).abs().mean()) < 1e-2


def test_marks_break_the_symmetry():
    x = solids.render("marked_cube", torch.eye(3).double()[None], size=16)
    pictures = solids.render("marked_cube", solids.equivalent("cube", torch.eye(3).double()[None])[0], size=16)
    assert int(((pictures - x).abs().amax((1, 2, 3)) < 1e-3).sum()) == 4  # turns about the line of sight


def test_areas_of_silhouettes():
    """A face-on cube of edge 2/√3, and the mean shadow of a convex body, a quarter of its surface (Cauchy)."""
    picture = solids.render("cube", torch.eye(3).double()[None], size=160, style="silhouette", supersample=1)
    pixel = (2 / 160 / 0.9) ** 2
    assert math.isclose(float(picture.sum()) * pixel, 4 / 3, rel_tol=0.03)
    shadows, _ = solids.views("cube", 300, generator=torch.Generator().manual_seed(1), size=32, style="silhouette")
    assert math.isclose(float(shadows.sum((1, 2, 3)).mean()) * (2 / 32 / 0.9) ** 2, 2.0, rel_tol=0.03)


def test_no_vertex_leaves_the_picture():
    for name in solids.SOLIDS:
        shadows, _ = solids.views(name, 40, generator=torch.Generator().manual_seed(2), size=24, style="silhouette")
        assert float(shadows[..., 0, :].sum() + shadows[..., -1, :].sum()) < 3.0


def test_bad_input():
    with pytest.raises(ValueError, match="name"):
        solids.solid("sphere")
    with pytest.raises(ValueError, match="orthogonal"):
        solids.render("cube", torch.ones(1, 3, 3))
    with pytest.raises((ValueError, TypeError), match="style"):
        solids.render("cube", torch.eye(3)[None], style="painted")
    assert solids.render("cube", torch.zeros(0, 3, 3)).shape == (0, 1, 32, 32)
