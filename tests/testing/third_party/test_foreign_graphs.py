"""torch_geometric and egnn-pytorch."""

from typing import Any

import pytest
import torch
from third_party_case import Foreign, Wrapped, euclidean, examine, two_layers
from torch import Tensor, nn

from erlangen.groups.actions import Permute
from erlangen.groups.symmetry import Symmetry

pyg = pytest.importorskip("torch_geometric.nn", reason="needs torch_geometric")
data = pytest.importorskip("torch_geometric.data", reason="needs torch_geometric")
egnn = pytest.importorskip("egnn_pytorch", reason="needs egnn-pytorch")

MOVED = ("scalars", "points")
RENAMED = ("rows", "rows")


def graph(nodes: int = 8, *, positions: bool = False, attributes: int = 0) -> Any:
    edges = torch.randint(nodes, (2, 20))
    edges = torch.unique(edges[:, edges[0] != edges[1]], dim=1)
    made = data.Data(x=torch.randn(nodes, 5), edge_index=edges)
    if positions:
        made.pos = torch.randn(nodes, 3)
    if attributes:
        made.edge_attr = torch.rand(edges.shape[1], attributes)
    return made


def on_graph(layer: nn.Module, *, pool: Any = None) -> nn.Module:
    def forward(module: Any, graph: Any) -> Tensor:
        out = module.layer(graph.x, graph.edge_index)
        if module.pool is None:
            return out
        return module.pool(out, torch.zeros(len(out), dtype=torch.long))

    model = Wrapped(forward, layer=layer)
    model.pool = pool
    return model


def renamed(output: str = "rows") -> Symmetry:
    return Symmetry("S(n)", "graph", output)


def convolution(kind: str) -> nn.Module:
    made = {
        "GCNConv": lambda: pyg.GCNConv(5, 4),
        "GATConv": lambda: pyg.GATConv(5, 4, heads=2),
        "GINConv": lambda: pyg.GINConv(two_layers(5, 8, 4)),
        "SAGEConv": lambda: pyg.SAGEConv(5, 4, aggr="max"),
        "EdgeConv": lambda: pyg.EdgeConv(two_layers(10, 8, 4)),
        "PNAConv": lambda: pyg.PNAConv(
            5, 4, ["mean", "std"], ["identity", "amplification"], torch.tensor([1, 3, 3, 2])
        ),
        "TransformerConv": lambda: pyg.TransformerConv(5, 4, heads=2),
        "GPSConv": lambda: pyg.GPSConv(5, pyg.GINConv(two_layers(5, 8, 5)), heads=1),
    }
    return made[kind]().eval()


def gru_pool() -> nn.Module:
    return on_graph(pyg.GCNConv(5, 4), pool=pyg.aggr.GRUAggregation(4, 4))


def pooled(pool: nn.Module) -> nn.Module:
    return on_graph(pyg.GCNConv(5, 4), pool=pool).eval()


def relative_positions() -> nn.Module:
    conv = pyg.PointNetConv(two_layers(8, 16, 8), two_layers(8, 8, 4))
    return Wrapped(lambda m, g: m.conv(g.x, g.pos, g.edge_index), conv=conv)


