"""Sub-graph networks: MUTAG, circular skip links that message passing cannot tell apart, and memory beside a global layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from erlangen.data.graphs import csl_graphs, ego_networks, tu_graphs
from erlangen.nn.graphs import EquivariantLinear, SubgraphPermEquivariant
from erlangen.nn.graphs.subgraph_linear import Layout, SizeClasses, SubgraphLinear
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

FOLDS = {"smoke": 2, "laptop": 5, "full": 10}
EPOCHS = {"smoke": 2, "laptop": 20, "full": 60}
HOPS = 2


class GIN(nn.Module):
    """PyG's graph isomorphism network with a mean read-out and the same head as the sub-graph network."""

    def __init__(self, in_channels: int, hidden: int, out: int, layers: int) -> None:
        super().__init__()
        from torch_geometric.nn import GIN as Layers

        self.layers = Layers(in_channels, hidden, layers, norm="batch_norm")
        self.head = nn.Sequential(nn.Linear(hidden, 64), nn.ELU(), nn.Linear(64, out))

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor, *, num_graphs: int) -> Tensor:
        values = self.layers(x, edge_index)
        total = values.new_zeros(num_graphs, values.shape[1]).index_add(0, batch, values)
        return self.head(total / torch.bincount(batch, minlength=num_graphs).clamp(min=1)[:, None])


