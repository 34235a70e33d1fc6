"""All Clebsch-Gordan paths against e3nn's layers, whose weights fit ours."""

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.nn.points import TensorProduct

CHOICES = [
    ("3x0e+2x1o+1x1e", "2x0e+1x1o+1x2e", "2x0e+2x1o+1x1e+1x0o"),
    ("4x1o", "4x1o", "4x0e+4x1e+4x2e"),
    ("1x0e+1x1o+1x2e+1x3o", "1x0e+1x1o+1x2e", "2x3o+2x2o"),
]


@settings(max_examples=9)
@given(st.sampled_from(CHOICES), st.integers(0, 1000), st.sampled_from([torch.float64, torch.float32]))
def test_equals_e3nn_with_its_own_weights(choice, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = TensorProduct(*choice).to(dtype), o3.FullyConnectedTensorProduct(*choice).to(dtype)
    assert ours.num_weights == theirs.weight_numel
    with torch.no_grad():
        ours.weight.copy_(theirs.weight)
    x, y = (torch.randn(5, o3.Irreps(c).dim, generator=generator, dtype=dtype) for c in choice[:2])
    torch.testing.assert_close(ours(x, y), theirs(x, y), atol=1e-5 if dtype == torch.float32 else 2e-7, rtol=0)


def test_channel_by_channel_with_a_weight_for_every_sample_is_e3nns_uuu():
    text = ("4x0e+4x1o", "4x0e+4x1o", "4x0e+4x1o+4x1e")
    ours = TensorProduct(*text, connection="channels", shared=False)
    instructions = [(*path, "uuu", True) for path in ours.paths]
    theirs = o3.TensorProduct(*text, instructions, shared_weights=False, internal_weights=False)
    x, y, w = torch.randn(3, 16), torch.randn(3, 16), torch.randn(3, ours.num_weights)
    torch.testing.assert_close(ours(x, y, w), theirs(x, y, w), atol=1e-5, rtol=0)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="irreps_out: no path"):
        TensorProduct("1o", "1o", "3o")
    with pytest.raises(ValueError, match="needs one multiplicity"):
        TensorProduct("2x1o", "3x1o", "2x0e", connection="channels")
    with pytest.raises(ValueError, match="irreps_in2: 1x1o has 3 components"):
        TensorProduct("1o", "1o", "0e")(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"weight: expected \[..., 1\]"):
        TensorProduct("1o", "1o", "0e", shared=False)(torch.zeros(1, 3), torch.zeros(1, 3))
