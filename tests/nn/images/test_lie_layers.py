"""Convolutions on the plane and a matrix group: exact on functions, SE(2) without stretches, honest on pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups import SL, GLPlus
from erlangen.nn.images import LieGroupConv2d, LieLift2d, LieResNet, SirenKernel
from erlangen.nn.images.lie_lift import tap_offsets
from erlangen.nn.images.lie_samples import LieSamples, draw_samples, relative_coordinates
from erlangen.nn.images.siren_kernel import kernel_mask

GROUPS = ["SO(2)", "SL(2)", "GL+(2)"]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def element(group, seed):
    return draw_samples(group, 1, spread=0.4, generator=generator(seed), dtype=torch.float64).elements[0]


def waves(x):
    """Two analytic channels on the plane."""
    return torch.stack([torch.sin(1.3 * x[..., 0] + 0.4 * x[..., 1]), torch.exp(-x.square().sum(-1) / 3)], -1)


def layers(group, seed, kernel_size=5):
    torch.manual_seed(seed)
    options = {"hidden": 16, "kernel_size": kernel_size}
    return LieLift2d(group, 2, 3, **options).double(), LieGroupConv2d(group, 3, 2, **options).double()


@pytest.mark.parametrize("group", GROUPS)
@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    weights=st.sampled_from(["haar", "none"]),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_moving_function_and_samples_moves_the_answer(group, seed, weights, dtype):
    lift, conv = (layer.to(dtype) for layer in layers(group, seed))
    atol = 1e-10 if dtype == torch.float64 else 2e-4
    a, shift = element(group, seed + 1).to(dtype), torch.tensor([0.3, -0.7], dtype=dtype)
    samples = draw_samples(group, 5, spread=0.3, weights=weights, generator=generator(seed), dtype=dtype)
    nodes = tap_offsets(5, a)
    x = torch.randn(4, 2, generator=generator(seed), dtype=torch.float64).to(dtype)
    g = element(group, seed + 2).to(dtype).expand(4, 2, 2)
    back = torch.linalg.inv(a)

    def moved_waves(y):
        return waves((y - shift) @ back.mT)

    lifted, lifted_moved = lift.on_function(waves, nodes), lift.on_function(moved_waves, nodes)
    there = x @ a.mT + shift
    assert torch.allclose(lifted_moved(there, a @ g), lifted(x, g), atol=atol)
    once = conv.on_function(lifted, samples, nodes)(x, g)
    again = conv.on_function(lifted_moved, samples.moved(a), nodes)(there, a @ g)
    assert torch.allclose(again, once, atol=atol)
    assert float(once.detach().std()) > 1e-4
    fixed = conv.on_function(lifted_moved, samples, nodes)(there, a @ g)
    assert float((fixed - once).detach().abs().max()) > 10 * atol  # without moving the samples it is Monte Carlo


@pytest.mark.parametrize("group", GROUPS)
def test_pixels_and_functions_agree_where_the_taps_are_the_nodes(group):
    """For the identity sample the window's taps are the quadrature's nodes: one layer, two ways."""
    lift, conv = layers(group, 0)
    eye = torch.eye(2, dtype=torch.float64)
    other = draw_samples(group, 3, spread=0.3, generator=generator(1), dtype=torch.float64)
    here = LieSamples(eye[None], torch.ones(1, dtype=torch.float64))
    nodes, size = tap_offsets(5, eye), 9
    line = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = torch.meshgrid(-line / 2, line / 2, indexing="ij")
    points = torch.stack([x, y], -1)
    image = waves(points).permute(2, 0, 1)[None]
    middle, origin = size // 2, torch.zeros(1, 2, dtype=torch.float64)
    by_function = lift.on_function(waves, nodes)(origin, eye[None])[0]
    assert torch.allclose(lift(image, here)[0, 0, :, middle, middle], by_function, atol=1e-12)

    def on_group(p, h):
        return torch.stack([torch.sin(p[..., 0] + h[..., 0, 1]), torch.cos(p[..., 1] * h[..., 0, 0]), p.sum(-1)], -1)

    planes = torch.stack([on_group(points, h.expand(size, size, 2, 2)) for h in other.elements]).permute(0, 3, 1, 2)[
        None
    ]
    by_function = conv.on_function(on_group, other, nodes)(origin, eye[None])[0]
    assert torch.allclose(conv(planes, here, other)[0, 0, :, middle, middle], by_function, atol=1e-12)


@pytest.mark.parametrize("group", ["SL(2)", "GL+(2)"])
def test_without_stretches_it_is_the_layer_of_rotations_and_shifts(group):
    torch.manual_seed(0)
    full = LieGroupConv2d(group, 2, 3, 5, hidden=8, mask="disc").double()
    turns = LieGroupConv2d("SO(2)", 2, 3, 5, hidden=8).double()
    state = full.state_dict()
    first = state["kernel.hidden.0.weight"]
    state["kernel.hidden.0.weight"] = torch.cat([first[:, :2], first[:, -1:]], 1)  # what is left: plane and angle
    turns.load_state_dict(state)
    flat = draw_samples(group, 6, spread=0.0, generator=generator(3), dtype=torch.float64)
    rotations = draw_samples("SO(2)", 6, generator=generator(3), dtype=torch.float64)
    assert torch.allclose(flat.elements, rotations.elements, atol=1e-12)
    x = torch.randn(2, 6, 2, 8, 8, dtype=torch.float64)
    assert torch.allclose(full(x, flat), turns(x, rotations), atol=1e-10)


def test_a_kernel_of_one_tap_is_a_linear_map_over_the_group():
    conv = LieGroupConv2d("GL+(2)", 2, 3, 1, hidden=8).double()
    samples = draw_samples("GL+(2)", 4, generator=generator(0), dtype=torch.float64)
    x = torch.randn(2, 4, 2, 5, 5, dtype=torch.float64)
    matrix = conv.filters(conv.geometry(samples))[..., 0, 0]
    expected = torch.einsum("oi,bihw->bohw", matrix, x.flatten(1, 2))
    assert torch.allclose(conv(x, samples).flatten(1, 2), expected, atol=1e-12)
    determinant = torch.linalg.det(samples.elements)
    relative = relative_coordinates("GL+(2)", samples.elements[:, None], samples.elements[None])
    k = conv.kernel(torch.cat([torch.zeros(4, 4, 2, dtype=torch.float64), relative], -1)).unflatten(-1, (3, 2))
    by_hand = k * torch.sigmoid(torch.tensor(2.0)) / determinant[None, :, None, None] / 4
    assert torch.allclose(matrix.view(4, 3, 4, 2).permute(0, 2, 1, 3), by_hand, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_quarter_turns_of_an_image_turn_the_planes(seed):
    torch.manual_seed(seed)
    lift = LieLift2d("SO(2)", 1, 3, 5, hidden=8).double()
    samples = draw_samples("SO(2)", 4, generator=generator(seed), dtype=torch.float64)
    x = torch.randn(2, 1, 9, 9, dtype=torch.float64)
    turned = lift(torch.rot90(x, 1, (-2, -1)), samples)
    assert torch.allclose(turned, torch.rot90(lift(x, samples), 1, (-2, -1)).roll(1, 1), atol=1e-10)


def test_more_samples_approach_the_integral():
    """Fresh samples: the error of the invariant answer shrinks as the sample grows (Monte Carlo)."""
    torch.manual_seed(0)
    lift, conv = layers("SL(2)", 0)
    nodes = tap_offsets(5, torch.zeros(1, dtype=torch.float64))
    lifted = lift.on_function(waves, nodes)
    x, g = torch.zeros(1, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)[None]

    def spread(count):
        draws = [draw_samples("SL(2)", count, generator=generator(s), dtype=torch.float64) for s in range(30)]
        return float(torch.stack([conv.on_function(lifted, d, nodes)(x, g)[0] for d in draws]).detach().std(0).mean())

    assert spread(64) < 0.5 * spread(4)


def test_samples_are_members_reproducible_and_weighted():
    for group, members in (("GL+(2)", GLPlus(2)), ("SL(2)", SL(2))):
        a = draw_samples(group, 7, weights="haar", generator=generator(0), dtype=torch.float64)
        b = draw_samples(group, 7, weights="haar", generator=generator(0), dtype=torch.float64)
        assert torch.equal(a.elements, b.elements) and bool(members.contains(a.elements).all())
        assert float(a.weights.mean()) == pytest.approx(1) and float(a.weights.std()) > 0
    angle = draw_samples("SO(2)", 5, generator=generator(0), dtype=torch.float64).elements
    gaps = relative_coordinates("SO(2)", angle, angle.roll(-1, 0))
    assert torch.allclose(gaps, torch.full_like(gaps, 2 / 5), atol=1e-12)
    half = relative_coordinates("SL(2)", angle[:1], -angle[:1])
    assert float(half[0, -1]) == 1.0


def test_the_network_draws_in_training_and_answers_alike_in_evaluation():
    torch.manual_seed(0)
    net = LieResNet("SL(2)", width=4, samples=3, embedding_dim=5, blocks=1, kernel_size=3)
    x = torch.randn(2, 1, 10, 10)
    assert net(x).shape == (2, 5)
    assert not torch.allclose(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    assert torch.allclose(net(x)[:1], net(x[:1]), atol=1e-5)
    copy = LieResNet(**net.init_arguments).eval()
    copy.load_state_dict(net.state_dict())
    assert torch.equal(copy(x), net(x))
    net.train()(x).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


def test_the_siren_starts_with_the_promised_spread():
    torch.manual_seed(0)
    kernel = SirenKernel(4, 2_000, hidden=256, fan_in=25.0)
    values = kernel(torch.rand(200, 4) * 2 - 1)
    assert float(values.detach().var()) == pytest.approx(1 / 25, rel=0.25)


def test_masks():
    v = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.2, 0.0]])
    assert kernel_mask(v, "disc").tolist() == [1, 1, 0]
    assert torch.allclose(kernel_mask(v, "smooth", slope=2.0), torch.sigmoid(torch.tensor([2.0, 0.0, -0.4])))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LieLift2d("SE(2)", 1, 1), "SL"),
        (lambda: LieLift2d("SL(3)", 1, 1), "SL"),
        (lambda: LieLift2d("SL(2)", 1, 1, 4), "kernel_size"),
        (lambda: LieGroupConv2d("SL(2)", 0, 1), "in_channels"),
        (lambda: draw_samples("SL(2)", 0), "samples"),
        (lambda: draw_samples("SL(2)", 2, spread=-1.0), "spread"),
        (lambda: draw_samples("GL+(2)", 2, spread=0.0, weights="haar"), "weights"),
        (lambda: LieResNet("SL(2)", samples=0), "samples"),
        (lambda: LieResNet("SL(2)", width=0), "width"),
        (lambda: LieLift2d("SL(2)", 2, 1)(torch.zeros(1, 1, 8, 8), draw_samples("SL(2)", 2)), "channels"),
        (lambda: LieGroupConv2d("SL(2)", 2, 1)(torch.zeros(1, 3, 2, 8, 8), draw_samples("SL(2)", 2)), "samples"),
        (lambda: SirenKernel(2, 1, omega=0.0), "omega"),
        (lambda: kernel_mask(torch.zeros(1, 2), "smooth", slope=-1.0), "slope"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_float32_is_near_float64():
    lift, conv = layers("GL+(2)", 0)
    samples = draw_samples("GL+(2)", 3, generator=generator(0), dtype=torch.float64)
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    exact = conv(lift(x, samples), samples)
    single = conv.float()(
        lift.float()(x.float(), samples), LieSamples(samples.elements.float(), samples.weights.float())
    )
    assert float((single - exact).detach().abs().max()) < 1e-4
    assert math.isfinite(float(exact.detach().abs().max()))
