"""The search over contractions against treewidth, and the published first misses."""

import networkx as nx
import pytest
from networkx.algorithms.approximation import treewidth_min_degree

from erlangen.audit import polynomial_expressivity
from erlangen.audit.expressivity import BANKS, Bank, is_computable
from erlangen.groups.multigraphs import Multigraph, multigraphs

SMALL = multigraphs(6, 0, simple=True, directed=False, connected=True)
K4 = Multigraph(4, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])


def plain(graph):
    return nx.Graph([edge[:2] for edge in graph.edges])


def test_message_passing_computes_trees_and_matrix_products_treewidth_two():
    """Elimination by smallest degree is exact for treewidth at most two."""
    for graph in SMALL:
        assert is_computable(graph, BANKS["gin"]) == nx.is_tree(plain(graph))
        for name in ("ppgn", "ppgn++"):
            assert is_computable(graph, BANKS[name]) == (treewidth_min_degree(plain(graph))[0] <= 2)


def test_first_misses_are_the_triangle_and_the_four_clique():
    assert nx.is_isomorphic(plain(polynomial_expressivity("gcn", 4).first_miss), nx.complete_graph(3))
    found = polynomial_expressivity("ppgn++", 6)
    assert len(found.missed) == 1 and nx.is_isomorphic(plain(found.first_miss), nx.complete_graph(4))
    assert found.degree == 5 and polynomial_expressivity("gin", 6).degree == 2
    assert found.total == {1: 1, 2: 1, 3: 3, 4: 5, 5: 12, 6: 30}
    assert "first miss" in str(found)


def test_transposes_and_diagonals_matter_on_directed_graphs():
    counts = {
        name: sum(polynomial_expressivity(name, 3, outputs=1, simple=False, directed=True).computed.values())
        for name in ("node", "ppgn", "ppgn++")
    }
    assert (
        counts["node"] < counts["ppgn++"] == len(multigraphs(3, 1, connected=True))
        and counts["ppgn"] < counts["ppgn++"]
    )
    turned = Multigraph(3, [(0, 1), (0, 2), (1, 2)])
    assert is_computable(turned, BANKS["ppgn"], directed=True)
    out_and_in = Multigraph(3, [(0, 1), (2, 1), (0, 2), (2, 0)])  # a product of X with its transpose, entry by entry
    assert is_computable(out_and_in, BANKS["ppgn++"], directed=True)
    assert not is_computable(out_and_in, BANKS["ppgn"], directed=True)


def test_a_bank_of_ones_own():
    wide = Bank("three neighbours", 2, products=True, transposes=True, diagonal=True)
    assert not is_computable(K4, wide)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: polynomial_expressivity("transformer"), "bank"),
        (lambda: polynomial_expressivity("gin", 0), "max_degree"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
