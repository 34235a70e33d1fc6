"""Weights made from codes: equal to a loop over codes, of one size for all codes, and the base model where nothing is added."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erlangen.nn.hyper import HyperNet, MagnitudeInvariantEncoding, hypernetize

KINDS = st.sampled_from([torch.float32, torch.float64])


def convnet() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(3 * 4, 2))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), KINDS, st.integers(0, 99))
def test_every_code_has_one_norm_and_can_be_read_back(k: int, dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    low, high = -torch.rand(k), 0.5 + torch.rand(k)
    encode = MagnitudeInvariantEncoding(low.tolist(), high.tolist()).to(dtype)
    code = (low + (high - low) * torch.rand(7, k)).clamp(low, high).to(dtype)
    encoded = encode(code)
    torch.testing.assert_close(encoded.norm(dim=-1), torch.full((7,), math.sqrt(k), dtype=dtype))
    torch.testing.assert_close(encode.inverse(encoded), code, rtol=1e-5, atol=1e-6)


def test_the_ends_of_the_range_are_the_axes() -> None:
    encode = MagnitudeInvariantEncoding()
    wanted = torch.tensor([[1.0, 0.0], [math.sqrt(0.5)] * 2, [0.0, 1.0]])
    torch.testing.assert_close(encode(torch.tensor([[0.0], [0.5], [1.0]])), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("select", [None, "4.*"])
def test_many_codes_at_once_equal_one_after_the_other(dtype: torch.dtype, select: str | None) -> None:
    torch.manual_seed(0)
    net = HyperNet(2, convnet().to(dtype), hidden=(8, 8), select=select)
    nn.init.normal_(net.last.weight, std=0.1)
    x, codes = torch.randn(5, 1, 4, 4, dtype=dtype), torch.rand(5, 2, dtype=dtype)
    every = torch.stack([net(x, code=code) for code in codes])
    torch.testing.assert_close(net.each(x, codes=codes), every)
    torch.testing.assert_close(net(x, code=codes), every[range(5), range(5)])
    gradient = torch.autograd.grad(net(x, code=codes).square().sum(), list(net.parameters()))
    wanted = torch.autograd.grad(every[range(5), range(5)].square().sum(), list(net.parameters()))
    for ours, theirs in zip(gradient, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_nothing_added_is_the_base_model_bit_for_bit() -> None:
    torch.manual_seed(1)
    model = convnet()
    net = hypernetize(model, 3)
    nn.init.zeros_(net.last.weight)
    x = torch.randn(4, 1, 4, 4)
    assert torch.equal(net(x, code=torch.rand(3)), model(x))
    assert all(net.target.get_parameter(name) is not p for name, p in model.named_parameters())


@settings(max_examples=10, deadline=None)
@given(st.floats(0.01, 10.0), st.integers(0, 99))
def test_without_the_parametrisation_weights_grow_with_the_code(scale: float, seed: int) -> None:
    """h(a g) = a h(g): the pathology, which a remedy must be measured against."""
    torch.manual_seed(seed)
    net = HyperNet(2, nn.Linear(3, 4, bias=False).double(), hidden=(8,), encoding="none", residual=False)
    code = torch.rand(2, dtype=torch.float64)
    torch.testing.assert_close(net.weights(scale * code)["weight"], scale * net.weights(code)["weight"])


def test_with_it_weights_and_gradients_are_as_large_for_every_code() -> None:
    torch.manual_seed(0)
    codes = torch.tensor([[0.01], [0.1], [0.5], [1.0]])
    for residual in (False, True):
        net = HyperNet(1, nn.Linear(64, 64, bias=False), hidden=(1024, 1024), residual=residual)
        base = net.target.weight if residual else 0
        spread = (net.weights(codes)["weight"] - base).detach().flatten(1).std(1)
        assert float(spread.max() / spread.min()) < 1.05**2
        norms = []
        for code in codes:
            (net.weights(code)["weight"].sum()).backward()
            norms.append(float(net.last.weight.grad.norm()))
            net.zero_grad()
        assert max(norms) / min(norms) < 1.05**2


def test_without_residual_weights_start_as_large_as_the_targets() -> None:
    torch.manual_seed(0)
    target = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64))
    wanted = float(target[0].weight.std())
    net = hypernetize(target, 2, hidden=(512,), residual=False)
    made = net.weights(torch.rand(2))
    assert 0.85 < float(made["0.weight"].std()) / wanted < 1.15
    torch.testing.assert_close(made["1.weight"], torch.ones(64), rtol=0, atol=0.01)


def test_tied_parameters_stay_tied() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    net = HyperNet(1, nn.Sequential(first, second), hidden=(4,))
    assert net.selected == ["0.weight"]
    code, x = torch.tensor([0.3]), torch.randn(2, 3)
    weight = net.weights(code)["0.weight"]
    torch.testing.assert_close(net(x, code=code), x @ weight.T @ weight.T)


def test_the_parametrisation_learns_where_the_plain_one_starts_at_zero() -> None:
    """One step of SGD on codes near 0 moves the output only where the code has a size."""
    moved = {}
    for encoding, residual in (("mip", True), ("none", False)):
        torch.manual_seed(0)
        net = HyperNet(1, nn.Linear(4, 4, bias=False), hidden=(32,), encoding=encoding, residual=residual)
        x, code = torch.randn(8, 4), torch.tensor([1e-3])
        before = net(x, code=code)
        (before - 1).square().mean().backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.0 if p.grad is None or p.ndim < 2 else 0.1 * p.grad
        moved[encoding] = float((net(x, code=code) - before).detach().norm())
    assert moved["mip"] > 100 * moved["none"]


def test_the_ends_of_a_range_are_allowed_in_every_dtype() -> None:
    encode = MagnitudeInvariantEncoding(0.1, 0.7)
    for dtype in (torch.float32, torch.float64):
        assert bool(torch.isfinite(encode.to(dtype)(torch.tensor([0.1, 0.7], dtype=dtype))).all())


def test_bad_input_is_named() -> None:
    net = HyperNet(2, nn.Linear(2, 2), hidden=(4,))
    with pytest.raises(ValueError, match=r"code\[1, 0\]: 1.5; allowed: 0 to 1"):
        net(torch.zeros(2, 2), code=torch.tensor([[0.5, 0.5], [1.5, 0.5]]))
    with pytest.raises(ValueError, match=r"code\[0\]: nan"):
        net(torch.zeros(2, 2), code=torch.tensor([math.nan, 0.5]))
    with pytest.raises(ValueError, match="code"):
        net(torch.zeros(2, 2), code=torch.rand(3))
    with pytest.raises(ValueError, match="float64"):
        net(torch.zeros(2, 2), code=torch.rand(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="batches of"):
        net(torch.zeros(3, 2), code=torch.rand(2, 2))
    with pytest.raises(ValueError, match="select"):
        hypernetize(nn.Linear(2, 2), 1, select="wieght")
    with pytest.raises(ValueError, match="select"):
        hypernetize(nn.ReLU(), 1)
    with pytest.raises(ValueError, match="code_dim"):
        HyperNet(0, nn.Linear(2, 2))
    with pytest.raises(ValueError, match="low"):
        MagnitudeInvariantEncoding(1.0, 0.0)
    with pytest.raises(ValueError, match="statistics"):
        hypernetize(nn.BatchNorm1d(2), 1)(torch.zeros(2, 2), code=torch.rand(2, 1))


@pytest.mark.parametrize("width", [4, 64])
def test_the_correction_starts_a_tenth_as_large_as_the_weights(width: int) -> None:
    torch.manual_seed(0)
    net = hypernetize(nn.Linear(width, width), 2, hidden=(512,))
    added = net.weights(torch.rand(2))["weight"] - net.target.weight
    assert 0.07 < float(added.std() / net.target.weight.std()) < 0.13
