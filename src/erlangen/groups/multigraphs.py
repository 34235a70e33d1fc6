"""Directed multigraphs with ordered output nodes, up to isomorphism: the index set of equivariant polynomials."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from erlangen.groups.permutations.partitions import Partition, mobius, set_partitions

Edge = tuple[int, int, int]


@dataclass(frozen=True, order=True)
class Multigraph:
    """H = (V, E) with ordered output nodes: names the polynomial P_H(X)_{outputs} = Σ Π_{(u,v,c) in E} X^c_{j_u j_v}.

    Nodes are 0..num_nodes-1; an edge is `(source, target, colour)` (given with or without the colour) and may repeat; a
    loop (u, u) reads the diagonal of X. `outputs` has at most two entries; `(0, 0)` puts the polynomial on the diagonal.
    Every node that is not an output has an edge.

    Raises ValueError for nodes that do not exist, isolated inner nodes and more than two outputs.
    """

    num_nodes: int
    edges: tuple[Edge, ...]
    outputs: tuple[int, ...] = ()

    def __init__(self, num_nodes: int, edges: Sequence[tuple[int, ...]], outputs: Sequence[int] = ()) -> None:
        full = tuple(sorted((*edge, 0) if len(edge) == 2 else tuple(edge) for edge in edges))
        touched = {u for edge in full for u in edge[:2]} | set(outputs)
        if any(len(edge) != 3 or edge[2] < 0 for edge in full):
            raise ValueError(f"edges: pairs of nodes, or (source, target, colour), given {edges}")
        if any(not 0 <= u < num_nodes for u in touched):
            raise ValueError(f"edges, outputs: nodes are 0 to {num_nodes - 1}, given {edges} and {outputs}")
        if len(touched) < num_nodes:
            raise ValueError(f"num_nodes: nodes {sorted(set(range(num_nodes)) - touched)} have no edge and no output")
        if len(outputs) > 2:
            raise ValueError(f"outputs: at most two, given {outputs}")
        object.__setattr__(self, "num_nodes", num_nodes)
        object.__setattr__(self, "edges", full)
        object.__setattr__(self, "outputs", tuple(outputs))

    @property
    def degree(self) -> int:
        """The degree of the polynomial: the number of edges."""
        return len(self.edges)

    @property
    def summed(self) -> int:
        """How many indices are summed over."""
        return self.num_nodes - len(set(self.outputs))

    @property
    def is_simple(self) -> bool:
        """No loops and at most one edge between two nodes, whatever its direction."""
        pairs = [frozenset(edge[:2]) for edge in self.edges]
        return len(set(pairs)) == len(pairs) and all(len(pair) == 2 for pair in pairs)

    @property
    def components(self) -> tuple[frozenset[int], ...]:
        """Sets of nodes joined by edges."""
        found: list[set[int]] = [{node} for node in range(self.num_nodes)]
        for u, v, _ in self.edges:
            joined = [part for part in found if u in part or v in part]
            found = [part for part in found if part not in joined] + [set().union(*joined)]
        return tuple(frozenset(part) for part in sorted(found, key=min))

    @property
    def is_connected(self) -> bool:
        return len(self.components) <= 1

    def canonical(self, *, directed: bool = True) -> Multigraph:
        """The same H for all members of an isomorphism class; isomorphisms keep the outputs in order.

        With `directed=False` edges may be turned round one by one, as for a symmetric X.
        """
        return _canonical(self, directed)

    def merged(self, partition: Partition) -> Multigraph:
        """H with the nodes of every block identified."""
        name = {node: number for number, block in enumerate(partition) for node in block}
        edges = [(name[u], name[v], c) for u, v, c in self.edges]
        return Multigraph(len(partition), edges, tuple(name[a] for a in self.outputs))

    def __str__(self) -> str:
        edges = " ".join(f"{u}{'>' if u != v else 'o'}{v}" + (f":{c}" if c else "") for u, v, c in self.edges)
        return f"[{edges}]" + (f" at {self.outputs}" if self.outputs else "")


def injective_expansion(graph: Multigraph) -> dict[Multigraph, int]:
    """Integers μ with Q_H = Σ μ[H'] P_{H'}, where Q_H sums over injective index maps only (Möbius inversion)."""
    singletons = set_partitions(graph.num_nodes)[-1]
    total: Counter[Multigraph] = Counter()
    for partition in set_partitions(graph.num_nodes):
        total[graph.merged(partition).canonical()] += mobius(singletons, partition)
    return {merged: value for merged, value in total.items() if value}


def multigraphs(
    max_degree: int,
    outputs: int = 1,
    *,
    min_degree: int = 1,
    simple: bool = False,
    directed: bool = True,
    connected: bool | None = None,
    colours: int = 1,
) -> list[Multigraph]:
    """All H with min_degree to max_degree edges up to isomorphism, smallest first: a basis of equivariant polynomials.

    Args:
        outputs: 0 for invariant polynomials, 1 for one value a node, 2 for one value a pair of nodes; with 2 the two
            output nodes may also be one node (a value on the diagonal).
        simple: no loops and no repeated edges. On an adjacency matrix with entries 0 and 1 and no loops this loses
            nothing, since X² = X.
        directed: with False, one H for all orientations of its edges: they are one polynomial where X is symmetric.
        connected: True for connected H only, False for the others only.
        colours: the number of matrices X^c that edges may read.

    The values of distinct H are linearly independent as polynomials once n is at least the number of nodes of each.

    Raises ValueError for degrees out of order, outputs not in 0, 1, 2 and colours < 1.

    Source: Puny, Lim, Kiani, Maron, Lipman, Equivariant polynomials for graph neural networks, 2023, arXiv:2302.11556.
    """
    if not 0 <= min_degree <= max_degree or outputs not in (0, 1, 2) or colours < 1:
        raise ValueError(
            "max_degree, min_degree, outputs, colours: need 0 <= min_degree <= max_degree, outputs 0, 1 or 2 and "
            f"colours >= 1, given {max_degree}, {min_degree}, {outputs}, {colours}"
        )
    return list(_enumerate(max_degree, outputs, min_degree, simple, directed, connected, colours))


@functools.lru_cache(maxsize=64)
def _enumerate(
    max_degree: int, outputs: int, min_degree: int, simple: bool, directed: bool, connected: bool | None, colours: int
) -> tuple[Multigraph, ...]:
    starts = {0: [Multigraph(0, [])], 1: [Multigraph(1, [], (0,))]}
    layer = set(starts.get(outputs, [Multigraph(2, [], (0, 1)), Multigraph(1, [], (0, 0))]))
    found: list[Multigraph] = []
    for degree in range(max_degree + 1):
        if degree:
            grown = (larger for graph in layer for larger in _grow(graph, colours, simple, connected is True))
            layer = {_canonical(graph, directed) for graph in grown}
        if degree >= min_degree:
            found += sorted(graph for graph in layer if connected is None or graph.is_connected == connected)
    return tuple(found)


def _grow(graph: Multigraph, colours: int, simple: bool, attached: bool) -> Iterator[Multigraph]:
    """H with one edge more; with `attached` it touches H (or is the first), which still reaches every connected H.

    Removing the edge of a leaf that is not an output, or an edge on a cycle, or any edge of a path between two outputs
    leaves every component with an output, so growth need not pass through graphs with a loose component.
    """
    old, new = range(graph.num_nodes), graph.num_nodes
    pairs = [*itertools.product(old, old), *((u, new) for u in old), *((new, u) for u in old)]
    if not (attached and graph.num_nodes):
        pairs += [(new, new), (new, new + 1)]
    taken = {frozenset(edge[:2]) for edge in graph.edges}
    for u, v in pairs:
        if simple and (u == v or frozenset((u, v)) in taken):
            continue
        for colour in range(colours):
            yield Multigraph(max(graph.num_nodes, u + 1, v + 1), [*graph.edges, (u, v, colour)], graph.outputs)


@functools.lru_cache(maxsize=1 << 17)
def _canonical(graph: Multigraph, directed: bool) -> Multigraph:
    """The smallest edge list over all renamings that respect colours refined as in the 1-WL test, by component.

    Components without an output come last, sorted, so that the renamings tried are those inside each component.
    """
    if not directed:
        graph = Multigraph(graph.num_nodes, [(min(u, v), max(u, v), c) for u, v, c in graph.edges], graph.outputs)
    fixed = {node: place for place, node in enumerate(dict.fromkeys(graph.outputs))}
    groups: list[list[int]] = [[]]
    for part in graph.components:
        if part & fixed.keys():
            groups[0] += sorted(part)
        else:
            groups.append(sorted(part))
    pieces = sorted(_canonical_piece(graph, nodes, fixed, directed) for nodes in groups if nodes)
    pieces.sort(key=lambda piece: (not piece[2], piece))
    edges: list[tuple[int, ...]] = []
    size = 0
    for count, part_edges, _ in pieces:
        edges += [(u + size, v + size, c) for u, v, c in part_edges]
        size += count
    return Multigraph(size, edges, tuple(fixed[a] for a in graph.outputs))


def _canonical_piece(
    graph: Multigraph, nodes: list[int], fixed: dict[int, int], directed: bool
) -> tuple[int, tuple[Edge, ...], bool]:
    inside = set(nodes)
    edges = [edge for edge in graph.edges if edge[0] in inside]
    rank = _refine(nodes, edges, fixed, directed)
    with_output = any(node in fixed for node in nodes)
    classes = [sorted(n for n in nodes if rank[n] == r) for r in sorted(set(rank.values()))]
    best: tuple[Edge, ...] | None = None
    for order in itertools.product(*(itertools.permutations(part) for part in classes)):
        name = {node: place for place, node in enumerate(itertools.chain(*order))}
        renamed = ((name[u], name[v], c) for u, v, c in edges)
        candidate = tuple(sorted(e if directed or e[0] <= e[1] else (e[1], e[0], e[2]) for e in renamed))
        if best is None or candidate < best:
            best = candidate
    assert best is not None
    return len(nodes), best, with_output


def _refine(nodes: list[int], edges: list[Edge], fixed: dict[int, int], directed: bool) -> dict[int, int]:
    """Ranks of nodes that isomorphisms keep; output nodes come first, each alone, in their order."""
    labels: dict[int, tuple[object, ...]] = {n: (0, fixed[n]) if n in fixed else (1, 0) for n in nodes}
    rank = _ranks(labels)
    while True:
        labels = {
            n: (
                rank[n],
                tuple(
                    sorted(
                        (0 if not directed else int(u == n) + 2 * int(v == n), c, rank[v if u == n else u], u == v)
                        for u, v, c in edges
                        if n in (u, v)
                    )
                ),
            )
            for n in nodes
        }
        finer = _ranks(labels)
        if len(set(finer.values())) == len(set(rank.values())):
            return finer
        rank = finer


def _ranks(labels: dict[int, tuple[object, ...]]) -> dict[int, int]:
    order = {label: place for place, label in enumerate(sorted(set(labels.values())))}  # type: ignore[type-var]
    return {node: order[label] for node, label in labels.items()}
