"""Equivariant polynomials: the count of the basis, brute force, independence, Möbius inversion, features in every form."""

import itertools

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from erlangen.data.graphs import rook_graph, shrikhande_graph
from erlangen.groups.graph_polynomials import PolynomialPlan
from erlangen.groups.multigraphs import Multigraph, injective_expansion, multigraphs
from erlangen.nn.graphs import PPGN, PolynomialFeatures, PPGNPlusPlus, equivariant_polynomial, polynomial_features

TRIANGLE = Multigraph(3, [(0, 1), (1, 2), (2, 0)])
K4 = Multigraph(4, list(itertools.combinations(range(4), 2)))


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def brute_force(graph, x):
    """Sum over all index maps, one by one."""
    n, outputs = x.shape[-1], graph.outputs
    out = torch.zeros([n] * len(outputs), dtype=x.dtype)
    for at in itertools.product(range(n), repeat=graph.num_nodes):
        term = torch.ones((), dtype=x.dtype)
        for u, v, c in graph.edges:
            term = term * x[c, at[u], at[v]]
        out[tuple(at[a] for a in outputs)] += term
    return out


def test_the_basis_is_counted_as_published():
    assert [len(multigraphs(1, outputs)) for outputs in (0, 1, 2)] == [2, 5, 15]  # set partitions of 2, 3, 4 slots
    loops = [len(multigraphs(d, 0, min_degree=d)) for d in (1, 2, 3, 4)]
    assert loops == [2, 11, 52, 296]  # OEIS A052171: directed multigraphs with loops by arcs
    simple = [len(multigraphs(d, 0, min_degree=d, simple=True, directed=False, connected=True)) for d in range(1, 8)]
    assert simple == [1, 1, 3, 5, 12, 30, 79]  # OEIS A002905: connected graphs by edges


@settings(max_examples=20)
@given(st.sampled_from(multigraphs(3, 2) + multigraphs(3, 1, colours=2)[:300] + multigraphs(3, 0)), st.integers(0, 99))
def test_evaluation_equals_brute_force(graph, seed):
    x = noise(2, 3, 3, seed=seed)
    plan = PolynomialPlan([graph])
    assert torch.allclose(plan(x[None])[0][0], brute_force(graph, x), atol=1e-10)
    both = x + x.mT
    assert torch.allclose(
        PolynomialPlan([graph], symmetric=True)(both[None])[0][0], brute_force(graph, both), atol=1e-10
    )


def one_einsum(graph, x):
    """The definition as one contraction over all indices."""
    outputs = tuple(dict.fromkeys(graph.outputs))
    names = ["".join(chr(97 + i) for i in edge[:2]) for edge in graph.edges] + [chr(97 + a) for a in outputs]
    ones = [torch.ones(x.shape[-1], dtype=x.dtype)] * len(outputs)
    wanted = "".join(chr(97 + a) for a in outputs)
    value = torch.einsum(f"{','.join(names)}->{wanted}", *(x[c] for _, _, c in graph.edges), *ones)
    return torch.diag_embed(value) if len(graph.outputs) == 2 and len(outputs) == 1 else value


@pytest.mark.parametrize("outputs", [0, 1, 2])
def test_every_polynomial_of_a_family_is_its_definition(outputs):
    graphs = multigraphs(2, outputs) + multigraphs(3, outputs, colours=2, min_degree=3, connected=True)[::7]
    x = noise(2, 4, 4)
    for graph, value in zip(graphs, PolynomialPlan(graphs)(x[None]), strict=True):
        assert torch.allclose(value[0], one_einsum(graph, x), atol=1e-9)


@pytest.mark.parametrize(
    "options", [{"outputs": 0, "simple": True, "directed": False}, {"outputs": 2, "connected": True}]
)
def test_sharing_steps_changes_no_value(options):
    graphs = multigraphs(5 if options.get("simple") else 2, **options)
    x = noise(2, 1, 6, 6)
    x = x + x.mT
    for symmetric in (False, True):
        together = PolynomialPlan(graphs, symmetric=symmetric)(x)
        for graph, value in zip(graphs, together, strict=True):
            assert torch.allclose(PolynomialPlan([graph])(x)[0], value, atol=1e-8, rtol=1e-9)


