"""Criticality, kernels and vertices against published constants, closed forms and Monte Carlo."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.audit.theory import (
    criticality,
    empirical_ntk,
    four_point,
    init_critical_,
    kernel_recursion,
    ntk_recursion,
    optimal_aspect_ratio,
    sample_networks,
    trace_weights,
    vertex_slope,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- criticality


def test_published_constants() -> None:
    gelu, swish = criticality("gelu"), criticality("swish")
    assert (gelu.C_b, gelu.C_W, gelu.K_star) == pytest.approx(
        (0.17292239, 1.98305826, (3 + math.sqrt(17)) / 2), abs=1e-7
    )
    assert (swish.C_b, swish.C_W) == pytest.approx((0.55514317, 1.98800468), abs=1e-7)
    assert swish.K_star == pytest.approx(14.3201736, abs=1e-6)
    assert gelu.universality_class == swish.universality_class == "half-stable"


@pytest.mark.parametrize(("name", "C_W"), [("relu", 2.0), ("linear", 1.0), ("abs", 1.0), ("leaky_relu", 2 / 1.0001)])
def test_scale_invariant(name: str, C_W: float) -> None:
    found = criticality(name)
    assert found.universality_class == "scale-invariant" and found.C_b == 0.0
    assert pytest.approx(C_W) == found.C_W


@pytest.mark.parametrize(("name", "C_W", "a_1"), [("tanh", 1.0, -2.0), ("sin", 1.0, -1.0), ("erf", math.pi / 4, -2.0)])
def test_at_zero(name: str, C_W: float, a_1: float) -> None:
    found = criticality(name)
    assert found.universality_class == "K*=0"
    assert (found.C_W, found.a_1) == pytest.approx((C_W, a_1), abs=1e-9)
    K = kernel_recursion(name, found.C_b, found.C_W, 500)
    assert float(-a_1 * 500 * K[-1]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["sign", "sigmoid", "softplus", "cos", "exp"])
def test_without_criticality_there_is_a_reason(name: str) -> None:
    found = criticality(name)
    assert not found.exists and found.notes and math.isnan(found.C_W)


def test_functions_of_the_user() -> None:
    assert pytest.approx(1.98305826, abs=1e-7) == criticality(lambda z: z * torch.special.ndtr(z)).C_W
    assert not criticality(lambda z: torch.exp(z * z)).exists


@settings(max_examples=4)
@given(st.floats(0.0, 0.95))
def test_residual_tuning_divides_both_variances(residual: float) -> None:
    plain, skip = criticality("gelu"), criticality("gelu", residual=residual)
    share = 1 - residual**2
    assert (skip.C_b, skip.C_W, skip.K_star) == pytest.approx((share * plain.C_b, share * plain.C_W, plain.K_star))


# --- kernels


def test_relu_keeps_its_variance_and_its_arccos_kernel() -> None:
    x = torch.randn(5, 7, generator=generator(), dtype=torch.float64)
    K = kernel_recursion("relu", 0.0, 2.0, 3, x)
    torch.testing.assert_close(K[2].diagonal(), K[0].diagonal())
    first = 2 * x @ x.T / 7
    length = first.diagonal().sqrt()
    angle = (first / length[:, None] / length).clamp(-1, 1).arccos()
    cho_saul = length[:, None] * length / math.pi * (angle.sin() + (math.pi - angle) * angle.cos())
    torch.testing.assert_close(K[1], cho_saul, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_tangent_kernel_is_positive_and_alone_equals_in_company(name: str) -> None:
    x = torch.randn(6, 4, generator=generator(1), dtype=torch.float64)
    K, T = ntk_recursion(name, 0.1, 1.8, 4, x, lambda_b=0.3, lambda_W=1.2)
    assert float(torch.linalg.eigvalsh(T[-1]).min()) > -1e-9
    for i in range(2):
        k, t = ntk_recursion(name, 0.1, 1.8, 4, lambda_b=0.3, lambda_W=1.2, K=float(K[0, i, i]))
        torch.testing.assert_close(k, K[:, i, i], rtol=1e-9, atol=0)
        torch.testing.assert_close(t, T[:, i, i], rtol=1e-9, atol=0)


def test_tangent_kernel_of_a_linear_network() -> None:
    """Each of the `depth` layers adds the same: T = depth * K for unit tuning."""
    x = torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    K, T = ntk_recursion("linear", 0.0, 1.0, 5, x, lambda_b=0.0, lambda_W=1.0)
    torch.testing.assert_close(T[-1], 5 * K[-1])


def test_wide_networks_approach_the_kernel() -> None:
    x = torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    theory = ntk_recursion("tanh", 0.0, 1.0, 3, x, lambda_b=0.0, lambda_W=1.0, layers="last")[1]
    errors = []
    for width in (16, 256):
        parts = []
        for seed in range(12 if width == 16 else 6):
            net = _normal_mlp([3, width, width, 1], seed)
            parts.append(empirical_ntk(net, x))
        errors.append(float((torch.stack(parts).detach() - theory).square().mean().sqrt()))
    assert errors[1] < errors[0] / 2  # the theory says a quarter


class _NormalLinear(nn.Module):
    """Standard normal weights divided by the root of the fan-in when used."""

    def __init__(self, n: int, m: int, seed: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(m, n, generator=generator(seed), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T / math.sqrt(self.weight.shape[1])


def _normal_mlp(sizes: list[int], seed: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        layers += [nn.Tanh()] * (i > 0) + [_NormalLinear(n, m, 100 * seed + i)]
    return nn.Sequential(*layers)


def test_blocks_do_not_change_the_empirical_kernel() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 2)).double()
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    whole = empirical_ntk(net, x, outputs="full")
    assert net.training
    torch.testing.assert_close(empirical_ntk(net, x, outputs="full", nbytes=4 * 2 * 24 * 8 * 3), whole)
    torch.testing.assert_close(empirical_ntk(net, x, x, outputs="full"), whole)
    assert empirical_ntk(net, x, y).shape == (5, 4)
    mixed = empirical_ntk(net, x, torch.cat([y, x]), outputs="full")
    torch.testing.assert_close(mixed[:, 4:], whole)
    assert all(p.grad is None for p in net.parameters()) and not net[0]._forward_hooks
    net.eval()
    rows = []
    for one in x:
        for output in net(one[None])[0]:
            gradient = torch.autograd.grad(output, list(net.parameters()), retain_graph=True)
            rows.append(torch.cat([g.flatten() for g in gradient]))
    by_hand = torch.stack(rows)
    torch.testing.assert_close(whole.permute(0, 2, 1, 3).reshape(10, 10), by_hand @ by_hand.T)


def test_shared_convolutional_and_row_wise_parameters_all_count() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.twice, self.head = nn.Conv1d(1, 3, 3), nn.Linear(12, 12), nn.Linear(12, 2)
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.conv(x.unsqueeze(1))).flatten(1)
            return self.scale * self.head(torch.tanh(self.twice(torch.tanh(self.twice(x)))))

    net, x = Mixed().double(), torch.randn(4, 6, generator=generator(), dtype=torch.float64)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(output, list(net.parameters()), retain_graph=True)])
        for output in net(x).flatten()
    ]
    by_hand = torch.stack(rows)
    found = empirical_ntk(net, x, outputs="full")
    torch.testing.assert_close(found.permute(0, 2, 1, 3).reshape(8, 8), by_hand @ by_hand.T)
    torch.testing.assert_close(empirical_ntk(net, x), found.diagonal(dim1=2, dim2=3).mean(2))


# --- vertices


def test_vertex_holds_at_every_width_for_linear_networks() -> None:
    depth, width = 6, 8
    found = four_point("linear", depth, width)
    layer = torch.arange(depth, dtype=torch.float64)
    assert found.exact
    torch.testing.assert_close(1 + found.fluctuation, (1 + 2 / width) ** layer)  # E[z^4] = 3 K^2 prod(1 + 2/n)


@pytest.mark.parametrize(("name", "nu"), [("relu", 5.0), ("linear", 2.0), ("tanh", 2 / 3)])
def test_vertex_slopes(name: str, nu: float) -> None:
    assert vertex_slope(name) == pytest.approx(nu)
    found = four_point(name, 200, 10**9)
    assert float(found.V[-1] / found.K[-1] ** 2) / 200 == pytest.approx(nu, rel=0.03)


def _measured_vertex(name: str, depth: int, width: int, networks: int, residual: float = 0.0) -> tuple[float, float]:
    tuned = criticality(name, residual=residual)
    square, fourth = sample_networks(
        name,
        depth,
        width,
        networks,
        C_b=tuned.C_b,
        C_W=tuned.C_W,
        K=tuned.K_star if tuned.K_star > 0 else 1.0,
        residual=residual,
        generator=generator(),
        dtype=torch.float32,
    )[:, -1].double()
    # the mean of squares varies by its neurons' own spread and by V
    own = fourth.mean() - square.mean() ** 2
    V = (square.var() - own / width) * width / (1 - 1 / width)
    return float(V), float(square.mean())


@pytest.mark.parametrize("name", ["relu", "linear", "gelu"])
def test_vertex_equals_monte_carlo(name: str) -> None:
    V, K = _measured_vertex(name, 6, 48, 12_000)
    theory = four_point(name, 6, 48)
    assert pytest.approx(float(theory.K[-1]), rel=0.02) == K
    assert pytest.approx(float(theory.V[-1]), rel=0.06 if theory.exact else 0.25) == V


def test_residual_tower_equals_the_derived_numbers_and_monte_carlo() -> None:
    assert float(four_point("relu", 8, 10**9, math.sqrt(0.5)).V[-1]) == pytest.approx(28.35, abs=0.01)
    assert float(four_point("relu", 8, 10**9, math.sqrt(0.9)).V[-1]) == pytest.approx(3.93, abs=0.01)
    V, _ = _measured_vertex("relu", 8, 256, 3_000, residual=math.sqrt(0.9))
    assert pytest.approx(3.93, rel=0.15) == V
    assert vertex_slope("linear", residual=0.6) == pytest.approx(2 * (1 - 0.6**4))


def test_the_tower_settles_at_its_slope() -> None:
    found = four_point("relu", 400, 10**9, 0.7)
    assert float(found.V[-1] - found.V[-2]) == pytest.approx(vertex_slope("relu", residual=0.7), rel=1e-6)


def test_aspect_ratios() -> None:
    ratios = [optimal_aspect_ratio(name) for name in ("tanh", "linear", "relu")]
    assert ratios == pytest.approx([0.26, 0.087, 0.035], abs=0.001)
    assert optimal_aspect_ratio("relu", residual=0.9) > ratios[2]


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="C_b, C_W"):
        kernel_recursion("relu", -1.0, 2.0, 3)
    with pytest.raises(ValueError, match="depth"):
        kernel_recursion("relu", 0.0, 2.0, 0)
    with pytest.raises(ValueError, match="x: "):
        kernel_recursion("relu", 0.0, 2.0, 3, torch.full((2, 2), math.nan))
    with pytest.raises(ValueError, match="positive"):
        kernel_recursion("relu", 0.0, 2.0, 3, K=0.0)
    with pytest.raises(ValueError, match="no critical tuning"):
        four_point("sigmoid", 3, 10)
    with pytest.raises(ValueError, match="residual"):
        four_point("relu", 3, 10, 1.0)
    with pytest.raises(ValueError, match="n_out"):
        optimal_aspect_ratio("relu", 0)


# --- networks


class Residual(nn.Module):
    def __init__(self, blocks: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(torch.relu(first(torch.relu(x))))
        return self.head(torch.relu(x).mean((2, 3)))


def test_the_trace_sees_what_stands_between_weights() -> None:
    net = Residual(2, 4)
    found = trace_weights(net, torch.randn(2, 3, 6, 6))
    by_name = {w.name: w for w in found}
    assert [w.name for w in found] == [
        "stem.weight",
        "first.0.weight",
        "second.0.weight",
        "first.1.weight",
        "second.1.weight",
        "head.weight",
    ]
    assert by_name["stem.weight"].before is None and by_name["stem.weight"].fan_in == 27
    assert all(by_name[n].before.name == "relu" for n in by_name if n != "stem.weight")
    assert {w.name for w in found if w.branch_end} == {"second.0.weight", "second.1.weight"}
    assert net.training


def test_the_trace_sees_norms_and_functions() -> None:
    net = nn.Sequential(
        nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 4), nn.LeakyReLU(0.3), nn.Linear(4, 1)
    )
    first, second, third = trace_weights(net, torch.randn(5, 3))
    assert first.normalised and first.after.name == "gelu" and second.before.name == "gelu"
    assert third.before.slopes == (0.3, 1.0) and third.after is None


@pytest.mark.parametrize(("stage", "power"), [(nn.ReLU, 0), (nn.GELU, 0), (nn.Tanh, 1)])
def test_critical_networks_keep_signals_through_many_layers(stage: type[nn.Module], power: int) -> None:
    depth, width = 60, 400  # L/n well below the ratio at which fluctuations take over
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), stage()]
    net = nn.Sequential(*layers, nn.Linear(width, 10))
    x = torch.randn(8, width, generator=generator())
    done = init_critical_(net, x, generator=generator(1))
    assert len(done) == depth + 1
    first, last = _sizes(net, x)
    predicted = 1 / (2 * depth) if power else 1.0
    assert predicted / 8 < last / (first if not power else 1.0) < predicted * 8
    torch.manual_seed(0)
    for module in net:
        if isinstance(module, nn.Linear):
            module.reset_parameters()  # torch's default, C_W = 1/3
    assert _sizes(net, x)[1] < predicted / 8 or power  # the constant part that biases leave has no memory of x
    assert _spread(net, x) < 1e-6


def _sizes(net: nn.Sequential, x: Tensor) -> tuple[float, float]:
    squares = []
    with torch.no_grad():
        for module in net:
            x = module(x)
            if isinstance(module, nn.Linear):
                squares.append(float(x.square().mean()))
    return squares[0], squares[-2]


def _spread(net: nn.Sequential, x: Tensor) -> float:
    with torch.no_grad():
        return float(net(x).var(0).mean())


def test_residual_networks_grow_by_less_than_e() -> None:
    net = Residual(12)
    x = torch.rand(8, 3, 8, 8, generator=generator())
    init_critical_(net, x, generator=generator(1))
    with torch.no_grad():
        h = net.stem(x)
        start = h.var()
        for first, second in zip(net.first, net.second, strict=True):
            h = h + second(torch.relu(first(torch.relu(h))))
    assert 1.0 < float(h.var() / start) < 4.0


def test_critical_initialisation_without_inputs() -> None:
    net = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 3))
    done = init_critical_(net, generator=generator())
    assert [row.C_W for row in done] == pytest.approx([1.0, 2.0, 2.0])
    assert float(net[2].weight.detach().var()) * 512 == pytest.approx(2.0, rel=0.02)
    assert float(net[4].weight.detach().var()) * 512 == pytest.approx(2.0, rel=0.12)  # over fan-in, not fan-out
    assert not net[2].bias.any()
    again = nn.Sequential(*[nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)])
    init_critical_(again, generator=generator(3))
    kept = again[2].weight.clone()
    init_critical_(again, generator=generator(3))
    assert torch.equal(kept, again[2].weight)


def test_what_cannot_be_initialised_is_named_and_left_alone() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 3))
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(ValueError, match="sigmoid"):
        init_critical_(net, torch.randn(2, 3))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    with pytest.raises(ValueError, match="give inputs"):
        init_critical_(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh()))
    with pytest.raises(ValueError, match="no linear map"):
        init_critical_(nn.ReLU())


# --- the peer


def test_kernels_equal_those_of_neural_tangents() -> None:
    """Numbers of neural-tangents 0.6.5, stored by the script of the same name."""
    stored = json.loads((Path(__file__).parent / "neural_tangents_numbers.json").read_text("utf-8"))
    x = torch.tensor(stored["x"], dtype=torch.float64)
    assert len(stored["cases"]) >= 5
    for name, case in stored["cases"].items():
        for depth, numbers in case["depths"].items():
            K, T = ntk_recursion(
                name,
                case["C_b"],
                case["C_W"],
                int(depth),
                x,
                lambda_b=case["C_b"],
                lambda_W=case["C_W"],
                layers="last",
            )
            torch.testing.assert_close(K, torch.tensor(numbers["nngp"], dtype=torch.float64), rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(T, torch.tensor(numbers["ntk"], dtype=torch.float64), rtol=1e-6, atol=1e-9)
