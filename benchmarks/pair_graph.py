"""Closing a graph of pairs by transitivity, and mining negatives, in seconds and beside peers where they are installed.

    python benchmarks/pair_graph.py [--full] [--repeats 3] [--threads 1] [--output pair_graph.json]

Closure: tracks of five nodes and `inter` edges between random nodes, beside networkx (breadth-first from every node, on the
small graph only). Mining: the hardest negative of every embedding, beside pytorch-metric-learning's batch-hard miner and
the whole matrix of similarities with a mask. Processor seconds; the ratios are of medians.
"""

import importlib.util
import resource
import time
from collections.abc import Callable
from typing import Any

import networkx
import torch

from erlangen.data import PairGraph
from erlangen.objectives.triplet import mine
from harness import interleave, make_parser, write_json

TRACK = 5


def build(nodes: int, inter: int) -> PairGraph:
    """Tracks of five nodes, and random edges between them."""
    generator = torch.Generator().manual_seed(0)
    node = torch.arange(nodes)
    follows = node[node % TRACK != TRACK - 1]
    pairs = torch.randint(nodes, (inter, 2), generator=generator)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return PairGraph(nodes).add(follows, follows + 1, "intra").add(pairs[:, 0], pairs[:, 1], "inter")


def by_networkx(graph: PairGraph) -> int:
    """The same closure along (intra*, inter, intra*) with at most 3 edges, from every node; the number of new pairs."""
    tracks, alike = networkx.Graph(), networkx.Graph()
    for made, kind in ((tracks, "intra"), (alike, "inter")):
        made.add_nodes_from(range(graph.num_nodes))
        made.add_edges_from(graph.pairs(kind).tolist())
    found = set()
    for i in range(graph.num_nodes):
        for a, first in networkx.single_source_shortest_path_length(tracks, i, cutoff=2).items():
            for b in alike[a]:
                left = 2 - first
                ends = networkx.single_source_shortest_path_length(tracks, b, cutoff=left)
                found |= {(min(i, j), max(i, j)) for j in ends if i != j}
    return len({p for p in found if not tracks.has_edge(*p) and not alike.has_edge(*p)})


def closure(nodes: int, inter: int, repeats: int, *, peer: bool) -> dict[str, Any]:
    graph = build(nodes, inter)
    new = len(graph.close().pairs("transitive"))
    cases: dict[str, Callable[[], object]] = {"erlangen": graph.close}
    if peer:
        assert by_networkx(graph) == new, "the closures differ"
        cases = {"networkx": lambda: by_networkx(graph), **cases}
    timing = interleave(cases, repeats=repeats, warmup=0, clock=time.process_time)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"what": "closure", "nodes": nodes, "inter": inter, "new_pairs": new, "peak_mib": peak, **timing.to_dict()}


def mining(count: int, dim: int, repeats: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(count, dim, generator=generator), dim=1)
    label = torch.randint(count // 10, (count,), generator=generator)

    def whole() -> torch.Tensor:
        return (z @ z.mT).masked_fill_(label[:, None] == label, -torch.inf).argmax(1)

    assert torch.equal(whole(), mine(z, z, label, label)[0][:, 0])
    cases: dict[str, Callable[[], object]] = {"whole matrix": whole, "erlangen": lambda: mine(z, z, label, label)}
    if importlib.util.find_spec("pytorch_metric_learning") is not None:
        from pytorch_metric_learning.distances import CosineSimilarity
        from pytorch_metric_learning.miners import BatchHardMiner

        miner = BatchHardMiner(distance=CosineSimilarity())
        cases = {"metric learning": lambda: miner(z, label), **cases}
    timing = interleave(cases, repeats=repeats, warmup=1, clock=time.process_time)
    return {"what": "mining", "count": count, "dim": dim, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument(
        "--full", action="store_true", help="100,000 nodes with a million edges, 10,000 embeddings of 512"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    repeats = arguments.repeats
    rows = [closure(2_000, 2_000, repeats, peer=True), mining(1_000, 128, repeats)]
    if arguments.full:
        rows += [closure(100_000, 920_000, repeats, peer=False), mining(10_000, 512, repeats)]
    for row in rows:
        print(row["what"], {name: round(value, 4) for name, value in row["medians"].items()}, flush=True)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
