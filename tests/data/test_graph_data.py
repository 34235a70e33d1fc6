"""Ego-networks against a plain loop, graphs with published parameters, the TU files in both forms."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data.graphs import (
    circular_skip_link,
    covering_pair,
    csl_graphs,
    ego_networks,
    latin_square_graph,
    named_graph,
    paley_graph,
    rook_graph,
    shrikhande_graph,
    strongly_regular_25,
    tu_graphs,
    weighted_families,
    whole_graphs,
)
from erlangen.data.graphs.hard_pairs import random_regular


def random_graph(n, p, seed):
    graph = nx.gnp_random_graph(n, p, seed=seed)
    pairs = [(u, v) for a, b in graph.edges for u, v in ((a, b), (b, a))]
    return graph, torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T


@settings(max_examples=20)
@given(st.integers(0, 12), st.floats(0, 0.6), st.integers(0, 99), st.integers(0, 3), st.booleans())
def test_ego_networks_are_those_of_networkx(n, p, seed, hops, include_center):
    graph, edge_index = random_graph(n, p, seed)
    egos = ego_networks(edge_index, n, hops, include_center=include_center or hops == 0)
    assert len(egos) == n
    for i in range(n):
        expected = nx.ego_graph(graph, i, radius=hops, center=include_center or hops == 0)
        a, b = egos.ptr[i : i + 2].tolist()
        assert egos.nodes[a:b].tolist() == sorted(expected.nodes)
        mine = egos.pair_subgraph == i
        assert (egos.pairs[:, mine] >= a).all() and (egos.pairs[:, mine] < b).all()
        joined = {tuple(pair) for pair in egos.nodes[egos.pairs[:, mine & egos.adjacency]].T.tolist()}
        assert joined == {(u, v) for x, y in expected.edges for u, v in ((x, y), (y, x))}
    found = egos.edge[egos.adjacency]
    assert torch.equal(edge_index[:, found], egos.nodes[egos.pairs[:, egos.adjacency]])
    assert torch.equal(egos.pairs[:, egos.transposed], egos.pairs.flip(0))
    assert torch.equal(egos.pairs[:, egos.diagonal], torch.arange(len(egos.nodes)).expand(2, -1))


def test_reordering_keeps_every_subgraph():
    _, edge_index = random_graph(7, 0.4, 1)
    egos = ego_networks(edge_index, 7, 1)
    order = torch.tensor([3, 0, 6, 1, 2, 5, 4])
    turned = egos.reordered(order)
    again = turned.reordered(torch.argsort(order))
    for name in ("nodes", "ptr", "center", "pairs", "edge"):
        assert torch.equal(getattr(again, name), getattr(egos, name))
    assert turned.center.tolist() == order.tolist()


def test_a_whole_graph_is_one_subgraph():
    _, edge_index = random_graph(6, 0.5, 2)
    both = torch.cat([edge_index, edge_index + 6], 1)
    whole = whole_graphs(both, torch.tensor([0] * 6 + [1] * 6))
    dense = torch.zeros(6, 6, dtype=torch.bool)
    dense[edge_index[0], edge_index[1]] = True
    assert torch.equal(whole.adjacency.reshape(2, 6, 6), dense.expand(2, 6, 6))


def test_sampling_keeps_the_centre_and_the_limit():
    star = torch.tensor([[0] * 6 + list(range(1, 7)), list(range(1, 7)) + [0] * 6])
    with pytest.raises(ValueError, match="node 0 has 7"):
        ego_networks(star, 7, 1, max_size=4)
    egos = ego_networks(star, 7, 1, max_size=4, oversize="sample", generator=torch.Generator().manual_seed(0))
    assert egos.sizes.tolist() == [4, 2, 2, 2, 2, 2, 2]
    assert 0 in egos.nodes[:4]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ego_networks(torch.tensor([[0], [1]]), 2), "no reverse"),
        (lambda: ego_networks(torch.tensor([[0], [5]]), 2), "nodes are 0 to 1"),
        (lambda: ego_networks(torch.zeros(2, 0, dtype=torch.int64), 2, -1), "hops"),
        (lambda: whole_graphs(torch.tensor([[0], [1]]), torch.tensor([0, 1])), "joins two"),
        (lambda: named_graph("wheel", 3), "wheel"),
        (lambda: named_graph("tree", 5), "name"),
        (lambda: circular_skip_link(10, 5), "skip"),
        (lambda: paley_graph(7), "q:"),
        (lambda: latin_square_graph([[0, 1], [0, 1]]), "square"),
        (lambda: weighted_families(3, ()), "sizes"),
        (lambda: covering_pair(torch.eye(3)), "base"),
        (lambda: random_regular(5, 3), "even"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_one_way_edges_can_be_completed():
    egos = ego_networks(torch.tensor([[0, 1], [1, 2]]), 3, directed="symmetrize")
    assert egos.sizes.tolist() == [2, 3, 2]
    assert int(egos.adjacency.sum()) == 2 + 4 + 2


def is_strongly_regular(a, k, shared, apart):
    n = len(a)
    one = torch.eye(n)
    return torch.equal(a @ a, k * one + shared * a + apart * (1 - one - a)) and torch.equal(a, a.T)


def test_strongly_regular_parameters_and_neighbourhoods():
    rook, shrikhande = rook_graph(), shrikhande_graph()
    assert is_strongly_regular(rook, 6, 2, 2) and is_strongly_regular(shrikhande, 6, 2, 2)
    for graph, expected in (
        (rook, nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))),
        (shrikhande, nx.cycle_graph(6)),
    ):
        around = graph[0].nonzero().flatten()
        local = nx.from_numpy_array(graph[around][:, around].numpy())
        assert nx.is_isomorphic(local, expected)
    assert is_strongly_regular(paley_graph(13), 6, 2, 3) and is_strongly_regular(paley_graph(9), 4, 1, 2)
    family = strongly_regular_25()
    assert all(is_strongly_regular(graph, 12, 5, 6) for graph in family)
    local = [
        sorted(np.linalg.eigvalsh(g[g[v] > 0][:, g[v] > 0].numpy()).round(3).tolist() for v in range(25))
        for g in family
    ]
    for i, one in enumerate(family):
        for j, other in enumerate(family[:i]):
            assert local[i] != local[j] or not nx.is_isomorphic(_nx(one), _nx(other))


def _nx(adjacency):
    return nx.from_numpy_array(adjacency.numpy())


def test_families_and_distances_are_those_of_networkx():
    made = {"complete": nx.complete_graph, "cycle": nx.cycle_graph, "path": nx.path_graph}
    for name, build in made.items():
        assert nx.is_isomorphic(_nx(named_graph(name, 6)), build(6))
    assert nx.is_isomorphic(_nx(named_graph("star", 6)), nx.star_graph(5))
    assert nx.is_isomorphic(_nx(named_graph("wheel", 6)), nx.wheel_graph(6))
    data = weighted_families(20, (5, 8), generator=torch.Generator().manual_seed(0))
    for i in range(len(data)):
        n = int(data.mask[i].sum())
        graph = nx.from_numpy_array(data.adjacency[i, :n, :n].double().numpy())
        lengths = dict(nx.all_pairs_dijkstra_path_length(graph))
        expected = [max(lengths[v].values()) for v in range(n)]
        assert np.allclose(data.eccentricity[i, :n], expected, atol=1e-5) and data.eccentricity[i, n:].eq(0).all()
    assert torch.allclose(data.diameter, data.eccentricity.amax(1))
    assert sorted(data.mask.sum(1).unique().tolist()) == [5, 8]


def test_csl_classes_are_four_regular_and_distinct():
    graphs, label = csl_graphs(2, generator=torch.Generator().manual_seed(0))
    assert graphs.shape == (20, 41, 41) and label.bincount().tolist() == [2] * 10
    assert (graphs.sum(-1) == 4).all()
    spectra = {torch.linalg.eigvalsh(g).mul(1e3).round().numpy().tobytes() for g in graphs[::2].double()}
    assert len(spectra) == 10
    assert nx.is_isomorphic(_nx(graphs[0]), _nx(graphs[1]))


@settings(max_examples=10)
@given(st.integers(0, 99))
def test_coverings_look_alike_to_the_wl_test(seed):
    generator = torch.Generator().manual_seed(seed)
    base = random_regular(8, 3, generator=generator)
    assert (base.sum(0) == 3).all() and base.diagonal().sum() == 0
    one, two = covering_pair(base, generator=generator)
    assert nx.weisfeiler_lehman_graph_hash(_nx(one)) == nx.weisfeiler_lehman_graph_hash(_nx(two))
    irregular = named_graph("wheel", 6)
    one, two = covering_pair(irregular, generator=generator)
    assert nx.weisfeiler_lehman_graph_hash(_nx(one)) == nx.weisfeiler_lehman_graph_hash(_nx(two))


def test_official_tu_files(tmp_path, monkeypatch):
    folder = tmp_path / "tu_graphs" / "TINY"
    folder.mkdir(parents=True)
    files = {
        "A": "1, 2\n2, 1\n3, 4\n4, 3\n4, 5\n5, 4\n",
        "graph_indicator": "1\n1\n2\n2\n2\n",
        "graph_labels": "-1\n1\n",
        "node_labels": "0\n3\n3\n0\n3\n",
        "edge_labels": "0\n0\n1\n1\n0\n0\n",
        "node_attributes": "0.5, 1\n1, 1\n2, 2\n3, 3\n4, 4\n",
    }
    for ending, text in files.items():
        (folder / f"TINY_{ending}.txt").write_text(text)
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path))
    one, two = tu_graphs("TINY")
    assert one.x.tolist() == [[1, 0, 0.5, 1], [0, 1, 1, 1]] and one.y.tolist() == [0] and two.y.tolist() == [1]
    assert two.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]] and two.edge_attr.shape == (4, 2)
    with pytest.raises(FileNotFoundError, match="NOTHING"):
        tu_graphs("NOTHING")


def test_mutag_has_its_published_size(data_root):
    graphs = tu_graphs("MUTAG")
    assert len(graphs) == 188 and {int(g.y) for g in graphs} == {0, 1} and graphs[0].x.shape[1] == 7
    assert sum(int(g.y) for g in graphs) == 125
    assert abs(np.mean([g.num_nodes for g in graphs]) - 17.93) < 0.01
    assert abs(np.mean([g.edge_index.shape[1] / 2 for g in graphs]) - 19.79) < 0.01
