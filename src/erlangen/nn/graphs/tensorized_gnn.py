"""The one-hidden-layer network on order-k tensors that is universal for functions of graphs, with one θ for every n."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.nn.graphs.equivariant_linear import EquivariantLinear

Task = Literal["invariant", "equivariant"]
REFERENCE_SIZE = 10


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    return [
        Case(TensorizedGNN(1, 6), (noise(3, 5, 5),), name="k=1 invariant"),
        Case(TensorizedGNN(2, 6, task="equivariant", in_channels=2), (noise(2, 2, 4, 4),), name="k=2 equivariant"),
        Case(TensorizedGNN(3, 3, normalize=False), (noise(2, 4, 4),), name="k=3 invariant, sums"),
    ]


@modules.register("tensorized_gnn", cases=_cases)
class TensorizedGNN(nn.Module):
    """One hidden layer of `width` equivariant tensors of order k, then an invariant or an equivariant read-out.

        f(G) = Σ_s H_s[ρ(F_s[G] + B_s)] + b,    F_s: R^(n²) -> R^(n^k),  H_s: R^(n^k) -> R or R^n,  ρ the sigmoid

    F_s, B_s and H_s are all equivariant maps of their shape: Bell(k+2), Bell(k) and Bell(k) (invariant) or Bell(k+1)
    (equivariant) numbers for each s, whatever n. With `normalize` every sum is `reference_size` times the mean over the real
    nodes: graphs of that size see the published sums, and one θ trained on small graphs is used on large ones without a
    change of scale. `normalize=False` keeps the published sums, whose scale grows with n,
    and the published initialisation of variance 1 / (width · n0^k · maps), n0 = 10.

    Universality needs k up to the order of n(n-1)/2; at the k = 1, 2, 3 that fit in memory the network is not universal,
    and it separates no more than the corresponding k-tensor tests do.

    `[batch, n, n]` or `[batch, in_channels, n, n] -> [batch, out_channels]` (invariant), `[batch, n, out_channels]`
    (equivariant); `mask` (bool `[batch, n]`) marks the real nodes of a padded batch.

    Raises ValueError for k < 1, for k > 4 without `allow_large=True`, an unknown task, and a matrix that is not square.

    Source: Keriven, Peyré, Universal invariant and equivariant graph neural networks, 2019, arXiv:1905.04943. The authors'
    code uses the orbit basis and sums; the diagram basis here spans the same maps.
    """

    def __init__(
        self,
        k: int,
        width: int = 16,
        *,
        task: Task = "invariant",
        in_channels: int = 1,
        out_channels: int = 1,
        normalize: bool = True,
        reference_size: float = 10.0,
        allow_large: bool = False,
    ) -> None:
        super().__init__()
        if task not in ("invariant", "equivariant"):
            raise ValueError(f"task: got {task!r}; allowed are 'invariant', 'equivariant'")
        if k < 1 or width < 1:
            raise ValueError(f"k, width: at least 1, given {k} and {width}")
        self.k, self.width, self.task = k, width, task
        self.in_channels, self.out_channels = in_channels, out_channels
        options: dict[str, Any] = {"normalize": normalize, "reference_size": reference_size, "allow_large": allow_large}
        self.inner = EquivariantLinear(2, k, in_channels, width, **options)
        order = 0 if task == "invariant" else 1
        self.outer = EquivariantLinear(k, order, width, out_channels, bias=False, **options)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Unit-variance biases of the hidden tensors spread the sigmoids; the weights are scaled as the class says."""
        for layer in (self.inner, self.outer):
            layer.reset_parameters()
            if not layer.normalize:
                nn.init.normal_(layer.weight, std=(self.width * REFERENCE_SIZE**self.k * len(layer.weight)) ** -0.5)
        assert self.inner.bias is not None
        nn.init.normal_(self.inner.bias, std=len(self.inner.bias) ** -0.5)
        nn.init.zeros_(self.bias)

    @property
    def symmetries(self) -> list[Any]:
        """Renaming the nodes changes nothing (invariant) or renames the rows of the output (equivariant)."""
        from erlangen.groups import Symmetric
        from erlangen.groups.actions.permute import Permute
        from erlangen.groups.symmetry import Symmetry

        output = "invariant" if self.task == "invariant" else "rows"
        return [Symmetry("S(n)", input=Permute(Symmetric(None), axes=(-2, -1)), output=output)]

    def forward(
        self, adjacency: Float[Tensor, "batch *channels n n2"], mask: Bool[Tensor, "batch n"] | None = None
    ) -> Float[Tensor, "batch *nodes out"]:
        x = adjacency[:, None] if adjacency.ndim == 3 else adjacency
        if x.ndim != 4 or x.shape[-1] != x.shape[-2]:
            raise ValueError(f"adjacency: expected [batch, n, n] or [batch, C, n, n], given {tuple(adjacency.shape)}")
        y = self.outer(torch.sigmoid(self.inner(x, mask)), mask)
        if self.task == "invariant":
            return y + self.bias
        y = y.mT + self.bias
        return y if mask is None else y * mask[..., None]

    def extra_repr(self) -> str:
        return f"k={self.k}, width={self.width}, task={self.task!r}"
