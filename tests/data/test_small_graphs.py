"""All small connected graphs: counts from the OEIS, isomorphism from networkx, pairs from the literature."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data.small_graphs import (
    canonical_codes,
    colour_classes,
    colour_equivalent_pairs,
    connected_graphs,
    graphs_of,
)


def test_the_numbers_of_connected_graphs() -> None:
    """OEIS A001349."""
    assert [len(connected_graphs(n)) for n in range(1, 8)] == [1, 1, 2, 6, 21, 112, 853]


@pytest.mark.thorough
def test_graph8c() -> None:
    """11,117 graphs with 312 pairs that colour refinement confuses: Balcilar et al., 2021, arXiv 2106.04319."""
    graphs = connected_graphs(8)
    assert len(graphs) == 11_117
    assert len(colour_equivalent_pairs(graphs)) == 312


@given(st.integers(0, 1000), st.integers(2, 7), st.floats(0.2, 0.9))
@settings(max_examples=15, deadline=None)
def test_codes_know_isomorphism(seed: int, nodes: int, density: float) -> None:
    networkx = pytest.importorskip("networkx")
    generator = torch.Generator().manual_seed(seed)
    upper = (torch.rand(6, nodes, nodes, generator=generator) < density).double().triu(1)
    a = upper + upper.mT
    order = torch.randperm(nodes, generator=generator)
    codes = canonical_codes(a)
    assert torch.equal(canonical_codes(a[:, order][:, :, order]), codes)
    assert torch.equal(canonical_codes(graphs_of(codes, nodes)), codes)
    named = [networkx.from_numpy_array(graph.numpy()) for graph in a]
    for i in range(6):
        for j in range(i):
            assert bool(codes[i] == codes[j]) == networkx.is_isomorphic(named[i], named[j])


def test_colour_refinement_confuses_regular_graphs_only_where_it_must() -> None:
    hexagon, triangles = torch.zeros(2, 6, 6, dtype=torch.float64)
    for i in range(6):
        hexagon[i, (i + 1) % 6] = hexagon[(i + 1) % 6, i] = 1
        triangles[i, i // 3 * 3 + (i + 1) % 3] = triangles[i // 3 * 3 + (i + 1) % 3, i] = 1
    path = graphs_of(torch.tensor([0b1]), 6)[0]
    classes = colour_classes(torch.stack([hexagon, triangles, path]))
    assert classes[0] == classes[1] != classes[2]
    assert canonical_codes(torch.stack([hexagon, triangles])).unique().numel() == 2
    assert colour_equivalent_pairs(torch.stack([hexagon, path, triangles])).tolist() == [[0, 2]]
    assert len(colour_equivalent_pairs(connected_graphs(4))) == 0


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="allowed: 1 to 8"):
        connected_graphs(9)
    with pytest.raises(ValueError, match="at most 11"):
        canonical_codes(torch.zeros(1, 12, 12))