@recipe(
    "subgraph_equivariance",
    title="Sub-graph permutation equivariance: beyond message passing, far below global memory",
    source="arXiv:2111.11840",
    claims=[
        Claim("MUTAG: within one standard deviation over folds of GIN", "mutag.lead_in_deviations", "above", -1.0),
        Claim("CSL: at least 10 points above GIN", "csl.spen", "above", "csl.gin", margin=0.1),
        Claim("memory beside a global 2 -> 2 layer falls as graphs grow", "memory.ratio300", "below", "memory.ratio30"),
        Claim("at 300 nodes it is under a fifth of the global layer's", "memory.ratio300", "below", 0.2),
        Claim("memory per pair is what Σ m² says, within 1.5", "memory.over_theory", "below", 1.5),
        Claim("CSL: GIN is at chance (10 classes)", "csl.gin", "below", 0.25, control=True),
        Claim(
            "CSL: with node vectors alone the sub-graph network is blind too",
            "csl.nodes_only",
            "below",
            0.45,
            control=True,
        ),
        Claim(
            "MUTAG with shuffled labels is at the share of the larger class",
            "mutag.shuffled",
            "below",
            0.75,
            control=True,
        ),
    ],
    uses=[
        "erlangen.nn.graphs.subgraph_equivariant",
        "erlangen.nn.graphs.subgraph_linear",
        "erlangen.data.graphs.ego",
        "erlangen.data.graphs.tu",
        "erlangen.data.graphs.hard_pairs",
    ],
    laptop_seeds=3,
    explanation=(
        "MUTAG: mean test accuracy over the folds of a stratified split drawn from the seed, after the last epoch (no model "
        "is picked by its test accuracy); generated graphs with and without triangles at the smoke budget. CSL: 41 nodes, "
        "10 classes, two hops; node vectors alone still see the number of nodes of an ego-network. `memory` is the bytes "
        "that a 2 -> 2 layer keeps for its backward pass, 8 channels, on random graphs "
        "of mean degree 4 and one hop, over those of the global layer; `over_theory` divides that by Σ m² / n²: "
        "diagonals and row and column means, kept for their weights, come on top of Σ m² while ego-networks are small."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Cross-validation on MUTAG, one split of CSL, and the bytes held by one layer."""
    numbers = _mutag(budget, seed) | _csl(budget, seed)
    ratios = {}
    for n in (30, 100, 300):
        ratios[n], theory = _memory(n, seed)
        numbers[f"memory.ratio{n}"] = ratios[n]
        numbers["memory.over_theory"] = ratios[n] / theory
    return numbers


def _mutag(budget: Budget, seed: int) -> dict[str, float]:
    graphs = _toy(40, seed) if budget == "smoke" else tu_graphs("MUTAG")
    label = torch.cat([graph.y for graph in graphs])
    generator = torch.Generator().manual_seed(seed)
    fold = torch.empty_like(label)
    for kind in (0, 1):  # stratified: deal out every class
        mine = (label == kind).nonzero().flatten()
        fold[mine[torch.randperm(len(mine), generator=generator)]] = torch.arange(len(mine)) % FOLDS[budget]
    channels = graphs[0].x.shape[1]
    builders: dict[str, Callable[[], nn.Module]] = {
        "spen": lambda: SubgraphPermEquivariant(channels, 16, 2, hops=HOPS, layers=3, head=(64,)),
        "gin": lambda: GIN(channels, 32, 2, 3),
    }
    numbers: dict[str, float] = {}
    scores: dict[str, Tensor] = {}
    for name, build in builders.items():
        found = []
        for held in range(FOLDS[budget]):
            parts = (fold != held).nonzero().flatten(), (fold == held).nonzero().flatten()
            found.append(_fit(build, graphs, label, *parts, EPOCHS[budget], seed))
        scores[name] = torch.tensor(found)
        numbers |= {f"mutag.{name}": float(scores[name].mean()), f"mutag.{name}_deviation": float(scores[name].std())}
    spread = max(numbers["mutag.gin_deviation"], 0.01)
    numbers["mutag.lead_in_deviations"] = (numbers["mutag.spen"] - numbers["mutag.gin"]) / spread
    mixed = label[torch.randperm(len(label), generator=generator)]
    parts = (fold != 0).nonzero().flatten(), (fold == 0).nonzero().flatten()
    numbers["mutag.shuffled"] = _fit(builders["spen"], graphs, mixed, *parts, EPOCHS[budget], seed)
    return numbers


def _csl(budget: Budget, seed: int) -> dict[str, float]:
    adjacency, label = csl_graphs(2 if budget == "smoke" else 3, generator=torch.Generator().manual_seed(seed))
    graphs = [_data(a, torch.ones(len(a), 1)) for a in adjacency]
    first = torch.ones_like(label, dtype=torch.bool)
    first[1:] = label[1:] != label[:-1]
    test, train = first.nonzero().flatten(), (~first).nonzero().flatten()
    epochs = 2 if budget == "smoke" else 50
    builders: dict[str, Callable[[], nn.Module]] = {
        "spen": lambda: SubgraphPermEquivariant(1, 12, 10, hops=HOPS, layers=2, sharing="all", head=(64,)),
        "nodes_only": lambda: SubgraphPermEquivariant(
            1, 12, 10, hops=HOPS, order=(1,), layers=2, sharing="all", head=(64,)
        ),
        "gin": lambda: GIN(1, 32, 10, 3),
    }
    return {
        f"csl.{name}": _fit(build, graphs, label, train, test, epochs, seed, batch=10)
        for name, build in builders.items()
    }


def _fit(
    build: Callable[[], nn.Module],
    graphs: list[Any],
    label: Tensor,
    train: Tensor,
    test: Tensor,
    epochs: int,
    seed: int,
    batch: int = 32,
) -> float:
    """Train on `train`, return the accuracy on `test`."""
    net = seeded(build, seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * -(-len(train) // batch))
    for _ in range(epochs):
        for part in train[torch.randperm(len(train), generator=generator)].split(batch):
            optimizer.zero_grad()
            cross_entropy(_run(net, graphs, part), label[part]).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.inference_mode():
        out = torch.cat([_run(net, graphs, part) for part in test.split(batch)])
    return float((out.argmax(1) == label[test]).double().mean())


def _run(net: nn.Module, graphs: list[Any], index: Tensor) -> Tensor:
    from torch_geometric.data import Batch

    joined: Any = Batch.from_data_list([graphs[i] for i in index.tolist()])
    return net(joined.x, joined.edge_index, joined.batch, num_graphs=len(index))


def _data(adjacency: Tensor, x: Tensor, label: int = 0) -> Any:
    from torch_geometric.data import Data

    return Data(x=x, edge_index=adjacency.nonzero().T.contiguous(), y=torch.tensor([label]))


def _toy(count: int, seed: int) -> list[Any]:
    """Cycles of eight nodes (class 0), and pairs of triangles joined by a path (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    ring = torch.zeros(8, 8)
    ring[torch.arange(8), (torch.arange(8) + 1) % 8] = 1
    tied = torch.zeros(8, 8)
    for u, v in ((0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 5)):
        tied[u, v] = 1
    made = []
    for number in range(count):
        adjacency = (tied if number % 2 else ring).maximum((tied if number % 2 else ring).T)
        order = torch.randperm(8, generator=generator)
        made.append(_data(adjacency[order][:, order], torch.ones(8, 7), number % 2))
    return made


def _memory(n: int, seed: int) -> tuple[float, float]:
    """Bytes kept for the backward pass: sub-graph layer over global layer, and Σ m² / n²."""
    generator = torch.Generator().manual_seed(seed)
    parent = (torch.rand(n - 1, generator=generator) * torch.arange(1, n)).long()
    chords = torch.randint(n, (2, n), generator=generator)
    one_way = torch.cat([torch.stack([torch.arange(1, n), parent]), chords[:, chords[0] != chords[1]]], 1)
    egos = ego_networks(one_way, n, 1, directed="symmetrize")
    egos = egos.reordered(egos.sizes.argsort())
    layout = Layout.of(egos, SizeClasses("all"))
    flat = seeded(lambda: SubgraphLinear({2: 8}, (2,), 8), seed)
    dense = seeded(lambda: EquivariantLinear(2, 2, 8, 8), seed)
    rows = torch.randn(egos.pairs.shape[1], 8, generator=generator)
    whole = torch.randn(1, 8, n, n, generator=generator)
    held = _held(lambda: torch.relu(flat({2: torch.tanh(rows.requires_grad_())}, layout)[2]))
    globally = _held(lambda: torch.relu(dense(torch.tanh(whole.requires_grad_()))))
    return held / globally, egos.pairs.shape[1] / n**2


def _held(call: Callable[[], Tensor]) -> float:
    """Bytes of floating-point storage that autograd keeps, each counted once."""
    seen: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return float(sum(tensor.untyped_storage().nbytes() for tensor in seen.values()))
