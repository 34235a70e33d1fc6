"""What the coupling graph says may be changed does not change the function, on networks of every kind."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from symmetry_networks import NETWORKS, build, mlp
from torch import Tensor, nn

from erlangen.nn import CouplingGraph
from erlangen.nn.parameter_symmetry.groups import Group
from erlangen.nn.parameter_symmetry.surgery import tensor_of

names = st.sampled_from(sorted(NETWORKS))
seeds = st.integers(0, 10_000)


def graph_of(model: nn.Module, x: Tensor) -> CouplingGraph:
    """What the trace alone says, before anything is tried out."""
    return CouplingGraph.from_model(model, x, confirmed=False)


def same(a: nn.Module, b: nn.Module, x: Tensor, tolerance: float = 1e-10) -> bool:
    with torch.no_grad():
        before, after = a(x), b(x)
    return bool((before - after).abs().max() <= tolerance * before.abs().max())


@given(names, seeds)
def test_permuted_units_compute_the_same(name: str, seed: int) -> None:
    model, x = build(name, seed)
    graph = graph_of(model, x)
    assert graph.groups
    generator = torch.Generator().manual_seed(seed)
    changed = copy.deepcopy(model)
    for group in graph.groups.values():
        graph.permute(changed, group.name, torch.randperm(group.size, generator=generator), inplace=True)
    assert same(model, changed, x)
    moved = [not torch.equal(p, q) for p, q in zip(model.parameters(), changed.parameters(), strict=True)]
    assert any(moved)


@given(names, seeds)
def test_scales_moved_from_writers_to_readers_change_nothing(name: str, seed: int) -> None:
    model, x = build(name, seed)
    graph = graph_of(model, x)
    generator = torch.Generator().manual_seed(seed)
    changed = copy.deepcopy(model)
    for group in graph.groups.values():
        for which in range(len(group.factors)):
            factors = torch.rand(group.size, generator=generator, dtype=torch.float64) * 3 + 0.2
            graph.scale(changed, group.name, factors, which=which, inplace=True)
    assert same(model, changed, x)


def make_equal(model: nn.Module, group: Group, cluster: Tensor) -> None:
    """Every unit computes what the first of its cluster does."""
    for slot in group.slots:
        if slot.role != "reads":
            t = tensor_of(model, slot.name).data
            for unit, c in enumerate(cluster.tolist()):
                t.index_copy_(slot.axis, slot.index[unit], t.index_select(slot.axis, slot.index[c]))


@given(names, seeds)
def test_equal_units_become_one_and_the_network_smaller(name: str, seed: int) -> None:
    model, x = build(name, seed)
    graph = graph_of(model, x)
    generator = torch.Generator().manual_seed(seed)
    clusters = {}
    for group in graph.groups.values():
        if group.not_mergeable or group.not_sliceable:
            continue
        cluster = torch.randint(0, max(1, group.size - 1), (group.size,), generator=generator)
        first = torch.tensor([int((cluster == c).nonzero()[0]) for c in cluster])
        make_equal(model, group, first)
        clusters[group.name] = cluster
    if not clusters:
        return
    merged = graph.merge(model, clusters)
    assert same(model, merged, x)
    assert sum(p.numel() for p in merged.parameters()) < sum(p.numel() for p in model.parameters())
    copy.deepcopy(merged).load_state_dict(merged.state_dict())
    again = graph_of(merged, x)
    for group in again.groups.values():
        old = clusters.get(group.name)
        assert old is None or group.size == len(old.unique())


@given(names, seeds)
def test_units_that_nobody_reads_can_be_taken_out(name: str, seed: int) -> None:
    model, x = build(name, seed)
    graph = graph_of(model, x)
    keep = {}
    for group in graph.groups.values():
        if group.not_mergeable or group.not_sliceable:
            continue
        keep[group.name] = torch.arange(group.size)[::2]
        for slot in group.slots:
            if slot.role == "reads":
                t = tensor_of(model, slot.name).data
                t.index_fill_(slot.axis, slot.index[1::2].flatten(), 0.0)
    assert same(model, graph.slice(model, keep), x)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trying_out_confirms_what_the_trace_said(name: str, dtype: torch.dtype) -> None:
    model, x = build(name, 3, dtype)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    told, tried = graph_of(model, x), CouplingGraph.from_model(model, x)
    assert list(told.groups) == list(tried.groups)
    for group in told.groups.values():
        assert len(tried.groups[group.name].factors) == len(group.factors)
        assert tried.groups[group.name].not_sliceable == group.not_sliceable
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and not model.training


def test_the_groups_of_a_residual_network() -> None:
    model, x = build("residual", 0)
    groups = graph_of(model, x).groups
    assert {n: g.size for n, g in groups.items()} == {"stem.0": 6, "a1": 8, "b1": 5, "b2": 10}
    stream = {(s.name, s.axis, s.role) for s in groups["stem.0"].slots}
    assert stream >= {("stem.0.weight", 0, "writes"), ("a2.weight", 0, "writes"), ("short.weight", 1, "reads")}
    assert ("n2.running_var", 0, "through") in stream


def test_flattening_gives_a_channel_all_its_places() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 2))
    group = graph_of(model, torch.randn(2, 1, 5, 5)).groups["0"]
    assert group.slots[-1].index[1].tolist() == list(range(9, 18))


def test_heads_move_as_a_whole_and_the_stream_of_a_vision_transformer_is_one_group() -> None:
    model, x = build("vision transformer", 0)
    groups = graph_of(model, x).groups
    heads = groups["attention.qkv"]
    assert heads.size == 3 and heads.slots[0].index.shape == (3, 18)
    stream = groups["patch"]
    assert {s.name for s in stream.slots} >= {"token", "position", "size", "attention.out.weight", "head.weight"}
    assert stream.not_mergeable == "layer_norm over the units"


def test_tied_weights_are_one_axis() -> None:
    model, x = build("language", 0)
    groups = graph_of(model, x).groups
    stream = next(g for g in groups.values() if "embed.weight" in {s.name for s in g.slots})
    assert "written and read" in stream.not_mergeable
    permuted = CouplingGraph([stream], []).permute(model, stream.name, torch.arange(8).flip(0))
    assert permuted.head.weight is permuted.embed.weight


def test_an_operation_without_a_rule_is_named_and_fixes_what_it_touches() -> None:
    model, x = build("no rule", 0)
    graph = graph_of(model, x)
    assert list(graph.groups) == ["a"]
    named = next(f for f in graph.fixed if "gru" in f.reason)
    assert ("rnn.weight_ih_l0", 0) in named.slots and ("b.weight", 0) in named.slots


def test_tables_of_integers_and_new_tensors_of_a_shape_are_no_obstacle() -> None:
    class Looked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 2)
            self.register_buffer("table", torch.tensor([5, 3, 9]))

        def forward(self, x: Tensor) -> Tensor:
            kinds = self.table[torch.arange(len(x)) % 3]
            h = self.a(x) * (kinds > 4)[:, None]
            return self.b(h + torch.zeros_like(h))

    graph = graph_of(Looked(), torch.randn(4, 3))
    assert list(graph.groups) == ["a"]


def test_units_that_only_look_alike_are_withdrawn_by_trying() -> None:
    class Positions(nn.Module):
        """Channels that are told apart by their number, behind the graph's back."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            return self.b(h * torch.from_numpy(h.detach().numpy().argsort(1) * 1.0))

    graph = CouplingGraph.from_model(Positions().double(), torch.randn(4, 3, dtype=torch.float64))
    assert not graph.groups and graph.fixed


