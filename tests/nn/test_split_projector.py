"""Each half of an embedding is projected by itself."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.nn import SplitProjector


@given(st.integers(2, 9), st.data(), st.integers(2, 12))
def test_halves_do_not_mix_and_widths_are_shared_out(dim: int, data: st.DataObject, width: int) -> None:
    split = data.draw(st.integers(0, dim - 1))
    projector = SplitProjector(dim, split, (width, width)).eval()
    y = torch.randn(3, dim, requires_grad=True)
    stays, moves = projector(y)
    assert (stays.shape[1], moves.shape[1]) == projector.out_dims and sum(projector.out_dims) == width
    (gradient,) = torch.autograd.grad(stays.sum(), y)
    assert not bool(gradient[:, dim - split :].any())


def test_without_widths_it_only_splits_and_bad_sizes_are_named() -> None:
    y = torch.randn(1, 5)  # a batch of one stays a batch
    stays, moves = SplitProjector(5, 2, ())(y)
    assert torch.equal(stays, y[:, :3]) and torch.equal(moves, y[:, 3:])
    with pytest.raises(ValueError, match="split: 5 of 5"):
        SplitProjector(5, 5)
    with pytest.raises(ValueError, match="widths"):
        SplitProjector(5, 2, (0,))
    with pytest.raises(ValueError, match="y: 4"):
        SplitProjector(5, 2)(torch.zeros(2, 4))
