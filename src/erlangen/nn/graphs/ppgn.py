"""Networks on pairs of nodes that multiply matrices: PPGN, and PPGN++ with every equivariant map beside the product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups.multigraphs import Multigraph, multigraphs
from erlangen.nn.graphs.equivariant_linear import EquivariantLinear
from erlangen.nn.graphs.polynomial_family import PolynomialFeatures

Level = Literal["graph", "node", "edge"]
Pool = Literal["mean", "sum"]


class PairMLP(nn.Sequential):
    """The same small network at every pair of nodes, on channels first: `[batch, C, n, n]`."""

    def __init__(self, channels: int, hidden: int, depth: int = 2) -> None:
        layers: list[nn.Module] = []
        for index in range(depth):
            layers += [nn.Conv2d(hidden if index else channels, hidden, 1), nn.ReLU()]
        super().__init__(*layers[:-1])


class ProductBlock(nn.Module):
    """`mix([x, relu(A(x)) · relu(B(x)) / √n])` with A, B networks on pairs and · the matrix product, channel by channel."""

    def __init__(self, channels: int, hidden: int, mix: nn.Module) -> None:
        super().__init__()
        self.left, self.right, self.mix = PairMLP(channels, hidden), PairMLP(channels, hidden), mix

    def forward(self, x: Tensor, mask: Tensor | None, pair: Tensor | None, size: Tensor) -> Tensor:
        left, right = torch.relu(self.left(x)), torch.relu(self.right(x))
        if pair is not None:
            left, right = left * pair, right * pair
        product = left @ right / size.sqrt()
        together = torch.cat([x, product], 1)
        return self.mix(together, mask) if isinstance(self.mix, EquivariantLinear) else self.mix(together)


def _cases(cls: Any, **options: Any) -> list[Any]:
    from erlangen.groups.symmetry import Case

    x = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    return [
        Case(cls(1, 6, 2, layers=2, **options), (x,), name="graph"),
        Case(cls(2, 6, 3, layers=1, level="node"), (torch.stack([x, x.mT * 0.5], 1),), name="node"),
        Case(cls(1, 5, 2, layers=1, level="edge", pool="sum"), (x,), name="edge"),
    ]


@modules.register("ppgn", cases=lambda: _cases(PPGN))
class PPGN(nn.Module):
    """Provably powerful graph network: blocks of a matrix product between two networks on pairs, then a read-out.

        x <- W [x, relu(A(x)) · relu(B(x)) / √n],      read-out: trace and sum (graph), the five maps to nodes, or the pairs

    `[batch, n, n]` or `[batch, in_channels, n, n] -> [batch, out]`, `[batch, n, out]` (node), `[batch, n, n, out]` (edge).
    `mask` (bool `[batch, n]`) marks real nodes, padding changes nothing; node features belong on the diagonal of channels
    of their own. `pool="mean"` averages over nodes in the read-out, `"sum"` lets outputs grow with n, as counts do. At
    least as strong as the 3-WL test; with entries that are symmetric it computes every P_H whose H reduces by series and
    parallel steps, so K4 (six edges) is the first simple H it misses.

    Raises ValueError for an unknown level or pool, layers or channels below 1, and matrices that are not square.

    Source: Maron, Ben-Hamu, Serviansky, Lipman, Provably powerful graph networks, 2019, arXiv:1905.11136. There the
    product is not scaled; √n keeps its size when graphs grow.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out: int,
        *,
        layers: int = 3,
        level: Level = "graph",
        pool: Pool = "mean",
        polynomials: Sequence[Multigraph] = (),
    ) -> None:
        super().__init__()
        if level not in ("graph", "node", "edge") or pool not in ("mean", "sum"):
            raise ValueError(
                f"level, pool: got {level!r}, {pool!r}; allowed are 'graph', 'node', 'edge' and 'mean', 'sum'"
            )
        if min(in_channels, hidden, out, layers) < 1:
            raise ValueError(
                f"in_channels, hidden, out, layers: at least 1, given {in_channels}, {hidden}, {out}, {layers}"
            )
        self.in_channels, self.level, self.pool = in_channels, level, pool
        self.polynomials = nn.ModuleList(_families(polynomials))
        widths = [in_channels + sum(family.out_channels for family in self.polynomials), *[hidden] * layers]  # type: ignore[misc]
        self.blocks = nn.ModuleList(
            ProductBlock(wide, hidden, self._mix(wide + hidden, hidden)) for wide in widths[:-1]
        )
        order = {"graph": 0, "node": 1, "edge": 2}[level]
        self.read = EquivariantLinear(2, order, hidden, hidden, normalize=pool == "mean")
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out))

    def _mix(self, channels: int, hidden: int) -> nn.Module:
        return nn.Conv2d(channels, hidden, 1)

    @property
    def symmetries(self) -> list[Any]:
        """Renaming the nodes renames nodes and pairs of the output and leaves a graph's output alone."""
        from erlangen.groups import Symmetric
        from erlangen.groups.actions.permute import Permute
        from erlangen.groups.symmetry import Symmetry

        everyone = Symmetric(None)
        outputs: dict[str, Any] = {"graph": "invariant", "node": "rows", "edge": Permute(everyone, axes=(-3, -2))}
        return [Symmetry("S(n)", input=Permute(everyone, axes=(-2, -1)), output=outputs[self.level])]

    def forward(
        self, adjacency: Float[Tensor, "batch *channels n n2"], mask: Bool[Tensor, "batch n"] | None = None
    ) -> Float[Tensor, "batch *nodes out"]:
        x = adjacency[:, None] if adjacency.ndim == 3 else adjacency
        if x.ndim != 4 or x.shape[-1] != x.shape[-2] or x.shape[1] != self.in_channels:
            raise ValueError(
                f"adjacency: expected [batch, {self.in_channels}, n, n] (or [batch, n, n]), given {tuple(adjacency.shape)}"
            )
        x = torch.cat([x, *self._features(x[:, 0], mask)], 1) if len(self.polynomials) else x
        pair = None if mask is None else (mask[:, None, :, None] & mask[:, None, None, :]).to(x.dtype)
        size = x.new_full((1, 1, 1, 1), x.shape[-1]) if mask is None else mask.sum(-1).clamp(min=1).to(x.dtype)
        for block in self.blocks:
            x = block(x, mask, pair, size.reshape(-1, 1, 1, 1))
        y = self.head(self.read(x, mask).movedim(1, -1))
        if mask is None or self.level == "graph":
            return y
        return y * (mask[..., None] if self.level == "node" else (mask[:, :, None] & mask[:, None, :])[..., None])

    def _features(self, adjacency: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Polynomials of the first channel, as channels on pairs: of nodes on the diagonal, of graphs everywhere."""
        n = adjacency.shape[-1]
        placed = []
        for family in self.polynomials:
            values = family(adjacency, mask)
            if family.level == "node":
                placed.append(torch.diag_embed(values.mT))
            elif family.level == "graph":
                placed.append(values[:, :, None, None].expand(-1, -1, n, n))
            else:
                placed.append(values.permute(0, 3, 1, 2))
        return placed


def _families(polynomials: Sequence[Multigraph]) -> list[PolynomialFeatures]:
    levels: tuple[Literal["graph", "node", "edge"], ...] = ("graph", "node", "edge")
    found = []
    for outputs, level in enumerate(levels):
        mine = [graph for graph in polynomials if len(graph.outputs) == outputs]
        found += [PolynomialFeatures(mine, level=level)] if mine else []
    return found


@modules.register("ppgn_plus_plus", cases=lambda: _cases(PPGNPlusPlus, polynomials=multigraphs(2, 1, connected=True)))
class PPGNPlusPlus(PPGN):
    """PPGN whose blocks mix by all fifteen equivariant maps 2 -> 2 instead of pair by pair.

        x <- L [x, relu(A(x)) · relu(B(x)) / √n],      L = `EquivariantLinear(2, 2)`

    So transposes, diagonals, row and column sums and their broadcasts stand beside the matrix product: the edge-based
    contraction bank, which needs no symmetry of the entries. `polynomials` adds P_H of the first channel as inputs, those
    that the bank misses above all ("PPGN++ (6)": K4 and its like, see `audit.polynomial_expressivity`).

    Arguments, shapes and errors as in `PPGN`.

    Source: Puny, Lim, Kiani, Maron, Lipman, Equivariant polynomials for graph neural networks, 2023, arXiv:2302.11556.
    The paper adds the missing bank operations one by one; one equivariant layer contains them all.
    """

    def _mix(self, channels: int, hidden: int) -> nn.Module:
        return EquivariantLinear(2, 2, channels, hidden)
