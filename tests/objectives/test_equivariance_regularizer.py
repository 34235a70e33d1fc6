"""The penalty of soft equivariance: what its value, its gradient and its zero set have to be."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erlangen.groups import parse
from erlangen.groups.solve import projector
from erlangen.nn import SoftEquivariantMLP
from erlangen.objectives import AutoStrength, EquivarianceRegularizer
from erlangen.testing import check

GROUP = parse("O(3)")
V = GROUP.standard()
NESTED = {"O(3)": "O(3)", "SO(3)": "SO(3)", "O(2)_z": "O(2)_z", "SO(2)_z": "SO(2)_z", "C2_z": "C2_z", "C1_z": "C1_z"}


def network(seed: int, *, broken: float = 1.0, dtype: torch.dtype = torch.float64) -> SoftEquivariantMLP:
    generator = torch.Generator().manual_seed(seed)
    net = SoftEquivariantMLP(
        2 * GROUP.trivial() + 2 * V,
        V @ V,
        hidden=3 * GROUP.trivial() + 2 * V + V @ V,
        depth=1,
        generator=generator,
    ).to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(broken * torch.randn(p.shape, generator=generator, dtype=dtype))
    return net


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([torch.float32, torch.float64]))
def test_larger_groups_have_larger_residuals_and_nothing_is_broken_for_the_trivial_one(seed, dtype):
    values = list(EquivarianceRegularizer(network(seed, dtype=dtype), groups=NESTED).values().values())
    values = [float(v.detach()) for v in values]
    assert all(a >= b for a, b in pairwise(values))
    assert float(values[-1]) <= 1e-9


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000))
def test_the_gradient_is_what_the_projection_removes(seed):
    net = network(seed)
    regularizer = EquivarianceRegularizer(net, groups={"z": "SO(2)_z"})
    regularizer.loss({"z": 2.0}).total.backward()
    hom = regularizer.groups["z"]
    for layer in net.linears().values():
        p = projector(layer.rep_in.restrict(hom), layer.rep_out.restrict(hom))
        torch.testing.assert_close(
            layer.weight.grad, 2.0 * (layer.weight - p(layer.weight)).detach(), atol=1e-10, rtol=0
        )


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["O(3)", "SO(2)_z", "SO(2)_x"]))
def test_no_residual_means_the_checker_says_exact(seed, name):
    net = network(seed)
    regularizer = EquivarianceRegularizer(net, groups={"G": name})
    assert float(regularizer.values()["G"]) > 1e-3
    x = torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert check(net, net.symmetry(name), x, seed=0).verdict not in ("exact", "round-off")
    net.project_(name)
    assert float(regularizer.values()["G"]) < 1e-20
    assert check(net, net.symmetry(name), x, seed=0).verdict in ("exact", "round-off")
    found = regularizer.discovered(inputs=x)["G"]
    assert found.exact and found.function_error < 1e-10


def test_gradient_descent_on_the_penalty_alone_reaches_the_constrained_network():
    net = network(0, broken=0.3)
    hard = network(0, broken=0.3).constrain("SO(2)_z")
    regularizer = EquivarianceRegularizer(net, groups={"z": "SO(2)_z"})
    for _ in range(60):
        net.zero_grad()
        regularizer.loss({"z": 1.0}).total.backward()
        with torch.no_grad():
            for p in net.parameters():
                if p.grad is not None:
                    p.sub_(0.5 * p.grad)
    x = torch.randn(4, 8, dtype=torch.float64)
    torch.testing.assert_close(net(x), hard(x), atol=1e-9, rtol=1e-9)


def test_a_users_own_layers_take_part():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)).double()
    reps = {"0": (V, V), "1": (V, GROUP.trivial())}
    regularizer = EquivarianceRegularizer(net, groups={"O(3)": "O(3)", "z": "SO(2)_z"}, reps=reps)
    values = regularizer.values()
    w = net[0].weight
    want = 0.5 * ((w - torch.eye(3, dtype=w.dtype) * w.diagonal().mean()).square().sum() + net[0].bias.square().sum())
    torch.testing.assert_close(values["O(3)"], want + 0.5 * net[1].weight.square().sum())
    assert regularizer.constrained["z"] < regularizer.constrained["O(3)"]


def test_scalings_leave_only_maps_between_equal_weights():
    """A candidate that is not compact: maps from weight 1 to weight 0 are all forbidden."""
    scaled = parse("Scaling")
    net = nn.Linear(1, 1, bias=False)
    values = EquivarianceRegularizer(
        net, groups={"s": "Scaling"}, reps={"": (scaled.standard(), scaled.trivial())}
    ).values()
    torch.testing.assert_close(values["s"], 0.5 * net.weight.square().sum())


def test_strengths_keep_the_best_candidate_and_let_the_others_go():
    auto = AutoStrength(10.0, at_epoch=3, power=2, window=2)
    assert auto.weights({"a": 0, "b": 0}) == {"a": 10.0, "b": 10.0}
    auto.update({"a": 0.5, "b": 0.1})
    auto.update({"a": 2.0, "b": 4.0})
    assert not auto.is_set
    assert auto.update({"a": 3.0, "b": 6.0}) == {"a": 10.0, "b": 2.5}  # minima of the last two epochs: 2 and 4
    assert auto.update({"a": 0.0, "b": 0.0}) == {"a": 10.0, "b": 2.5}


def test_a_residual_of_zero_is_marked_and_not_divided_by():
    auto = AutoStrength(1.0, at_epoch=1)
    weights = auto.update({"a": 0.0, "b": 1.0})
    assert auto.exact == {"a"} and weights["a"] == 1.0 and 0 < weights["b"] < 1e-6


def test_bad_input():
    net = network(0)
    with pytest.raises(ValueError, match=r"layers without representations: 0, 1"):
        EquivarianceRegularizer(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)), groups={"z": "SO(2)_z"})
    with pytest.raises(ValueError, match=r"layer '0' has weights \(3, 3\).*needs \(9, 3\)"):
        EquivarianceRegularizer(nn.Sequential(nn.Linear(3, 3)), groups={"z": "O(3)"}, reps={"0": (V, V @ V)})
    with pytest.raises(ValueError, match="no layers of the module"):
        EquivarianceRegularizer(net, groups={"z": "SO(2)_z"}, reps={"nowhere": (V, V)})
    with pytest.raises(ValueError, match="groups: none given"):
        EquivarianceRegularizer(net, groups={})
    with pytest.raises(ValueError, match=r"at least 0, given \{'z': -1"):
        EquivarianceRegularizer(net, groups={"z": "SO(2)_z"}).loss({"z": -1.0})
    with pytest.raises(ValueError, match="candidates are z"):
        EquivarianceRegularizer(net, groups={"z": "SO(2)_z"}).loss({"y": 1.0})
    with pytest.raises(ValueError, match="residuals: must be finite"):
        AutoStrength(at_epoch=1).update({"a": float("nan")})
    with pytest.raises(ValueError, match="initial"):
        AutoStrength(-1.0, at_epoch=1)


def test_the_strength_after_may_differ_from_the_one_before():
    auto = AutoStrength(10.0, at_epoch=1, power=1, final=3.0)
    assert auto.update({"a": 2.0, "b": 6.0}) == {"a": 3.0, "b": 1.0}
    with pytest.raises(ValueError, match="final"):
        AutoStrength(1.0, at_epoch=1, final=-2.0)
