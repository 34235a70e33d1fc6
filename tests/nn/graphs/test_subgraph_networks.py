"""Ego-network layers equal the dense layer on whole graphs; the network ignores names and separates what 1-WL does not."""

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data.graphs import circular_skip_link, ego_networks, rook_graph, shrikhande_graph, whole_graphs
from erlangen.nn.graphs import EquivariantLinear, SubgraphPermEquivariant
from erlangen.nn.graphs.subgraph_linear import Layout, SizeClasses, SubgraphLinear


def edges_of(graph):
    pairs = [(u, v) for a, b in graph.edges for u, v in ((a, b), (b, a))]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T


def edges_of_dense(adjacency):
    return adjacency.nonzero().T.contiguous()


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 2), (2, 1), (2, 2), (2, 0), (1, 0)])
def test_one_subgraph_that_is_the_graph_equals_the_dense_layer(before, after):
    torch.manual_seed(0)
    flat = SubgraphLinear({before: 2}, (after,), 3).double()
    dense = EquivariantLinear(before, after, 2, 3).double()
    torch.nn.init.normal_(dense.bias)
    with torch.no_grad():
        flat.weight[f"{before}->{after}"][0] = dense.weight
        flat.bias[str(after)][0] = dense.bias
    sizes = [3, 4]
    batch = torch.repeat_interleave(torch.tensor(sizes))
    egos = whole_graphs(torch.zeros(2, 0, dtype=torch.int64), batch)
    xs = [torch.randn(1, 2, *[n] * before, dtype=torch.float64) for n in sizes]
    rows = torch.cat([x[0].reshape(2, -1).T for x in xs])
    got = flat({before: rows}, Layout.of(egos, SizeClasses("all")))[after]
    expected = torch.cat([dense(x, n=n)[0].reshape(3, -1).T for x, n in zip(xs, sizes, strict=True)])
    assert torch.allclose(got, expected, atol=1e-12)


@settings(max_examples=12)
@given(
    st.integers(1, 9),
    st.integers(0, 99),
    st.sampled_from([(1,), (2,), (1, 2)]),
    st.sampled_from(["all", "bucket", "size"]),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_names_of_nodes_and_order_of_subgraphs_do_not_matter(n, seed, order, sharing, dtype):
    graph = nx.gnp_random_graph(n, 0.4, seed=seed)  # isolated nodes included
    edge_index = edges_of(graph)
    torch.manual_seed(seed)
    net = SubgraphPermEquivariant(2, 4, 3, order=order, sharing=sharing, layers=2, head=(8,)).to(dtype)
    x = torch.randn(n, 2, dtype=dtype)
    y = net(x, edge_index)
    g = torch.randperm(n)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-3
    moved = torch.empty_like(x)
    moved[g] = x
    assert torch.allclose(net(moved, g[edge_index]), y, atol=tolerance)
    egos = ego_networks(edge_index, n, 1).reordered(torch.randperm(n))
    assert torch.allclose(net(x, edge_index, egos=egos), y, atol=tolerance)


def test_batch_mates_do_not_matter():
    torch.manual_seed(0)
    net = SubgraphPermEquivariant(2, 4, 3, layers=2, edge_channels=1, head=(8,)).double()
    parts = [nx.cycle_graph(5), nx.star_graph(6), nx.empty_graph(2)]
    xs = [torch.randn(len(g), 2, dtype=torch.float64) for g in parts]
    es = [edges_of(g) for g in parts]
    attributes = [torch.randn(e.shape[1], 1, dtype=torch.float64) for e in es]
    alone = torch.cat([net(x, e, edge_attr=a) for x, e, a in zip(xs, es, attributes, strict=True)])
    starts = [0, 5, 12]
    together = net(
        torch.cat(xs),
        torch.cat([e + s for e, s in zip(es, starts, strict=True)], 1),
        torch.repeat_interleave(torch.tensor([5, 7, 2])),
        edge_attr=torch.cat(attributes),
    )
    assert torch.allclose(alone, together, atol=1e-10)
    assert net(torch.zeros(0, 2, dtype=torch.float64), torch.zeros(2, 0, dtype=torch.int64), num_graphs=0).shape == (
        0,
        3,
    )


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (edges_of(nx.cycle_graph(6)), edges_of(nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)))),
        (edges_of_dense(circular_skip_link(41, 2)), edges_of_dense(circular_skip_link(41, 3))),
    ],
    ids=["C6 and two triangles", "CSL 2 and 3"],
)
def test_it_separates_what_the_wl_test_does_not(one, two):
    torch.manual_seed(0)
    net = SubgraphPermEquivariant(1, 8, 4, layers=2, head=(8,)).double()
    n = int(one.max()) + 1
    ones = torch.ones(n, 1, dtype=torch.float64)
    difference = net(ones, one) - net(ones, two)
    assert difference.abs().max() > 1e-4
    blind = SubgraphPermEquivariant(1, 8, 4, order=(1,), sharing="all", layers=2, head=(8,)).double()
    assert torch.allclose(blind(ones, one), blind(ones, two), atol=1e-12)  # node vectors alone see sizes only


def test_linear_maps_of_order_two_do_not_separate_strongly_regular_graphs():
    """The neighbourhoods, two triangles and a hexagon, are one to 1-WL, and pairs of pairs are what order 2 cannot see."""
    torch.manual_seed(0)
    net = SubgraphPermEquivariant(1, 8, 4, layers=3, head=(8,)).double()
    ones = torch.ones(16, 1, dtype=torch.float64)
    values = [net(ones, edges_of_dense(graph)) for graph in (rook_graph(), shrikhande_graph())]
    assert torch.allclose(*values, atol=1e-10)


def test_an_unseen_size_uses_the_nearest_weights():
    classes = SizeClasses("size", max_size=5)
    assert classes(torch.tensor([1, 3, 5, 40])).tolist() == [0, 2, 4, 4]
    assert SizeClasses("bucket")(torch.tensor([1, 2, 4, 5, 100])).tolist() == [0, 1, 3, 3, 8]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SubgraphPermEquivariant(1, 2, 2, order=(3,)), "order"),
        (lambda: SubgraphPermEquivariant(1, 2, 2, hops=0), "hops"),
        (lambda: SubgraphPermEquivariant(1, 2, 2)(torch.ones(2, 2), torch.zeros(2, 0, dtype=torch.int64)), "channels"),
        (lambda: SubgraphPermEquivariant(1, 2, 2)(torch.ones(2, 1), torch.tensor([[0], [1]])), "no reverse"),
        (
            lambda: SubgraphPermEquivariant(1, 2, 2)(
                torch.ones(2, 1), torch.tensor([[0, 1], [1, 0]]), edge_attr=torch.ones(2, 1)
            ),
            "edge_attr",
        ),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
