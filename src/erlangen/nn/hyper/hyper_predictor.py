"""Predict the embedding of the second view from the first one's and the transformation between them."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from erlangen.nn.hyper.hyper_linear import HyperLinear


class HyperPredictor(nn.Module):
    """`z2 = W(g) z1` with `W` made from the code `g` by a hypernetwork without biases.

    With no hidden layers the prediction is bilinear in code and embedding, so that it cannot become constant in `g` by
    putting a path to zero: `predict(z, 0) = 0` and `predict(0, g) = 0`. `layers` are the widths of hidden layers between
    the code and the matrix (the deep variant of the paper, which did worse there).

    Source: Q. Garrido, L. Najman, Y. LeCun, Self-supervised learning of split invariant equivariant representations, 2023,
    arXiv:2302.10283. The released code builds a matrix per sample; here none is built (see `HyperLinear`).
    """

    def __init__(self, dim: int, code_dim: int, *, layers: Sequence[int] = (), bias: bool = False) -> None:
        super().__init__()
        sizes = [code_dim, *layers]
        code: list[nn.Module] = []
        for inner, outer in pairwise(sizes):
            code += [nn.Linear(inner, outer, bias=bias), nn.ReLU()]
        self.code = nn.Sequential(*code)
        self.linear = HyperLinear(dim, dim, sizes[-1], bias=bias)
        self.dim, self.code_dim = dim, code_dim

    def forward(self, z: Float[Tensor, "batch dim"], g: Float[Tensor, "batch code"]) -> Float[Tensor, "batch dim"]:
        """`z: [batch, dim]`, `g: [batch, code_dim]`."""
        if g.shape[-1] != self.code_dim:
            raise ValueError(f"g: codes of {g.shape[-1]} numbers, {self.code_dim} are expected")
        return self.linear(z, self.code(g))
