"""Backbones without any symmetry, made symmetric: what the checker proves of `symmetrize`."""

import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Case, Symmetry


class Flat(nn.Module):
    """A perceptron on all entries of `[..., N, n]` at once; `out` features, or the shape of the input."""

    def __init__(self, size: int, out: int | None = None) -> None:
        super().__init__()
        self.out = out
        self.net = nn.Sequential(nn.Linear(size, 24), nn.Tanh(), nn.Linear(24, out or size))

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x.flatten(-2))
        return y if self.out else y.reshape(x.shape)


class Motion(nn.Module):
    """Positions and velocities to new ones, through a perceptron on everything."""

    def __init__(self, points: int) -> None:
        super().__init__()
        self.net = Flat(6 * points)

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(self.net(torch.cat([x, v], -1)).chunk(2, -1))  # type: ignore[return-value]


class SmallCnn(nn.Module):
    """Two convolutions with borders that know directions."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Dense(nn.Module):
    """One graph convolution on a dense adjacency matrix with weights that depend on the place of a node."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(nodes, 3))
        self.out = nn.Linear(3, 2)

    def forward(self, adjacency: Tensor) -> Tensor:
        return self.out(torch.tanh(adjacency @ self.place))


def cases() -> list[Case]:
    """Perceptrons, convolutions and a graph network under the groups of every kind of frame."""
    from erlangen.groups import Symmetric
    from erlangen.groups.actions import Permute
    from erlangen.nn.symmetrize import symmetrize

    x, v = torch.randn(3, 5, 3), torch.randn(3, 5, 3)
    image = torch.randn(3, 1, 6, 6)
    upper = torch.rand(3, 5, 5).triu(1)
    near = Symmetry("S(n)", Permute(Symmetric(None), axes=(-2, -1)), "rows")
    moving = Symmetry("E(3)", ("points", "vectors"), ("points", "vectors"))
    return [
        Case(symmetrize(Flat(15, 2), Symmetry("O(3)", "points", "invariant")), (x,), "perceptron, O(3)"),
        Case(symmetrize(Motion(5), moving), (x, v), "positions and velocities, E(3)"),
        Case(symmetrize(Flat(15), Symmetry("E(3) x S5", "points", "points")), (x,), "perceptron, E(3) x S5"),
        Case(symmetrize(SmallCnn(), Symmetry("D4", "image", "image")), (image,), "convolutions, D4"),
        Case(symmetrize(Dense(5), near), (upper + upper.mT,), "graph network, S(n)"),
    ]
