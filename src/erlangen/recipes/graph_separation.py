"""Which networks with random weights tell all small graphs apart: frame averaged perceptrons and message passing."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from erlangen.data.small_graphs import colour_equivalent_pairs, connected_graphs
from erlangen.groups import Symmetric
from erlangen.groups.actions import Permute
from erlangen.groups.frames.laplacian import LaplacianFrame
from erlangen.groups.frames.ties import order_count
from erlangen.groups.symmetry import Symmetry
from erlangen.nn.symmetrize import symmetrize
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe
from erlangen.testing import check

NODES: dict[str, int] = {"smoke": 6, "laptop": 8, "full": 8}
ALL_ORDERS = 40_320
FEATURES = 10
SAME = 1e-9


class FlatGraph(nn.Module):
    """A perceptron on the entries of an adjacency matrix: `[B, N, N] -> [B, 10]`."""

    def __init__(self, nodes: int, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(nodes * nodes, width), nn.SiLU(), nn.Linear(width, FEATURES))

    def forward(self, adjacency: Tensor) -> Tensor:
        return self.net(adjacency.flatten(1))


class DenseGIN(nn.Module):
    """Graph isomorphism network without node features: `h <- f((1 + ε) h + A h)`, summed over nodes, `[B, N, N] -> [B, 10]`.

    How Powerful are Graph Neural Networks? (Xu, Hu, Leskovec, Jegelka, 2019, arXiv 1810.00826). `places` gives nodes their
    number as a feature (GIN+ID), which breaks the symmetry.
    """

    def __init__(self, nodes: int, *, places: bool = False, width: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.places = places
        sizes = [nodes if places else 1] + [width] * layers
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(inner, width), nn.SiLU(), nn.Linear(width, outer))
            for inner, outer in pairwise(sizes)
        )
        self.out = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, FEATURES))

    def forward(self, adjacency: Tensor) -> Tensor:
        nodes = adjacency.shape[-1]
        start = torch.eye(nodes).to(adjacency) if self.places else adjacency.new_ones(nodes, 1)
        h = start.expand(len(adjacency), -1, -1)
        for layer in self.layers:
            h = layer(1.1 * h + adjacency @ h)
        return self.out(h.mean(-2))


@recipe(
    "graph_separation",
    title="Frame averaging: random networks that tell all small graphs apart",
    source="arXiv:2110.03336",
    claims=[
        Claim("frame averaged perceptrons confuse no pair of graphs", "fa_mlp.collisions", "below", 0.5),
        Claim("frame averaged message passing with node numbers confuses none", "fa_gin.collisions", "below", 0.5),
        Claim("message passing confuses pairs", "gin.collisions", "above", 0.5),
        Claim(
            "all those that colour refinement (1-WL) confuses, at least",
            "gin.collisions",
            "above",
            "colours.collisions",
            margin=-0.5,
        ),
        Claim("exactly invariant: the checker's relative error in float64", "fa_mlp.error", "below", 1e-9),
        Claim(
            "without the frame, node numbers tell apart copies of one graph",
            "numbered.copies",
            "above",
            0.5,
            control=True,
        ),
        Claim("with it they do not", "fa_gin.copies", "below", 0.5, control=True),
    ],
    uses=["erlangen.nn.symmetrize", "erlangen.groups.frames.laplacian", "erlangen.data.small_graphs"],
    laptop_seeds=3,
    explanation=(
        "All connected graphs on eight nodes (GRAPH8c: 11,117 graphs, 61.8 million pairs; six nodes in the smoke budget), "
        "networks with random weights in float64. A pair collides when the ten outputs agree within 1e-9 of their spread. "
        "`copies` is the share of 200 graphs that a network tells apart from a renamed copy of themselves. Four layers of message "
        "passing see four rounds of colour refinement, so that they confuse a few pairs more."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Collisions of frame averaged and plain networks with random weights, and of colour refinement."""
    nodes = NODES[budget]
    graphs = connected_graphs(nodes)
    symmetry = Symmetry("S(n)", Permute(Symmetric(None), axes=(-2, -1)), "invariant")
    frame = LaplacianFrame(max_size=ALL_ORDERS)

    def build(kind: str) -> nn.Module:
        module = FlatGraph(nodes) if kind == "mlp" else DenseGIN(nodes, places=kind == "numbered")
        return module.double().eval()

    mlp, gin, numbered = (seeded(partial(build, kind), seed) for kind in ("mlp", "gin", "numbered"))
    models = {
        "fa_mlp": symmetrize(mlp, symmetry, frame=frame),
        "fa_gin": symmetrize(numbered, symmetry, frame=frame),
        "gin": gin,
        "numbered": numbered,
    }
    order = torch.randperm(len(graphs), generator=torch.Generator().manual_seed(seed))[:200]
    few = graphs[order]
    renamed = few[:, (places := torch.randperm(nodes, generator=torch.Generator().manual_seed(seed)))][..., places]
    numbers: dict[str, float] = {"colours.collisions": float(len(colour_equivalent_pairs(graphs)))}
    for name, model in models.items():
        if name != "numbered":
            numbers[f"{name}.collisions"] = float(_collisions(_outputs(model, graphs)))
        one, two = _outputs(model, few), _outputs(model, renamed)
        numbers[f"{name}.copies"] = float(((one - two).abs().amax(-1) > SAME * one.abs().max()).double().mean())
    numbers["fa_mlp.error"] = check(models["fa_mlp"], symmetry, few[:4], seed=seed, risks=False).worst_error
    return numbers


def _outputs(model: nn.Module, graphs: Tensor, room: int = 100_000) -> Tensor:
    """The model's outputs, on graphs with as many orders together: a batch takes the largest frame in it."""
    counts = order_count(LaplacianFrame().rank(graphs)).long()
    out = graphs.new_zeros(len(graphs), FEATURES)
    with torch.inference_mode():
        for count in torch.unique(counts).tolist():
            for part in (counts == count).nonzero()[:, 0].split(max(1, room // count)):
                out[part] = model(graphs[part])
    return out


def _collisions(out: Tensor) -> int:
    """How many pairs of rows agree within `SAME` of the spread of the outputs."""
    spread = float((out - out.mean(0)).abs().max())
    order = out[:, 0].argsort()
    ordered = out[order]
    total = 0
    for step in range(1, len(out)):
        apart = ordered[step:, 0] - ordered[:-step, 0]
        close = apart < SAME * spread
        if not bool(close.any()):
            break
        total += int(((ordered[step:] - ordered[:-step])[close].abs().amax(-1) < SAME * spread).sum())
    return total
