"""Feature merging: planted duplicates go, nothing else does, and what is left computes the same."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.deploy import merge_features
from erlangen.nn import CouplingGraph
from erlangen.nn.parameter_symmetry.iterative_merging import plan_merges
from erlangen.nn.parameter_symmetry.surgery import _resize, tensor_of

sys.path.insert(0, str(Path(__file__).parents[1] / "nn" / "parameter_symmetry"))
from symmetry_networks import build, mlp

seeds = st.integers(0, 10_000)
WHOLE = st.sampled_from(["mlp relu", "mlp tanh", "residual", "residual, squeeze", "tied"])


def duplicate(model: nn.Module, x: Tensor, generator: torch.Generator) -> nn.Module:
    """Every unit one to four times, in mixed order, its outgoing weights shared out equally."""
    wide = copy.deepcopy(model)
    for group in CouplingGraph.from_model(model, x).groups.values():
        if group.not_mergeable:
            continue
        copies = torch.randint(1, 5, (group.size,), generator=generator)
        order = torch.arange(group.size).repeat_interleave(copies)
        order = order[torch.randperm(len(order), generator=generator)]
        for slot in group.slots:
            t = tensor_of(wide, slot.name)
            t.data = t.data.index_select(slot.axis, slot.index[order].flatten())
            if slot.role == "reads":
                share = copies[order].repeat_interleave(slot.index.shape[1]).to(t)
                t.data = t.data / share.view([-1 if d == slot.axis else 1 for d in range(t.dim())])
    for module in wide.modules():
        _resize(module)
    return wide


@given(WHOLE, seeds)
@settings(max_examples=8)
def test_duplicated_units_merge_back_to_the_width_before(name: str, seed: int) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        model, x = build(name, seed, dtype)
        wide = duplicate(model, x, torch.Generator().manual_seed(seed))
        merged, report = merge_features(wide, x, beta=0.0)
        graph = CouplingGraph.from_model(model, x)
        assert {n: after for n, (_, after) in report.widths.items()} == {
            n: g.size for n, g in graph.groups.items() if n in report.widths
        }
        with torch.no_grad():
            error = (merged(x) - wide(x)).abs().max() / wide(x).abs().max()
        assert error < tolerance
        assert report.parameters_after == sum(p.numel() for p in merged.parameters())
        for group, (before, after) in report.widths.items():
            assert sum(report.multiplicities[group]) == before and len(report.multiplicities[group]) == after
        assert [type(m) for m in merged.modules()] == [type(m) for m in model.modules()]


@given(WHOLE, seeds)
@settings(max_examples=8)
def test_without_duplicates_nothing_merges_at_zero(name: str, seed: int) -> None:
    model, x = build(name, seed)
    merged, report = merge_features(model, x, beta=0.0)
    assert report.parameters_after == report.parameters_before
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), merged.parameters(), strict=True)
    ) or torch.allclose(model(x), merged(x))


def naive(model: nn.Module, graph: CouplingGraph, beta: float, adds: bool) -> dict[str, list[int]]:
    """The same by the definition: all vectors and all distances anew at every step."""
    values = {s.name: tensor_of(model, s.name).detach().double() for g in graph.groups.values() for s in g.slots}
    live = {n: list(range(g.size)) for n, g in graph.groups.items()}
    count = {n: [1.0] * g.size for n, g in graph.groups.items()}
    cluster = {n: list(range(g.size)) for n, g in graph.groups.items()}
    going = list(graph.groups)
    while going:
        still = []
        for name in going:
            group = graph.groups[name]
            if len(live[name]) < 2:
                continue
            parts = []
            for s in group.slots:
                t = values[s.name]
                if t.dim() > 1:
                    parts.append(t.index_select(s.axis, s.index[live[name]].flatten()).movedim(s.axis, 0))
                    parts[-1] = parts[-1].reshape(len(live[name]), -1)
                    if (s.role == "reads") != adds:
                        parts[-1] = parts[-1] / torch.tensor(count[name])[live[name]].double()[:, None]
            w = torch.cat(parts, 1)
            d = (w[:, None] - w[None]).square().sum(2)
            off = d.clone().fill_diagonal_(torch.inf)
            if off.min() > beta * d.max():
                continue
            i, j = sorted(divmod(int(off.argmin()), len(w)))
            u, v = live[name][i], live[name][j]
            a, b = count[name][u], count[name][v]
            for s in group.slots:
                t = values[s.name].clone().movedim(s.axis, 0)
                p, q = (1.0, 1.0) if (s.role == "reads") != adds else (a / (a + b), b / (a + b))
                t[s.index[u]] = p * t[s.index[u]] + q * t[s.index[v]]
                t[s.index[v]] = 0
                values[s.name] = t.movedim(0, s.axis)
            count[name][u] += b
            cluster[name] = [u if c == v else c for c in cluster[name]]
            live[name].remove(v)
            still.append(name)
        going = still
    return cluster


@given(seeds, st.sampled_from(["mean_in_sum_out", "sum_in_mean_out"]), st.sampled_from([0.5, 0.7, 0.9]))
def test_the_updated_gram_matrix_merges_as_the_definition_does(seed: int, rule: str, beta: float) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 7, 3), nn.ReLU(), nn.Conv2d(7, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 9))
    model = nn.Sequential(*model, nn.ReLU(), nn.Linear(9, 3)).double()
    graph = CouplingGraph.from_model(model, torch.randn(1, 2, 6, 6).double())
    plan = plan_merges(model, graph, beta=beta, rule=rule)  # type: ignore[arg-type]
    expected = naive(model, graph, beta, adds=rule == "sum_in_mean_out")
    assert any(b < a for a, b in plan.widths().values()) or beta < 0.9
    for name, cluster in plan.clusters.items():
        same = torch.tensor(expected[name])
        assert torch.equal(cluster[:, None] == cluster, same[:, None] == same)


@given(seeds, st.sampled_from([0.2, 0.5]))
def test_a_tensor_with_both_axes_in_one_group_is_kept_track_of(seed: int, beta: float) -> None:
    model, x = build("tied", seed)
    graph = CouplingGraph.from_model(model, x)
    cluster = plan_merges(model, graph, beta=beta).clusters["first"]
    same = torch.tensor(naive(model, graph, beta, adds=False)["first"])
    assert torch.equal(cluster[:, None] == cluster, same[:, None] == same)


@given(seeds)
def test_more_merges_with_more_tolerance_and_whatever_the_order_of_the_units(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 2)).double(), torch.randn(4, 3).double()
    graph = CouplingGraph.from_model(model, x)
    widths = [plan_merges(model, graph, beta=b).widths()["0"][1] for b in (0.0, 0.05, 0.2, 0.5, 1.0)]
    assert widths == sorted(widths, reverse=True) and widths[0] == 12
    order = torch.randperm(12)
    turned = graph.permute(model, "0", order)
    a, _ = merge_features(model, x, beta=0.2)
    b, _ = merge_features(turned, x, beta=0.2)
    assert torch.allclose(a(x), b(x), atol=1e-10)
    assert torch.allclose(a[0].weight.sum(0), b[0].weight.sum(0), atol=1e-10)


@given(seeds)
@settings(max_examples=8)
def test_both_rules_give_one_function_for_the_same_clusters(seed: int) -> None:
    model, x = build("mlp relu", seed)
    one, a = merge_features(model, x, beta=0.3, max_ratio=0.12, rule="mean_in_sum_out")
    two, b = merge_features(model, x, beta=0.3, max_ratio=0.12, rule="sum_in_mean_out")
    assert a.widths == b.widths and a.rules != b.rules
    if a.multiplicities == b.multiplicities:
        assert torch.allclose(one(x), two(x), atol=1e-10)


def test_units_read_with_other_weights_are_equal_in_what_they_compute() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double(), torch.randn(9, 3).double()
    with torch.no_grad():
        model[0].weight[3:] = model[0].weight[:3]
        model[0].bias[3:] = model[0].bias[:3]
    assert merge_features(model, x, beta=0.0)[1].widths["0"] == (6, 6)
    merged, report = merge_features(model, x, beta=0.0, compare="writes")
    assert report.widths["0"] == (6, 3) and torch.allclose(merged(x), model(x), atol=1e-12)


def test_units_equal_up_to_a_positive_factor_merge_once_their_scale_is_set() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double(), torch.randn(9, 3).double()
    with torch.no_grad():
        factor = torch.tensor([2.0, 0.3, 7.0]).double()
        model[0].weight[3:] = factor[:, None] * model[0].weight[:3]
        model[0].bias[3:] = factor * model[0].bias[:3]
        model[2].weight[:, 3:] = model[2].weight[:, :3] / factor
    assert merge_features(model, x, beta=0.0)[1].widths["0"] == (6, 6)
    merged, report = merge_features(model, x, beta=0.0, canonical=True)
    assert report.widths["0"] == (6, 3) and torch.allclose(merged(x), model(x), atol=1e-10)


def test_the_result_loads_scripts_and_says_what_it_left_alone() -> None:
    model = mlp().eval()
    x = torch.randn(4, 4)
    merged, report = merge_features(model, x, beta=0.5)
    assert report.removed > 0 and "units" in str(report)
    scripted = torch.jit.script(merged)
    assert torch.allclose(scripted(x), merged(x))
    copy.deepcopy(merged).load_state_dict(merged.state_dict())
    assert any("output" in why for _, why in report.left_alone)
    kept, skipped = merge_features(model, x, beta=0.5, skip="0")
    assert kept[0].weight.shape == (9, 4) and ("0", "skipped") in skipped.left_alone
    whole, limited = merge_features(model, x, beta=9.0, max_ratio=0.34)
    assert limited.widths == {"0": (9, 6), "2": (7, 5)}
    assert whole(x).shape == (4, 3)


def test_layers_that_share_statistics_over_units_are_left_alone() -> None:
    model, x = build("vision transformer", 0)
    _, report = merge_features(model, x, beta=0.3)
    assert "patch" not in report.widths and any("layer_norm" in why for _, why in report.left_alone)


def test_what_is_refused() -> None:
    x = torch.randn(4, 4)
    for options in ({"beta": -1.0}, {"max_ratio": 2.0}, {"skip": "nothing*"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            merge_features(mlp(), x, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not homogeneous"):
        merge_features(mlp(nn.Tanh), x, rule="sum_in_mean_out")
