"""Networks behind invariant coordinates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.groups import Symmetry
from erlangen.groups.frames import MDSFrame
from erlangen.nn.points import TInv
from erlangen.nn.symmetrize import symmetrize
from erlangen.testing import check


def backbone(points: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * points, 16), nn.Tanh(), nn.Linear(16, out)).double()


def cloud(seed: int, points: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, points, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0])


@given(st.integers(0, 1000), st.sampled_from(["ignore", "keep"]))
@settings(max_examples=4, deadline=None)
def test_any_backbone_becomes_invariant(seed: int, chirality: str) -> None:
    torch.manual_seed(seed)
    model = TInv(backbone(8, 3), chirality=chirality)  # type: ignore[arg-type]
    x = cloud(seed)
    if float(model.frame.margin(x).min()) < 1e-3:
        return
    for symmetry in (*model.symmetries, Symmetry("Scaling", "points", "invariant")):
        assert check(model, symmetry, x, risks=False).verdict == "exact"
    mirrored = x * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert torch.allclose(model(mirrored), model(x)) == (chirality == "ignore")


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("output", ["points", "vectors"])
def test_answers_are_turned_back(output: str, scale: bool) -> None:
    torch.manual_seed(0)
    model = TInv(nn.Linear(3, 3).double(), output=output, scale=scale)  # type: ignore[arg-type]
    x = cloud(1)
    for symmetry in (*model.symmetries, *([Symmetry("Scaling", "points", output)] if scale else [])):
        assert check(model, symmetry, x, risks=False).verdict == "exact"
    same = TInv(nn.Identity(), output="points", scale=scale)
    assert torch.allclose(same(x), x)


def test_one_element_of_the_frame_of_the_group() -> None:
    """Without scaling this is `symmetrize` with the frame of one element."""
    torch.manual_seed(0)
    net, x = backbone(8, 3), cloud(2)
    frame = MDSFrame(scale=False)
    one = symmetrize(net, Symmetry("E(3)", "points", "invariant"), frame=frame)
    assert torch.allclose(one(x), TInv(net, scale=False)(x))


def test_padding_and_further_arguments() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor, power: int, mask: Tensor | None = None) -> Tensor:
            kept = x if mask is None else torch.where(mask[..., None], x, 0.0)
            return (kept**power).sum((-2, -1))

    x, model = cloud(3), TInv(Masked())
    padded = torch.cat([x, torch.full((2, 3, 3), 5.0, dtype=torch.float64)], 1)
    mask = torch.arange(11).expand(2, 11) < 8
    assert torch.allclose(model(padded, 3, mask=mask), model(x, 3))


def test_forces_are_right() -> None:
    torch.manual_seed(0)
    x = cloud(4).requires_grad_()
    assert torch.autograd.gradcheck(TInv(backbone(8, 1)), (x,))
    assert torch.autograd.gradcheck(TInv(nn.Linear(3, 3).double(), output="vectors"), (x,))


def test_bad_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="needs points of n=3"):
        TInv(nn.Identity())(torch.randn(2, 5, 2))
    with pytest.raises(ValueError, match="cannot be turned back"):
        TInv(nn.Identity(), dim=2, output="points")
    with pytest.raises(ValueError, match="axes of sample 1"):
        TInv(nn.Identity())(torch.stack([cloud(0)[0], torch.ones(8, 3, dtype=torch.float64)]))
