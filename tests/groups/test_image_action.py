"""Images: pixels go exactly where torch.rot90 and flip put them; elsewhere interpolation converges."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import actions, parse

from .strategies import draws, seeds


def picture(seed: int, height: int = 8, width: int = 8, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, channels, height, width, dtype=torch.float64, generator=generator)


@given(seeds, st.sampled_from([7, 8]), st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool]))
def test_quarter_turns_are_rot90_bit_for_bit(seed, size, dtype):
    x = (10 * picture(seed, size, size)).to(dtype)
    act = actions.Image(parse("C4"))
    for k in range(4):
        assert torch.equal(act(torch.tensor(k), x), torch.rot90(x, k, (-2, -1)))
        assert act.valid_mask(torch.tensor(k), x) is None


def test_flip_mirrors_columns():
    x = picture(0)
    flip = (torch.tensor(0), torch.tensor(1))
    assert torch.equal(actions.Image(parse("D4"))(flip, x), x.flip(-1))


@given(st.sampled_from(["C2", "C4", "D1", "D2", "D4", "C4 x S5"]), st.sampled_from([(), (4,)]), seeds)
def test_exact_groups_act_exactly(name, batch, seed):
    group = parse(name)
    g, h = draws(group, seed, 2, batch)
    for kind in ("image", "field"):
        act = actions.from_type(kind, group)
        x = picture(seed, channels=2)
        assert torch.equal(act(g, act(h, x)), act(group.compose(g, h), x))
        assert act.exact


def test_a_mixed_batch_is_exact_where_it_can_be():
    x = picture(1)
    act = actions.Image(parse("C8"))
    assert act.is_exact(torch.arange(8)).tolist() == [True, False] * 4
    moved = act(torch.tensor([0, 1, 2, 3]), x)
    assert torch.equal(moved[0], x[0]) and torch.equal(moved[2], torch.rot90(x[2], 1, (-2, -1)))
    alone = act(torch.tensor(1), x)
    torch.testing.assert_close(moved[1], alone[1])


def test_whole_shifts_move_right_and_up():
    x = picture(2)
    shift = parse("T(2)").identity(dtype=torch.float64)
    shift[0, 2], shift[1, 2] = 2.0, 1.0
    act = actions.Image(parse("T(2)"))
    moved = act(shift, x)
    assert torch.equal(moved[..., :-1, 2:], x[..., 1:, :-2]) and (moved[..., :, :2] == 0).all()
    assert int(act.valid_mask(shift, x).sum()) == 7 * 6


def test_rectangles_keep_their_shape():
    x = picture(3, 6, 9)
    act = actions.Image(parse("C4"))
    assert torch.equal(act(torch.tensor(2), x), torch.rot90(x, 2, (-2, -1)))
    turned = act(torch.tensor(1), x)
    assert turned.shape == x.shape and not bool(act.valid_mask(torch.tensor(1), x).all())


def smooth(size: int) -> torch.Tensor:
    """A band-limited picture on [-1, 1]², so that refinement has something to converge to."""
    u = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
    x, y = u[None, :], -u[:, None]
    return torch.sin(2 * x + 1) * torch.cos(3 * y) + x * y


@pytest.mark.parametrize("name", ["SO(2)", "O(2)", "Scaling"])
def test_resampling_agrees_with_the_formula_and_converges(name):
    """(g·f)(u) = f(g⁻¹u) inside the valid mask, with an error that falls like the square of the pixel."""
    group = parse(name)
    act = actions.Image(group)
    (g,) = draws(group, 5, 1, ())
    if name == "Scaling":
        g = g.clamp(1.1, 1.5)
    errors = []
    for size in (32, 64):
        u = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
        grid = torch.stack(torch.broadcast_tensors(u[None, :], -u[:, None]), -1)
        source = grid @ torch.linalg.inv(group.plane_matrix(g, torch.float64)).mT
        truth = torch.sin(2 * source[..., 0] + 1) * torch.cos(3 * source[..., 1]) + source.prod(-1)
        moved = act(g, smooth(size)[None])
        mask = act.valid_mask(g, smooth(size)[None])
        assert mask.shape == (1, size, size) and 0.4 < float(mask.double().mean()) < 1
        errors.append(float((moved - truth)[mask].abs().max()))
    assert errors[1] < 0.35 * errors[0] and errors[1] < 5e-3


@pytest.mark.parametrize(("mode", "order"), [("bilinear", 2), ("bicubic", 3)])
def test_order_of_interpolation(mode, order):
    """Halving the pixel divides the error by 2^order; torch's own bicubic kernel (a = -3/4) would only halve it."""
    act = actions.Image(parse("C8"), mode=mode)
    errors = []
    for size in (64, 128):
        u = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
        grid = torch.stack(torch.broadcast_tensors(u[None, :], -u[:, None]), -1)
        source = grid @ torch.linalg.inv(parse("C8").plane_matrix(torch.tensor(1), torch.float64)).mT
        truth, x = (torch.sin(3 * p[..., 0] + 1) * torch.cos(3 * p[..., 1]) for p in (source, grid))
        mask = act.valid_mask(torch.tensor(1), x[None])
        errors.append(float((act(torch.tensor(1), x[None]) - truth)[mask].abs().max()))
    assert errors[0] / errors[1] > 0.85 * 2**order


def test_vector_fields_turn_with_the_plane():
    """The field (x, y) is its own image under every rotation."""
    u = torch.arange(8, dtype=torch.float64) - 3.5
    field = torch.stack(torch.broadcast_tensors(u[None, :], -u[:, None]))
    act = actions.from_type("field", "C4")
    for k in range(4):
        torch.testing.assert_close(act(torch.tensor(k), field), field)
    with pytest.raises(ValueError, match="vector field"):
        act(torch.tensor(1), torch.randn(3, 8, 8))


def test_masks_stay_masks():
    mask = torch.rand(4, 16, 16) > 0.5
    moved = actions.from_type("mask", "C8")(torch.tensor(1), mask)
    assert moved.dtype == torch.bool and moved.shape == mask.shape


def test_orbits_are_adjacent():
    x = picture(4)
    copies, turns = actions.rot90_batch(x)
    assert copies.shape == (16, 3, 8, 8) and turns.tolist() == [0, 1, 2, 3] * 4
    for i in range(16):
        assert torch.equal(copies[i], torch.rot90(x[i // 4], i % 4, (-2, -1)))
    copies, labels = actions.orbit_batch(x, "D4")
    assert len(copies) == 32 and torch.equal(copies[4], x[0].flip(-1)) and labels.max() == 7
    with pytest.raises(ValueError, match="square"):
        actions.rot90_batch(torch.randn(2, 3, 4, 5))
    with pytest.raises(ValueError, match="finite group"):
        actions.orbit_batch(x, "SO(2)")


@given(seeds)
def test_gradients_flow_through_resampling(seed):
    angle = torch.tensor([0.3], dtype=torch.float64)
    x = picture(seed).requires_grad_()
    actions.Image(parse("SO(2)"))(parse("SO(2)").exp(angle), x).square().sum().backward()
    assert torch.isfinite(x.grad).all() and math.isfinite(float(x.grad.abs().sum()))
