"""Group convolutions against their definition, and what must stay true of them through training, saving and compiling."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from erlangen.groups import parse
from erlangen.nn.images import GroupConv2d, LazyGroupConv2d, RegularFields, filter_basis
from erlangen.nn.images.filters import relative_index

EXACT = ["C1", "C2", "C4", "D1", "D2", "D4"]


def rows_of(group):
    """(rotation, flip) of every element, in the order of the regular representation."""
    elements = group.elements()
    pairs = zip(*elements, strict=True) if isinstance(elements, tuple) else ((g, 0) for g in elements)
    return [(int(rot), int(flip)) for rot, flip in pairs]


def move(image, rot, flip, n):
    """r^rot s^flip on a picture, written down again with nothing but rot90 and flip (n divides 4)."""
    return torch.rot90(image.flip(-1) if flip else image, rot * 4 // n, (-2, -1))


def element(group, index):
    elements = group.elements()
    return tuple(e[index] for e in elements) if isinstance(elements, tuple) else elements[index]


@pytest.mark.parametrize("name", EXACT)
def test_equals_the_definition(name):
    """out(x, g) = sum over y, h of f(x + y, h) w(g^-1 y, g^-1 h), with the group law written out by hand."""
    group = parse(name)
    n = int(name[1:])
    torch.manual_seed(1)
    layer = GroupConv2d(name, 2, 3, 3, padding="valid").double()
    torch.nn.init.normal_(layer.bias)
    learned = torch.einsum("oikm,mp->oikp", layer.weight, layer.basis[:, :9]).unflatten(-1, (3, 3))  # at the identity
    x = torch.randn(2, 2 * group.order, 6, 5, dtype=torch.float64)
    expected = torch.zeros(2, 3, group.order, 4, 3, dtype=torch.float64)
    rows = rows_of(group)
    for g, (a, s) in enumerate(rows):
        for h, (b, t) in enumerate(rows):
            difference = (b - a) % n if not s else (a - b) % n  # g^-1 h for g = r^a s^s, h = r^b s^t
            k = rows.index((difference, s ^ t))
            expected[:, :, g] += F.conv2d(x[:, h :: group.order], move(learned[:, :, k], a, s, n))
    expected += layer.bias[None, :, None, None, None]
    torch.testing.assert_close(layer(x), expected.flatten(1, 2), rtol=1e-12, atol=1e-12)


@given(
    name=st.sampled_from(EXACT),
    size=st.integers(5, 9),
    kernel=st.sampled_from([1, 3, 5]),
    lifting=st.booleans(),
    padding=st.sampled_from(["same", "border", "valid"]),
    seed=st.integers(0, 99),
)
def test_moving_the_input_moves_the_output(name, size, kernel, lifting, padding, seed):
    torch.manual_seed(seed)
    group = parse(name)
    layer = GroupConv2d(name, 2, 2, kernel, input="trivial" if lifting else "regular", padding=padding)
    symmetry = layer.symmetries[0]
    x = torch.randn(2, 2 if lifting else 2 * group.order, size, size)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        moved, signal = layer.to(dtype), x.to(dtype)
        for index in range(group.order):
            g = element(group, index)
            expected = symmetry.output_action(g, moved(signal))
            torch.testing.assert_close(moved(symmetry.input_action(g, signal)), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["C8", "D8", "C12"])
def test_quarter_turns_stay_exact_in_finer_groups(name):
    group = parse(name)
    layer = GroupConv2d(name, 1, 2, 5).double()
    act = RegularFields(group)
    x = torch.randn(1, group.order, 8, 8, dtype=torch.float64)
    g = element(group, int(name[1:]) // 4)
    torch.testing.assert_close(layer(act(g, x)), act(g, layer(x)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("name", ["C8", "C6", "C16"])
def test_sampling_error_on_smooth_waves_is_small(kernel, name):
    """A filter turned by g answers a plane wave turned by g as the filter answers the wave, up to sampling."""
    basis = filter_basis(parse(name), kernel)
    n = int(name[1:])
    ticks = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    y, x = torch.meshgrid(-ticks, ticks, indexing="ij")
    generator = torch.Generator().manual_seed(0)
    waves = torch.rand(64, 2, generator=generator, dtype=torch.float64).sub(0.5).mul(2 * torch.pi * 0.25)
    error = torch.zeros(n, dtype=torch.float64)

    def response(filters, waves):
        phase = waves[:, :1] * x.flatten() + waves[:, 1:] * y.flatten()
        return torch.polar(torch.ones_like(phase), phase) @ filters.flatten(1).T.to(torch.complex128)

    upright = response(basis[0], waves)
    for index in range(n):
        angle = torch.tensor(2 * torch.pi * index / n, dtype=torch.float64)
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
        error[index] = (response(basis[index], waves @ turn.T) - upright).norm() / upright.norm()
    assert error[0] < 1e-14
    assert error.max() < 0.05


def test_border_padding_repeats_the_border():
    x = torch.randn(2, 8, 6, 7)
    layer = GroupConv2d("C4", 2, 3, 5, padding="border")
    inside = GroupConv2d("C4", 2, 3, 5, padding="valid")
    inside.load_state_dict(layer.state_dict())
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    torch.testing.assert_close(layer(x), inside(padded))


@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
def test_a_constant_background_stays_constant_with_border_padding(name):
    """Zeros outside draw a frame around it, which turns by 45 degrees do not leave in place."""
    background = torch.full((1, 1, 9, 9), -0.4)

    def spread(padding):
        torch.manual_seed(0)
        y = GroupConv2d(name, 1, 2, 3, input="trivial", padding=padding)(background)
        return float((y - y[..., 4:5, 4:5]).detach().abs().max())

    assert spread("border") < 1e-5
    assert spread("same") > 1e-2


def test_relative_index_undoes_the_product():
    for name in ("C5", "D3", "D4"):
        group = parse(name)
        index = relative_index(group)
        for g in range(group.order):
            assert torch.equal(group.table[g][index[g]], torch.arange(group.order))


def test_batch_of_elements_acts_elementwise():
    group = parse("D4")
    act = RegularFields(group)
    x = torch.randn(8, 16, 5, 5)
    together = act(group.elements(), x)
    for index in range(8):
        torch.testing.assert_close(together[index], act(element(group, index), x[index]))


class TestTheKeptFilter:
    """In evaluation the expanded filter is computed once, and never served after the weight has changed."""

    @pytest.fixture
    def layer(self):
        torch.manual_seed(0)
        return GroupConv2d("C4", 2, 2, 3).eval()

    @staticmethod
    def fresh(layer, x):
        with torch.no_grad():
            return copy.deepcopy(layer).train()(x)

    def test_is_reused(self, layer):
        with torch.no_grad():
            assert layer.filters() is layer.filters()

    def test_is_never_kept_with_gradients(self, layer):
        assert layer.filters() is not layer.filters()
        assert layer.filters().requires_grad
        layer.train()
        with torch.no_grad():
            assert layer.filters() is not layer.filters()

    @pytest.mark.parametrize("change", ["load", "step", "in_place", "replace_data", "to_half_and_back", "double"])
    def test_is_fresh_after(self, layer, change):
        x = torch.randn(1, 8, 6, 6)
        with torch.no_grad():
            before = layer(x)
        if change == "load":
            layer.load_state_dict(GroupConv2d("C4", 2, 2, 3).state_dict())
        elif change == "step":
            layer(x).square().sum().backward()
            torch.optim.SGD(layer.parameters(), lr=0.1).step()
        elif change == "in_place":
            with torch.no_grad():
                layer.weight.mul_(3)
        elif change == "replace_data":
            layer.weight.data = layer.weight.data * 3
        elif change == "to_half_and_back":
            layer.bfloat16().float()
        else:
            layer, x, before = layer.double(), x.double(), before.double()
        with torch.no_grad():
            after = layer(x)
        torch.testing.assert_close(after, self.fresh(layer, x))
        assert not torch.equal(after, before)

    def test_from_inference_mode_serves_gradients_of_the_input(self, layer):
        layer.requires_grad_(False)
        x = torch.randn(1, 8, 6, 6)
        with torch.inference_mode():
            layer(x)
        x.requires_grad_()
        layer(x).sum().backward()
        assert x.grad is not None


def test_gradients_are_those_of_the_definition():
    layer = GroupConv2d("D2", 1, 1, 3).double()
    x = torch.randn(1, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, (x,)), (x, layer.weight)
    )


def test_lazy_layer_takes_its_fields_from_the_input_or_the_state():
    lazy = LazyGroupConv2d("C4", 3, 3)
    lazy(torch.randn(1, 8, 5, 5))
    assert type(lazy) is GroupConv2d and lazy.in_fields == 2
    other = LazyGroupConv2d("C4", 3, 3)
    other.load_state_dict(lazy.state_dict())
    x = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(other(x), lazy(x))


def test_nan_in_nan_out():
    x = torch.zeros(1, 4, 5, 5)
    x[0, 0, 2, 2] = torch.nan
    assert GroupConv2d("C4", 1, 1, 3)(x)[0, :, 2, 2].isnan().all()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: GroupConv2d("SO(3)", 1, 1), "group: SO"),
        (lambda: GroupConv2d("C4", 1, 1, 4), "kernel_size: got 4"),
        (lambda: GroupConv2d("C8", 1, 1, 3, basis="pixel"), "basis: 'pixel'"),
        (lambda: GroupConv2d("C4", 0, 1), "in_fields"),
        (lambda: GroupConv2d("C4", 2, 1)(torch.zeros(1, 7, 9, 9)), "x: got 7 channels"),
        (lambda: GroupConv2d("C4", 1, 1, 5, padding="valid")(torch.zeros(1, 4, 4, 9)), "x: image 4 x 9 is smaller"),
    ],
)
def test_bad_input_is_named(build, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")) as caught:
        build()
    assert "\n" not in str(caught.value)
