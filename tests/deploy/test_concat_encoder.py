"""Encoders side by side."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from erlangen.deploy import ConcatEncoder
from erlangen.stats.linear_probe import fit_ridge
from erlangen.train import two_stage_finetune

seeds = st.integers(0, 10_000)


class Features(nn.Module):
    """A random nonlinear encoder of six numbers, of its own scale and offset."""

    def __init__(self, seed, dim=3, inputs=6, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(inputs, dim, generator=generator, dtype=torch.float64).to(dtype))
        self.scale, self.embedding_dim = 10.0 ** (seed % 5 - 2), dim

    def forward(self, x):
        return self.scale * (3 + torch.tanh(x.flatten(1) @ self.weight))


def data(seed, n=80, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    return x.to(dtype), torch.sin(x.sum(1, keepdim=True)) + x[:, :1]


def least_squares(z, y):
    return float((fit_ridge(z, y, penalty=0.0)(z) - y).square().sum())


@given(seeds)
def test_the_best_probe_never_gets_worse_with_another_encoder(seed):
    x, y = data(seed)
    encoders = [Features(seed + i) for i in range(4)]
    losses = [least_squares(ConcatEncoder(encoders[:n]).fit_stats([x])(x), y) for n in range(1, 5)]
    assert all(b <= a * (1 + 1e-9) + 1e-9 for a, b in pairwise(losses))
    copies = ConcatEncoder([encoders[0]] * 3).fit_stats([x])(x)
    assert least_squares(copies, y) == pytest.approx(losses[0], rel=1e-8)


@given(seeds, st.permutations([0, 1, 2]), st.sampled_from([torch.float64, torch.float32]))
def test_an_order_of_encoders_is_an_order_of_blocks(seed, order, dtype):
    x, _ = data(seed, dtype=dtype)
    encoders = [Features(seed + i, dim=i + 1, dtype=dtype) for i in range(3)]
    plain, other = (ConcatEncoder(e).fit_stats([x])(x) for e in (encoders, [encoders[i] for i in order]))
    blocks = plain.split([1, 2, 3], 1)
    assert torch.equal(other, torch.cat([blocks[i] for i in order], 1))


@given(seeds, st.integers(1, 40))
def test_every_feature_is_standardised_however_the_data_come(seed, size):
    x, _ = data(seed)
    joined = ConcatEncoder([Features(seed), Features(seed + 1)]).fit_stats(x.split(size))
    z = joined(x)
    assert torch.allclose(z.mean(0), torch.zeros(6, dtype=z.dtype), atol=1e-9)
    assert torch.allclose(z.std(0), torch.ones(6, dtype=z.dtype), atol=1e-9)


def test_it_is_frozen_saved_and_loaded():
    x, _ = data(0)
    encoders = [Features(0), nn.Sequential(Features(1), nn.Dropout(0.5))]
    encoders[1].embedding_dim = 3
    joined = ConcatEncoder(encoders).fit_stats([x]).train()
    assert not joined.training and not any(p.requires_grad for p in joined.parameters())
    assert torch.equal(joined(x), joined(x)) and joined.embedding_dim == joined(x).shape[1] == 6
    again = ConcatEncoder([Features(7), nn.Sequential(Features(8), nn.Dropout(0.5))])
    again.load_state_dict(joined.state_dict())
    again.encoders[0].scale, again.encoders[1][0].scale = joined.encoders[0].scale, joined.encoders[1][0].scale
    assert torch.equal(again(x), joined(x))


def test_bad_input_is_named():
    x, _ = data(0)
    with pytest.raises(ValueError, match="encoders"):
        ConcatEncoder([])
    with pytest.raises(RuntimeError, match="fit_stats"):
        ConcatEncoder([Features(0)])(x)
    with pytest.raises(ValueError, match="number 1"):
        ConcatEncoder([Features(0), Features(1, inputs=5)]).fit_stats([x])
    with pytest.raises(ValueError, match="2 are needed"):
        ConcatEncoder([Features(0)]).fit_stats([x[:1]])
    with pytest.raises(ValueError, match="encoders"):
        two_stage_finetune([], None)
