"""Two projectors for the two halves of an embedding: what stays when a sample moves, and what moves with it."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class SplitProjector(nn.Module):
    """`y = [y_inv | y_eq] -> (z_inv, z_eq)`: the last `split` numbers of an embedding are projected apart from the rest.

    Each part has a network of its own, linear maps with batch norm and ReLU between them and no bias in the last, whose
    widths are the part's share of `widths`. Q. Garrido, L. Najman, Y. LeCun, Self-supervised learning of split invariant
    equivariant representations, 2023, arXiv:2302.10283: 512 numbers split at 256, widths 2048, 2048, 2048.

    Arguments:
        dim: of the embedding.
        split: numbers in the part that moves; 0 leaves no such part.
        widths: of both networks together, the last one being that of z; empty leaves the embedding as it is.

    Raises:
        ValueError: a split that leaves no part that stays, or a width below 1.
    """

    def __init__(self, dim: int, split: int, widths: Sequence[int] = (2048, 2048, 2048)) -> None:
        super().__init__()
        if not 0 <= split < dim:
            raise ValueError(f"split: {split} of {dim} numbers; 0 to {dim - 1} are allowed")
        if any(width < 2 for width in widths):
            raise ValueError(f"widths: {tuple(widths)}; each is at least 2")
        self.dim, self.split = dim, split
        moving = [max(1, round(width * split / dim)) if split else 0 for width in widths]
        staying = [width - part for width, part in zip(widths, moving, strict=True)]
        self.invariant = _network(dim - split, staying)
        self.equivariant = _network(split, moving) if split else nn.Identity()
        self.out_dims = (staying[-1], moving[-1]) if widths else (dim - split, split)

    def forward(self, y: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch inv"], Float[Tensor, "batch eq"]]:
        """`[batch, dim] -> [batch, inv], [batch, eq]`."""
        if y.shape[-1] != self.dim:
            raise ValueError(f"y: {y.shape[-1]} numbers, {self.dim} are expected")
        stays, moves = y.split([self.dim - self.split, self.split], -1)
        return self.invariant(stays), self.equivariant(moves)


def _network(inner: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        last = number == len(widths) - 1
        layers.append(nn.Linear(inner, width, bias=not last))
        layers += [] if last else [nn.BatchNorm1d(width), nn.ReLU()]
        inner = width
    return nn.Sequential(*layers)
