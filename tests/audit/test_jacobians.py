"""Jacobian products against finite differences and each other, tangent kernels against explicit Jacobians."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.audit.jacobians import empirical_ntk, jacobian_gram, jvp, vjp

seeds = st.integers(0, 10_000)


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double().eval()


def inputs(seed: int, n: int = 7) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def explicit(net: nn.Module, x: Tensor) -> Tensor:
    """`[samples, outputs, parameters]`, one gradient at a time."""
    parameters = list(net.parameters())
    rows = [[torch.autograd.grad(o, parameters, retain_graph=True) for o in net(s[None])[0]] for s in x]
    return torch.stack([torch.stack([torch.cat([g.flatten() for g in o]) for o in r]) for r in rows])


@given(seeds)
@settings(max_examples=5)
def test_products_and_kernels_are_those_of_the_explicit_jacobian(seed: int) -> None:
    net, x = model(seed), inputs(seed)
    j = explicit(net, x)
    v = {n: torch.randn_like(p) for n, p in net.named_parameters()}
    assert torch.allclose(jvp(net, x, v, rows=3), j @ torch.cat([t.flatten() for t in v.values()]))
    u = torch.randn(7, 2).double()
    pulled = vjp(net, x, u, rows=3)
    assert torch.allclose(torch.cat([t.flatten() for t in pulled.values()]), torch.einsum("nip,ni->p", j, u))
    full = torch.einsum("aip,bjp->abij", j, j)
    assert torch.allclose(empirical_ntk(net, x, outputs="full"), full)
    size = 4 * 8 * j[0].numel()
    for budget in (size, 2 * size, 10**9):
        assert torch.allclose(empirical_ntk(net, x, nbytes=budget), full.diagonal(dim1=2, dim2=3).mean(-1))
    assert torch.allclose(empirical_ntk(net, x, x[:2], outputs="full"), full[:, :2])


@given(seeds)
@settings(max_examples=5)
def test_the_gram_of_a_linear_map_is_its_own(seed: int) -> None:
    a = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = inputs(seed)
    assert torch.allclose(jacobian_gram(lambda z: z @ a.T, x), a.T @ a)
    assert torch.allclose(jacobian_gram(lambda z: z @ a.T, x, nbytes=7 * 3 * 8), a.T @ a)
    drawn = jacobian_gram(lambda z: z @ a.T, x, probes=4000, generator=torch.Generator().manual_seed(0))
    assert (drawn - a.T @ a).norm() < 0.15 * (a.T @ a).norm()


def test_a_step_along_the_direction_agrees_with_the_product() -> None:
    net, x = model(0), inputs(0)
    v = {"0.weight": torch.ones(5, 3).double()}
    before = net(x).detach()
    change = jvp(net, x, v)
    with torch.no_grad():
        net[0].weight += 1e-6
    assert torch.allclose((net(x) - before) / 1e-6, change, atol=1e-5)


def test_what_is_refused() -> None:
    net, x = model(0), inputs(0)
    with pytest.raises(ValueError, match="nbytes"):
        empirical_ntk(net, x, nbytes=100)
    with pytest.raises(ValueError, match="tangent"):
        jvp(net, x, {"nothing": x})
    with pytest.raises(ValueError, match="cotangent"):
        vjp(net, x, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="trainable"):
        empirical_ntk(nn.ReLU(), x)
    with pytest.raises(ValueError, match="x: "):
        jacobian_gram(lambda z: z, torch.zeros(2, 3, 4))
