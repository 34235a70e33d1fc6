"""Ego-networks beside a loop over nodes, and the 2 -> 2 layer on them beside padding and beside the global layer.

python benchmarks/subgraph_equivariance.py [--output subgraph_equivariance.json] [--repeats 9] [--threads 1]

`loop` calls PyG's `k_hop_subgraph` for every node, as the released implementation does in plain Python. `padded` is the
dense layer on all ego-networks padded to the largest; `global` the dense layer on every whole graph.
"""

from collections.abc import Callable

import torch

from erlangen.data.graphs import ego_networks
from erlangen.nn.graphs import EquivariantLinear
from erlangen.nn.graphs.subgraph_linear import Layout, SizeClasses, SubgraphLinear
from harness import interleave, make_parser, write_json


def random_batch(graphs: int, n: int, degree: float) -> torch.Tensor:
    """Edges of `graphs` random graphs of n nodes and the given mean degree, both ways, as one graph."""
    upper = (torch.rand(graphs, n, n) < degree / (n - 1)).triu(1)
    which, u, v = (upper | upper.mT).nonzero().T
    return torch.stack([which * n + u, which * n + v])


def held(call: Callable[[], torch.Tensor]) -> int:
    """Bytes of floating-point storage that autograd keeps."""
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point():
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return sum(seen.values())


def extraction(repeats: int) -> list[dict[str, object]]:
    edges = random_batch(128, 30, 4)
    cases: dict[str, Callable[[], object]] = {"ours": lambda: ego_networks(edges, 128 * 30, 1)}
    try:
        from torch_geometric.utils import k_hop_subgraph

        cases["loop"] = lambda: [
            k_hop_subgraph(node, 1, edges, relabel_nodes=True, num_nodes=128 * 30) for node in range(128 * 30)
        ]
    except ImportError:
        print("torch_geometric is not installed: the loop is left out", flush=True)
    timing = interleave(cases, max(2, repeats // 3), 1)
    words = "  ".join(f"{k} {v * 1e3:.1f} ms ({timing.ratios[k]:.0f}x)" for k, v in timing.medians.items())
    print(f"ego-networks of 3,840 nodes: {words}", flush=True)
    return [{"what": "extraction", "graphs": 128, "n": 30, "hops": 1, **timing.to_dict()}]


def layer(repeats: int, channels: int = 32) -> list[dict[str, object]]:
    edges = random_batch(128, 30, 4)
    egos = ego_networks(edges, 128 * 30, 1)
    egos = egos.reordered(egos.sizes.argsort())
    layout = Layout.of(egos, SizeClasses("all"))
    flat, dense = SubgraphLinear({2: channels}, (2,), channels), EquivariantLinear(2, 2, channels, channels)
    rows = torch.randn(egos.pairs.shape[1], channels, requires_grad=True)
    wide = int(egos.sizes.max())
    padded = torch.randn(len(egos), channels, wide, wide, requires_grad=True)
    mask = torch.arange(wide) < egos.sizes[:, None]
    whole = torch.randn(128, channels, 30, 30, requires_grad=True)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "ours": lambda: flat({2: rows}, layout)[2],
        "padded": lambda: dense(padded, mask),
        "global": lambda: dense(whole),
    }

    def step(call: Callable[[], torch.Tensor]) -> None:
        call().square().mean().backward()

    timing = interleave({name: lambda call=call: step(call) for name, call in calls.items()}, repeats, 1)
    sizes = {name: held(lambda call=call: torch.relu(call())) for name, call in calls.items()}
    theory = 2 * egos.pairs.shape[1] * channels * 4  # the input and the output of the layer
    memory = {f"bytes_{name}_over_theory": size / theory for name, size in sizes.items()}
    words = "  ".join(
        f"{k} {v * 1e3:.0f} ms ({timing.ratios[k]:.1f}x, {sizes[k] / theory:.2f} of theory)"
        for k, v in timing.medians.items()
    )
    print(
        f"2->2 on the ego-networks of 128 graphs, {channels} channels, {egos.pairs.shape[1]} pairs: {words}", flush=True
    )
    return [{"what": "layer 2 -> 2", "graphs": 128, "n": 30, "channels": channels, **memory, **timing.to_dict()}]


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = extraction(options.repeats) + layer(options.repeats)
    write_json(options.output, rows, benchmark="ego-networks and layers on them")


if __name__ == "__main__":
    main()