def test_a_written_size_is_found_by_cutting() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).view(-1, 6).relu())

    graph = CouplingGraph.from_model(Written(), torch.randn(4, 3))
    assert "does not run with fewer" in graph.groups["a"].not_sliceable
    with pytest.raises(ValueError, match="cannot be sliced"):
        graph.slice(Written(), {"a": torch.arange(3)})


def test_what_is_refused() -> None:
    model, x = mlp(), torch.randn(5, 4)
    graph = graph_of(model, x)
    with pytest.raises(ValueError, match="order: "):
        graph.permute(model, "0", torch.zeros(9, dtype=torch.int64))
    with pytest.raises(ValueError, match="factors: "):
        graph.scale(model, "0", -torch.ones(9))
    with pytest.raises(ValueError, match="group: 'nothing'"):
        graph.permute(model, "nothing", torch.arange(3))
    with pytest.raises(ValueError, match="keep: "):
        graph.slice(model, {"0": torch.tensor([0, 0])})
    with pytest.raises(ValueError, match="clusters: "):
        graph.merge(model, {"0": torch.zeros(3, dtype=torch.int64)})
    bent = mlp(nn.Tanh).eval()
    with pytest.raises(ValueError, match="not homogeneous"):
        graph_of(bent, x).scale(bent, "0", torch.ones(9))
    hooked = mlp()
    hooked[0].register_forward_hook(lambda *a: None)
    with pytest.raises(ValueError, match="hooks"):
        graph_of(hooked, x)
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.raises(ValueError, match="parametrizations"):
        graph_of(model, x)
    with pytest.raises(ValueError, match="lazy"):
        graph_of(nn.Sequential(nn.LazyLinear(3)), x)