@pytest.mark.parametrize(("degree", "outputs", "n"), [(2, 0, 4), (2, 1, 5), (1, 2, 4), (3, 0, 6), (2, 2, 6)])
def test_the_polynomials_are_linearly_independent(degree, outputs, n):
    graphs = multigraphs(degree, outputs, min_degree=0)
    samples = noise(len(graphs) + 2, 1, n, n)
    values = torch.stack(PolynomialPlan(graphs)(samples), -1).reshape(-1, len(graphs))
    assert torch.linalg.matrix_rank(values / values.norm(dim=0)) == len(graphs)


@settings(max_examples=12)
@given(
    st.sampled_from(multigraphs(2, 2) + multigraphs(3, 1)[:80]),
    st.integers(2, 5),
    st.integers(0, 99),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_renaming_nodes_renames_values(graph, n, seed, dtype):
    x = noise(n, n, seed=seed, dtype=dtype)
    g = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    value = equivariant_polynomial(graph)(x)
    for axis in range(value.ndim):
        value = value.index_select(axis, g)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    assert torch.allclose(equivariant_polynomial(graph)(x[g][:, g]), value, rtol=tolerance, atol=tolerance * 100)


def test_known_polynomials():
    x = noise(5, 5)
    assert torch.allclose(equivariant_polynomial(TRIANGLE)(x), torch.trace(x @ x @ x))
    walk = Multigraph(4, [(0, 2), (2, 3), (3, 1)], (0, 1))
    assert torch.allclose(equivariant_polynomial(walk)(x), x @ x @ x)
    assert torch.allclose(equivariant_polynomial(walk, normalize=True)(x), x @ x @ x / 25)
    pair = Multigraph(5, [(0, 1), (1, 2), (2, 0), (3, 4)])
    edge = equivariant_polynomial(Multigraph(2, [(0, 1)]))(x)
    assert torch.allclose(equivariant_polynomial(pair)(x), equivariant_polynomial(TRIANGLE)(x) * edge)
    assert torch.allclose(equivariant_polynomial(Multigraph(1, [(0, 0)], (0, 0)))(x), torch.diag(x.diagonal()))


@settings(max_examples=10)
@given(
    st.integers(1, 7),
    st.integers(0, 99),
    st.sampled_from([TRIANGLE, K4, Multigraph(4, [(0, 1), (1, 2), (2, 3), (3, 0)])]),
)
def test_injective_values_count_copies(n, seed, graph):
    """Against networkx: copies of H in G times the automorphisms of H; zero where G has fewer nodes."""
    g = nx.gnp_random_graph(n, 0.7, seed=seed)
    x = torch.tensor(nx.to_numpy_array(g))
    value = equivariant_polynomial(graph, injective=True)(x)
    pattern = nx.Graph([e[:2] for e in graph.edges])
    matches = nx.algorithms.isomorphism.GraphMatcher(g, pattern).subgraph_monomorphisms_iter()
    assert abs(value.item() - sum(1 for _ in matches)) < 1e-8
    if n < graph.num_nodes:
        assert abs(equivariant_polynomial(graph, injective=True)(noise(n, n)).item()) < 1e-8


def test_injective_expansion_of_a_path():
    path = Multigraph(3, [(0, 1), (1, 2)])
    expansion = injective_expansion(path)
    assert expansion[path.canonical()] == 1 and sum(expansion.values()) == 1 - 3 + 2


def test_exact_values_do_not_overflow():
    big = torch.full((3, 3), 10**9, dtype=torch.int64)
    assert equivariant_polynomial(K4, exact=True)(big).item() == 3**4 * 10**54
    x = (noise(2, 5, 5) > 0).to(torch.int64)
    exact = equivariant_polynomial(TRIANGLE, injective=True, exact=True)(x)
    assert [int(v) for v in exact] == equivariant_polynomial(TRIANGLE, injective=True)(
        x.double()
    ).round().int().tolist()
    node = Multigraph(2, [(0, 1), (1, 0)], (0,))
    assert equivariant_polynomial(node, exact=True)(x).shape == (2, 5)


def test_rook_and_shrikhande_need_six_edges():
    """No connected H of five edges separates them, K4 does: 8 copies in the rook's graph, none in the other."""
    pair = torch.stack([rook_graph(), shrikhande_graph()]).double()
    small = multigraphs(5, 0, simple=True, directed=False, connected=True)
    values = torch.stack(PolynomialPlan(small, symmetric=True)(pair[:, None]))
    assert torch.equal(values[:, 0], values[:, 1])
    copies = equivariant_polynomial(K4, injective=True)(pair) / 24
    assert copies.tolist() == [8, 0]


def test_features_of_pyg_graphs_and_of_dense_matrices_agree():
    graphs = [nx.cycle_graph(5), nx.star_graph(3), nx.complete_graph(4)]
    parts = []
    for g in graphs:
        pairs = [(u, v) for a, b in g.edges for u, v in ((a, b), (b, a))]
        parts.append(Data(edge_index=torch.tensor(pairs).T, num_nodes=len(g)))
    batch = Batch.from_data_list(parts)
    for level, outputs in (("node", 1), ("graph", 0), ("edge", 2)):
        family = multigraphs(3, outputs, simple=True, directed=False, connected=True)
        together = polynomial_features(batch, family, level)
        alone = torch.cat([polynomial_features(p, family, level) for p in parts])
        assert torch.allclose(together, alone, atol=1e-5)
        if level != "graph":
            dense = torch.tensor(nx.to_numpy_array(graphs[0]), dtype=torch.float32)[None]
            value = polynomial_features(dense, family, level)[0]
            own = value if level == "node" else value[tuple(parts[0].edge_index)]
            assert torch.allclose(own, polynomial_features(parts[0], family, level), atol=1e-5)


def test_padding_changes_no_feature_and_fitting_standardises():
    family = PolynomialFeatures(multigraphs(2, 1, connected=True), normalize=True).double()
    x = noise(8, 6, 6)
    mask = torch.arange(6) < torch.tensor([6, 4, 5, 3, 6, 6, 5, 4])[:, None]
    for i in range(4):
        n = int(mask[i].sum())
        alone = family(x[i : i + 1, :n, :n])
        assert torch.allclose(family(x, mask)[i, :n], alone[0], atol=1e-10)
    family.fit(x, mask)
    values = family(x, mask)[mask]
    assert values.mean(0).abs().max() < 1e-6 and (values.std(0, unbiased=False) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("cls", [PPGN, PPGNPlusPlus])
@pytest.mark.parametrize("level", ["graph", "node", "edge"])
def test_padding_changes_nothing_in_networks_on_pairs(cls, level):
    torch.manual_seed(0)
    net = cls(1, 6, 2, layers=2, level=level).double()
    x = noise(2, 4, 4)
    wide = noise(2, 6, 6, seed=1)
    wide[:, :4, :4] = x
    inside = {"graph": (...,), "node": (slice(None), slice(4)), "edge": (slice(None), slice(4), slice(4))}[level]
    mask = (torch.arange(6) < 4).expand(2, 6)
    assert torch.allclose(net(wide, mask)[inside], net(x), atol=1e-10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Multigraph(3, [(0, 1)]), "no edge"),
        (lambda: Multigraph(2, [(0, 5)]), "nodes are 0 to 1"),
        (lambda: Multigraph(3, [], (0, 1, 2)), "at most two"),
        (lambda: multigraphs(2, 3), "outputs"),
        (lambda: multigraphs(1, 1, min_degree=2), "min_degree"),
        (lambda: PolynomialPlan([]), "graphs"),
        (lambda: equivariant_polynomial(K4)(noise(3, 4)), "X: expected"),
        (lambda: equivariant_polynomial(K4, max_bytes=1000)(noise(9, 9)), "GiB"),
        (lambda: equivariant_polynomial(K4, exact=True)(noise(3, 3)), "integers"),
        (lambda: equivariant_polynomial(K4, exact=True, normalize=True), "exact, normalize"),
        (lambda: PolynomialPlan([K4], symmetric=True)(noise(1, 1, 3, 3)), "symmetric"),
        (lambda: PolynomialPlan([Multigraph(2, [(0, 1, 1)])])(noise(1, 1, 3, 3)), "colours"),
        (lambda: polynomial_features(noise(1, 3, 3), [K4], "node"), "outputs"),
        (lambda: PPGN(2, 4, 1)(noise(1, 3, 3).float()), "adjacency"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_disconnected_graphs_are_warned_about():
    with pytest.warns(UserWarning, match="disconnected"):
        polynomial_features(noise(1, 3, 3), [Multigraph(4, [(0, 1), (2, 3)])], "graph")
