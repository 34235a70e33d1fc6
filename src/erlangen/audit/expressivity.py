"""Which equivariant polynomials can an architecture compute? A search over the contractions that its layers can do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from erlangen._registry import unknown_name
from erlangen.groups.multigraphs import Multigraph, multigraphs

Side = Literal["row", "column"]
Pairs = dict[frozenset[int], frozenset[tuple[int, int]]]
Sides = dict[int, tuple[frozenset[Side], ...]]
BOTH: frozenset[Side] = frozenset(("row", "column"))


@dataclass(frozen=True)
class Bank:
    """The elementary contractions of one kind of layer, each of which may be repeated.

    Attributes:
        name: what to call it.
        neighbours: how many neighbours an index may have when it is summed over: 1 sends a message along an edge, 2 is a
            matrix product.
        products: entrywise products of two matrices, which merge parallel edges.
        transposes: a matrix may be turned.
        diagonal: the diagonal of a matrix may be read as a value of nodes, and values of rows moved to columns. A
            read-out that takes a trace once, at the end, is not a layer that can be repeated and does not count.
    """

    name: str
    neighbours: Literal[1, 2]
    products: bool
    transposes: bool
    diagonal: bool


NODE = Bank("node", 1, products=False, transposes=False, diagonal=True)
MATRIX = Bank("ppgn", 2, products=True, transposes=False, diagonal=False)
EDGE = Bank("edge", 2, products=True, transposes=True, diagonal=True)
BANKS = {
    "node": NODE,
    "gcn": NODE,
    "gin": NODE,
    "message passing": NODE,
    "ppgn": MATRIX,
    "edge": EDGE,
    "ppgn++": EDGE,
}


@dataclass(frozen=True)
class Expressivity:
    """What a bank computes among all H up to a degree.

    Attributes:
        bank: the bank.
        computed: degree -> how many H it computes.
        total: degree -> how many there are.
        missed: those it does not, smallest first.
    """

    bank: Bank
    computed: dict[int, int]
    total: dict[int, int]
    missed: tuple[Multigraph, ...]

    @property
    def degree(self) -> int:
        """The largest d so that every H of degree at most d is computed (up to the largest degree asked for)."""
        complete = [d for d in self.total if all(self.computed[e] == self.total[e] for e in self.total if e <= d)]
        return max(complete, default=0)

    @property
    def first_miss(self) -> Multigraph | None:
        """The smallest H that the bank does not compute; None where it computes all."""
        return self.missed[0] if self.missed else None

    def __str__(self) -> str:
        rows = [f"degree {d}: {self.computed[d]} of {self.total[d]}" for d in self.total]
        miss = "none missed" if self.first_miss is None else f"first miss {self.first_miss}"
        return f"{self.bank.name}: " + ", ".join(rows) + f"; {miss}"


def polynomial_expressivity(
    bank: str | Bank,
    max_degree: int = 6,
    *,
    outputs: int = 0,
    simple: bool = True,
    directed: bool = False,
    family: Iterable[Multigraph] | None = None,
) -> Expressivity:
    """Which connected P_H an architecture computes exactly with enough layers, channels and a universal MLP.

    H is computable when contractions of the bank, each removing one inner node, reduce it to its outputs; all orders are
    tried. Message passing ("node", "gcn", "gin") sums over a node with one neighbour and multiplies values of nodes;
    "ppgn" multiplies matrices, entry by entry and as matrices, and sums rows or columns; "edge" ("ppgn++") adds
    transposes and diagonals. On a symmetric X (`directed=False`) matrices may be turned in any bank.

    The result is about exact computation from contractions, an upper bound of what a trained network does and a lower
    bound of what a network with other operations could do.

    Args:
        bank: a name, or a `Bank` of your own.
        outputs: 0, 1 or 2 output nodes.
        simple: H without loops and repeated edges only.
        family: the H to look at, instead of all connected ones.

    Raises ValueError for an unknown name and degrees below 1.

    Source: Puny, Lim, Kiani, Maron, Lipman, Equivariant polynomials for graph neural networks, 2023, arXiv:2302.11556.
    """
    if isinstance(bank, str):
        if bank.lower() not in BANKS:
            raise unknown_name("bank", bank, list(BANKS))
        bank = BANKS[bank.lower()]
    if family is None:
        if max_degree < 1:
            raise ValueError(f"max_degree: at least 1, given {max_degree}")
        family = multigraphs(max_degree, outputs, simple=simple, directed=directed, connected=True)
    computed: dict[int, int] = {}
    total: dict[int, int] = {}
    missed = []
    for graph in family:
        yes = is_computable(graph, bank, directed=directed)
        total[graph.degree] = total.get(graph.degree, 0) + 1
        computed[graph.degree] = computed.get(graph.degree, 0) + yes
        if not yes:
            missed.append(graph)
    return Expressivity(bank, computed, total, tuple(missed))


def is_computable(graph: Multigraph, bank: Bank, *, directed: bool = False) -> bool:
    """Whether contractions of the bank reduce H to its output nodes, in some order."""
    pairs: Pairs = {}
    sides: Sides = {}
    for u, v, _ in graph.edges:
        if u == v:
            if not bank.diagonal:
                return False
            sides[u] = (*sides.get(u, ()), BOTH)
            continue
        free_turn = bank.transposes or not directed
        if not _join(pairs, frozenset([(u, v), (v, u)] if free_turn else [(u, v)]), bank):
            return False
    return _reduces(pairs, sides, frozenset(range(graph.num_nodes)) - set(graph.outputs), bank, set())


def _join(pairs: Pairs, turns: frozenset[tuple[int, int]], bank: Bank) -> bool:
    """Put a matrix on a pair of nodes; onto one that is there as an entrywise product. False where that cannot be done."""
    key = frozenset(next(iter(turns)))
    if key in pairs:
        if not bank.products:
            return False
        turns = turns & pairs[key]
    pairs[key] = turns
    return bool(turns)


def _reduces(pairs: Pairs, sides: Sides, free: frozenset[int], bank: Bank, seen: set[object]) -> bool:
    if not free:
        return True
    state = (frozenset(pairs.items()), frozenset(sides.items()), free)
    if state in seen:
        return False
    seen.add(state)
    for node in free:
        after = _eliminate(pairs, sides, node, bank)
        if after is not None and _reduces(*after, free - {node}, bank, seen):
            return True
    return False


def _eliminate(pairs: Pairs, sides: Sides, node: int, bank: Bank) -> tuple[Pairs, Sides] | None:
    """The state after summing over one node; None where the bank cannot."""
    touching = [key for key in pairs if node in key]
    if len(touching) > bank.neighbours:
        return None
    left: Pairs = {key: turns for key, turns in pairs.items() if node not in key}
    values: Sides = {other: known for other, known in sides.items() if other != node}
    own = sides.get(node, ())
    others = [next(iter(key - {node})) for key in touching]
    if len(touching) == 1:
        x, turns = others[0], pairs[touching[0]]
        # sum over v of f(v) M(v, x) leaves a value of columns, of M(x, v) f(v) a value of rows
        possible: set[Side] = set()
        if (node, x) in turns and all("row" in side for side in own):
            possible.add("column")
        if (x, node) in turns and all("column" in side for side in own):
            possible.add("row")
        if bank.neighbours == 1 and (x, node) not in turns:
            return None
        if not possible:
            return None
        values[x] = (*values.get(x, ()), BOTH if bank.diagonal else frozenset(possible))
    if len(touching) == 2:
        (x, y), (first, second) = others, (pairs[key] for key in touching)
        turns = frozenset(
            (a, b)
            for a, b, into, out in ((x, y, first, second), (y, x, second, first))
            if (a, node) in into and (node, b) in out
        )
        if bank.transposes:
            turns = turns | {(b, a) for a, b in turns}
        if not turns or not _join(left, turns, bank):
            return None
    return left, values
