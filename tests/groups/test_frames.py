"""A frame moves with its input: `F(g·x) = g F(x)` as a set; averaging over it makes any backbone symmetric."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.groups import frames
from erlangen.groups.frames.principal import homogeneous
from erlangen.groups.symmetry import Symmetry
from erlangen.nn.symmetrize import symmetrize
from erlangen.testing import check


def rotation(generator: torch.Generator, *, proper: bool) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.linalg.det(q) if proper else q


class Mlp(nn.Module):
    """A backbone without any symmetry."""

    def __init__(self, size: int, out: int | None = None) -> None:
        super().__init__()
        self.out = out
        self.net = nn.Sequential(nn.Linear(size, 32), nn.Tanh(), nn.Linear(32, out or size))

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x.flatten(-2))
        return y if self.out else y.reshape(x.shape)


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=15, deadline=None)
def test_pca_frame_is_equivariant_as_a_set(seed: int, reflections: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    g, shift = rotation(generator, proper=not reflections), torch.randn(3, generator=generator, dtype=torch.float64)
    frame = frames.PCAFrame("E(3)" if reflections else "SE(3)")
    one, two = frame(x).elements, frame(x @ g.mT + shift).elements
    assert len(one) == frame.size == (8 if reflections else 4)
    assert torch.allclose(two[:, :3, 3], g @ x.mean(0) + shift)
    moved = homogeneous(g, shift) @ one
    assert float(torch.cdist(moved.flatten(1), two.flatten(1)).min(1).values.max()) < 1e-10
    if not reflections:
        assert torch.allclose(torch.linalg.det(two), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("group", "kind", "output", "how"),
    [
        ("SO(3)", "points", "points", "frame"),
        ("SE(3)", "points", "points", "canonical"),
        ("E(3)", "points", "points", "frame"),
        ("O(3)", "points", "invariant", "frame"),
        ("S(n)", "rows", "rows", "frame"),
        ("S(n)", "rows", "invariant", "average"),
        ("E(3) x S(n)", "points", "points", "frame"),
        ("C4", "image", "invariant", "average"),
        ("D4", "image", "image", "frame"),
        ("C4", "image", "invariant", "canonical"),
    ],
)
def test_the_checker_proves_symmetrized_backbones(group: str, kind: str, output: str, how: str) -> None:
    torch.manual_seed(1)
    shape = (2, 1, 6, 6) if kind == "image" else (2, 5 if how != "average" else 4, 3)
    x = torch.randn(shape)
    backbone = Mlp(shape[-1] * shape[-2], 2 if output == "invariant" else None)
    symmetry = Symmetry(group, kind, output)
    assert check(backbone, symmetry, x, risks=False).verdict == "broken"
    result = check(symmetrize(backbone, symmetry, how), symmetry, x, risks=False)  # type: ignore[arg-type]
    assert result.verdict == "exact", str(result)


def test_symmetrizing_a_symmetric_model_changes_nothing() -> None:
    def centred(x: Tensor) -> Tensor:
        return x.mean(-2, keepdim=True) + (x - x.mean(-2, keepdim=True)) * 2

    class Wrapped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return centred(x)

    x = torch.randn(3, 6, 3, dtype=torch.float64)
    model = symmetrize(Wrapped(), Symmetry("E(3)", "points", "points"), "frame")
    assert torch.allclose(model(x), centred(x))


def test_forces_are_right_through_the_frame() -> None:
    torch.manual_seed(0)
    model = symmetrize(Mlp(15, 1).double(), Symmetry("SE(3)", "points", "invariant"), "frame")
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,))


def test_reynolds_average_equals_the_group_mean() -> None:
    torch.manual_seed(0)
    backbone, x = Mlp(36, 3).double(), torch.randn(2, 1, 6, 6, dtype=torch.float64)
    model = symmetrize(backbone, Symmetry("C4", "image", "invariant"), "average")
    mean = torch.stack([backbone(torch.rot90(x, k, (-2, -1))) for k in range(4)]).mean(0)
    assert torch.allclose(model(x), mean)


def test_bad_input_is_one_clear_line() -> None:
    model = symmetrize(Mlp(15, 1), Symmetry("E(3)", "points", "invariant"), "frame")
    line = torch.zeros(5, 3)
    line[:, 0] = torch.arange(5)
    with pytest.raises(ValueError, match="principal axes of sample"):
        model(line)
    with pytest.raises(ValueError, match="NaN"):
        model(torch.full((5, 3), float("nan")))
    with pytest.raises(ValueError, match="'average' needs a finite group"):
        symmetrize(Mlp(15), Symmetry("SO(3)", "points", "points"), "average")
    with pytest.raises(ValueError, match="did you mean"):
        symmetrize(Mlp(15), Symmetry("SO(3)", "points", "points"), "fram")  # type: ignore[arg-type]
