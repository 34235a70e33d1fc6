"""A convolution whose positions have filters of their own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erlangen.nn.images import LocallyConnected2d


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(3, 8), st.integers(3, 8), st.integers(1, 3), st.integers(1, 3),
    st.integers(0, 2), st.booleans(),
)  # fmt: skip
def test_with_tied_weights_it_is_a_convolution(
    channels: int, out: int, height: int, width: int, kernel: int, stride: int, padding: int, bias: bool
) -> None:
    conv = nn.Conv2d(channels, out, (kernel, max(1, kernel - 1)), stride, padding, bias=bias).double()
    local = LocallyConnected2d.from_conv(conv, (height, width))
    x = torch.randn(2, channels, height, width, dtype=torch.float64)
    torch.testing.assert_close(local(x), conv(x))
    assert local(x[:0]).shape == conv(x[:0]).shape
    assert local.weight.numel() == conv.weight.numel() * local(x).shape[-1] * local(x).shape[-2]


def test_every_position_is_a_linear_map_of_its_window() -> None:
    local = LocallyConnected2d(2, 3, input_size=5, kernel_size=3, stride=2).double()
    x = torch.randn(4, 2, 5, 5, dtype=torch.float64)
    y = local(x)
    for place, (row, column) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        window = x[:, :, row : row + 3, column : column + 3].flatten(1)
        assert local.bias is not None
        torch.testing.assert_close(y[:, :, row // 2, column // 2], window @ local.weight[place] + local.bias[place])
    assert torch.autograd.gradcheck(local, x.requires_grad_())


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: LocallyConnected2d(1, 1, input_size=3, kernel_size=4), "larger"),
        (lambda: LocallyConnected2d(0, 1, input_size=3, kernel_size=2), "at least 1"),
        (lambda: LocallyConnected2d(1, 1, input_size=4, kernel_size=2)(torch.zeros(1, 1, 5, 5)), "belong to positions"),
        (lambda: LocallyConnected2d.from_conv(nn.Conv2d(2, 2, 3, groups=2), 5), "conv"),
    ],
)
def test_bad_input(build: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        build()  # type: ignore[operator]