def all_pairs(positions: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
    count = len(positions)
    source, target = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
    edges = torch.stack([source[source != target], target[source != target]])
    return edges, (positions[edges[0]] - positions[edges[1]]).norm(dim=-1)


def schnet() -> nn.Module:
    return pyg.SchNet(16, 16, 2, 8, interaction_graph=all_pairs)


def atoms() -> tuple[Tensor, Tensor]:
    return torch.randint(1, 9, (6,)), torch.randn(6, 3)


def cloud() -> tuple[Tensor, Tensor]:
    return torch.randn(1, 6, 8), torch.randn(1, 6, 3)


def lattice() -> tuple[Tensor, Tensor]:
    axes = torch.meshgrid(*[torch.arange(3.0)] * 3, indexing="ij")
    return torch.randn(1, 27, 8), torch.stack(axes, -1).reshape(1, 27, 3)


def network(**options: Any) -> nn.Module:
    return egnn.EGNN_Network(depth=2, dim=8, num_tokens=5, **options).eval()


def coloured() -> tuple[Tensor, Tensor]:
    return torch.randint(5, (1, 6)), torch.randn(1, 6, 3)


def along_bonds() -> tuple[nn.Module, Symmetry, Any]:
    """`only_sparse_neighbors` takes as many neighbours as the largest degree, with the node itself among them."""
    layer = egnn.EGNN(dim=8, only_sparse_neighbors=True, init_eps=0.3)
    model = Wrapped(lambda m, h, x, bonds: m.layer(h, x, adj_mat=bonds.bool()), layer=layer)
    bonds = torch.zeros(1, 6, 6)
    bonds[0, 0, 1:] = bonds[0, 1:, 0] = 1.0
    both = Permute(Symmetry("S6", "rows").group, axes=(-2, -1))
    return model, Symmetry("S6", ("rows", "rows", both), RENAMED), (*cloud(), bonds)


CASES = [
    *(
        Foreign(kind, "exact", lambda kind=kind: (on_graph(convolution(kind)), renamed(), graph()))  # type: ignore[misc]
        for kind in ("GCNConv", "GATConv", "GINConv", "SAGEConv", "EdgeConv", "PNAConv", "TransformerConv", "GPSConv")
    ),
    Foreign(
        "attention dropout in train mode",
        "broken",
        lambda: (on_graph(pyg.GATConv(5, 4, dropout=0.6)), renamed(), graph()),
        "random",
        "eval mode",
    ),
    Foreign("Set2Set", "exact", lambda: (pooled(pyg.aggr.Set2Set(4, 2)), renamed("invariant"), graph())),
    Foreign("sorted pool", "exact", lambda: (pooled(pyg.aggr.SortAggregation(3)), renamed("invariant"), graph())),
    Foreign("recurrent pool", "broken|approximate", lambda: (gru_pool(), renamed("invariant"), graph()), "order"),
    Foreign(
        "positions as rows of a table",
        "broken",
        lambda: (
            Wrapped(lambda m, g: m.conv(g.x + m.table, g.edge_index), conv=pyg.GCNConv(5, 4), table=torch.randn(8, 5)),
            renamed(),
            graph(),
        ),
        "order|position",
    ),
    Foreign(
        "point net under shifts",
        "exact",
        lambda: (relative_positions(), Symmetry("T(3)", "graph", "scalars"), graph(positions=True)),
    ),
    Foreign(
        "point net under rotations",
        "broken|approximate",
        lambda: (relative_positions(), Symmetry("E(3)", "graph", "scalars"), graph(positions=True)),
        "orientation|coordinates|components",
    ),
    Foreign(
        "SchNet",
        "exact",
        lambda: (schnet(), euclidean(input=("invariant", "points")), atoms()),
    ),
    Foreign(
        "SchNet, renamed atoms", "exact", lambda: (schnet(), Symmetry("S(n)", ("mask", "points"), "invariant"), atoms())
    ),
    Foreign(
        "SchNet in a stretched frame",
        "broken|approximate",
        lambda: (
            Wrapped(lambda m, z, x: m.net(z, x * torch.tensor([1.0, 1.0, 1.2]).to(x)), net=schnet()),
            Symmetry("SO(3)", ("invariant", "points"), "invariant"),
            atoms(),
        ),
        "z axis|frame",
    ),
    Foreign("EGNN", "exact", lambda: (egnn.EGNN(dim=8), euclidean(MOVED, MOVED), cloud())),
    Foreign("EGNN, renamed", "exact", lambda: (egnn.EGNN(dim=8), Symmetry("S(n)", RENAMED, RENAMED), cloud())),
    Foreign(
        "EGNN with near neighbours",
        "exact",
        lambda: (egnn.EGNN(dim=8, num_nearest_neighbors=3), euclidean(MOVED, MOVED), cloud()),
        risk="tied inputs",
    ),
    Foreign(
        "EGNN with near neighbours on a lattice",
        "broken|approximate",
        lambda: (egnn.EGNN(dim=8, num_nearest_neighbors=4, init_eps=0.3), euclidean(MOVED, MOVED), lattice()),
        "tie",
    ),
    Foreign(
        "EGNN with dropout",
        "broken|approximate",
        lambda: (egnn.EGNN(dim=8, dropout=0.3), euclidean(MOVED, MOVED), cloud()),
        "random",
    ),
    Foreign("EGNN along bonds", "broken|approximate", along_bonds, "order|tie|cap"),
    Foreign(
        "EGNN network with positions, moved",
        "exact",
        lambda: (network(num_positions=6), euclidean(MOVED, ("invariant", "points")), coloured()),
    ),
    Foreign(
        "EGNN network with positions, renamed",
        "broken",
        lambda: (network(num_positions=6), Symmetry("S(n)", ("mask", "rows"), RENAMED), coloured()),
        "order|position",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_mathematics_says(case: Foreign) -> None:
    examine(case)
