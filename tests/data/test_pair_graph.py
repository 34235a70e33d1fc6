"""The graph of pairs: closures against dense matrices and networkx, exact shares, and negatives that are none."""

import itertools

import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data import PairGraph


def random_graph(nodes, edges, seed):
    generator = torch.Generator().manual_seed(seed)
    graph = PairGraph(nodes)
    for kind, count in edges.items():
        pairs = torch.randint(nodes, (count, 2), generator=generator)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        graph.add(pairs[:, 0], pairs[:, 1], kind)
    return graph


def dense(graph, *kinds):
    out = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.int64)
    for kind in kinds:
        i, j = graph.pairs(kind).T
        out[i, j] = out[j, i] = 1
    return out


def new_pairs(graph, relation):
    """What a closure must add: the upper triangle of a dense relation, less the edges that are there."""
    missing = (relation > 0) & (dense(graph, *graph.kinds) == 0)
    return missing.triu(1).nonzero()


@settings(max_examples=20, deadline=None)
@given(nodes=st.integers(2, 14), intra=st.integers(1, 12), inter=st.integers(1, 8), seed=st.integers(0, 999))
def test_patterns_are_products_of_dense_boolean_matrices(nodes, intra, inter, seed):
    graph = random_graph(nodes, {"intra": intra, "inter": inter}, seed)
    a, b, one = dense(graph, "intra"), dense(graph, "inter"), torch.eye(nodes, dtype=torch.int64)
    exact = graph.close(("intra", "inter", "intra"))
    assert torch.equal(exact.pairs("transitive"), new_pairs(graph, a @ b @ a))
    loose = graph.close(max_hops=3)
    reach = b + a @ b + b @ a + a @ b @ a + a @ a @ b + b @ a @ a
    assert torch.equal(loose.pairs("transitive"), new_pairs(graph, reach))
    block = torch.linalg.matrix_power(((one + a) > 0).double(), nodes) > 0
    whole = graph.close(max_hops=float("inf"))
    assert torch.equal(whole.pairs("transitive"), new_pairs(graph, (block.double() @ b.double() @ block.double()) > 0))
    one_sided = graph.close(("intra", "inter"))
    product = a @ b
    assert torch.equal(one_sided.pairs("transitive"), new_pairs(graph, product + product.T))
    assert graph.kinds == ["intra", "inter"], "the graph itself is left as it is"


@settings(max_examples=15, deadline=None)
@given(nodes=st.integers(2, 14), seed=st.integers(0, 999))
def test_the_whole_closure_is_networkx_s_and_closing_twice_is_closing_once(nodes, seed):
    graph = random_graph(nodes, {"intra": 6, "inter": 3}, seed)
    closed = graph.close(("any*",), max_hops=float("inf"))
    theirs = networkx.Graph([tuple(p) for k in graph.kinds for p in graph.pairs(k).tolist()])
    expected = {
        tuple(sorted(p)) for c in networkx.connected_components(theirs) for p in itertools.combinations(sorted(c), 2)
    }
    assert {tuple(p) for k in closed.kinds for p in closed.pairs(k).tolist()} == expected
    again = closed.close(("any*",), max_hops=float("inf"))
    assert all(torch.equal(again.pairs(k), closed.pairs(k)) for k in closed.kinds) and again.kinds == closed.kinds
    labels = graph.components()
    for component in networkx.connected_components(theirs):
        assert len({int(labels[i]) for i in component}) == 1
    apart = networkx.number_connected_components(theirs) + nodes - theirs.number_of_nodes()
    assert len(labels.unique()) == apart


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_renaming_the_nodes_renames_the_closure(seed):
    graph = random_graph(10, {"intra": 8, "inter": 4}, seed)
    names = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    renamed = PairGraph(10)
    for kind in graph.kinds:
        renamed.add(*names[graph.pairs(kind)].T, kind)
    expected = {tuple(sorted(p)) for p in names[graph.close().pairs("transitive")].tolist()}
    assert {tuple(p) for p in renamed.close().pairs("transitive").tolist()} == expected


def test_the_example_of_two_tracks():
    closed = PairGraph(6).add([0, 2], [1, 3], "intra").add([0], [2], "inter").close()
    assert closed.pairs("transitive").tolist() == [[0, 3], [1, 2], [1, 3]]


def test_ten_thousand_negatives_are_none_of_the_anchors_own_and_reach_everyone():
    graph = random_graph(60, {"intra": 25, "inter": 10}, 3).close()
    labels, generator = graph.components(), torch.Generator().manual_seed(0)
    anchors = torch.randint(60, (10_000,), generator=generator)
    drawn = graph.negatives(anchors, generator=generator)
    assert not bool((labels[anchors] == labels[drawn]).any())
    own = torch.full((10_000,), int(anchors[0]))
    counts = graph.negatives(own, generator=generator).bincount(minlength=60)
    allowed = labels != labels[anchors[0]]
    assert torch.equal(counts > 0, allowed)
    expected = 10_000 / int(allowed.sum())
    assert bool((counts[allowed] - expected).abs().max() < 6 * expected**0.5)


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 50), seed=st.integers(0, 99))
def test_draws_are_edges_in_the_stated_shares(count, seed):
    graph = random_graph(20, {"intra": 40, "inter": 3}, 1)
    weights = {"intra": 1.0, "inter": 2.0}
    pairs, kinds = graph.sample(count, kind_weights=weights, generator=torch.Generator().manual_seed(seed))
    edges = {k: {tuple(p) for p in graph.pairs(k).tolist()} for k in graph.kinds}
    assert all(tuple(sorted(p)) in edges[k] for p, k in zip(pairs.tolist(), kinds, strict=True)) and len(pairs) == count
    assert abs(kinds.count("inter") - 2 * count / 3) <= 1
    again, _ = graph.sample(count, kind_weights=weights, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(pairs, again)


def test_bad_input_is_named():
    graph = PairGraph(4).add([0], [1], "intra").add([1, 0], [0, 1], "intra")
    assert graph.pairs("intra").tolist() == [[0, 1]], "an edge stays once"
    for arguments, words in (
        (([0], [4], "intra"), "j: node 4"),
        (([2], [2], "intra"), "node 2 with itself"),
        (([0, 1], [2], "intra"), "2 and 1 nodes"),
        (([0], [1], "x*"), "kind"),
    ):
        with pytest.raises(ValueError, match=words):
            graph.add(*arguments)
    with pytest.raises(ValueError, match="no relation 'inter'"):
        graph.close()
    with pytest.raises(ValueError, match="max_hops"):
        graph.add([1], [2], "inter").close(("intra", "inter", "intra"), max_hops=2)
    with pytest.raises(ValueError, match="max_pairs: more than 0"):
        graph.close(max_pairs=0)
    with pytest.raises(ValueError, match="there must be edges"):
        PairGraph(3).sample(2, generator=torch.Generator())
    with pytest.raises(ValueError, match="the whole graph"):
        PairGraph(2).add([0], [1], "intra").negatives(torch.tensor([0]), generator=torch.Generator())
    with pytest.raises(ValueError, match="no edges of kind 'inter'"):
        PairGraph(2).pairs("inter")
