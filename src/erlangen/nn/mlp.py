"""A multilayer perceptron as an encoder of vectors."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import encoders


@encoders.register("mlp", domain="vectors")
class MLP(nn.Module):
    """Encoder of vectors: `depth` hidden layers of `width` units with batch norm and ReLU, then a linear map.

    `[B, features] -> [B, embedding_dim]`; further axes (images) are flattened. `in_features=None` takes the number of
    features from the first batch.
    """

    def __init__(
        self, width: int = 256, *, in_features: int | None = None, embedding_dim: int = 128, depth: int = 2
    ) -> None:
        super().__init__()
        if min(width, embedding_dim, depth) < 1:
            raise ValueError(
                f"width, embedding_dim, depth: got {width}, {embedding_dim}, {depth}; all must be at least 1"
            )
        self.embedding_dim = embedding_dim
        blocks: list[nn.Module] = []
        for index in range(depth):
            if index:
                linear: nn.Module = nn.Linear(width, width)
            else:
                linear = nn.LazyLinear(width) if in_features is None else nn.Linear(in_features, width)
            blocks.append(nn.Sequential(linear, nn.BatchNorm1d(width), nn.ReLU()))
        self.hidden = nn.ModuleList(blocks)
        self.head = nn.Linear(width, embedding_dim)

    @property
    def layer_names(self) -> list[str]:
        """Names of the submodules worth looking at, input side first."""
        return [f"hidden.{index}" for index in range(len(self.hidden))] + ["head"]

    def blocks(self) -> dict[str, nn.Module]:
        """The submodules worth looking at, by name."""
        return {name: self.get_submodule(name) for name in self.layer_names}

    @property
    def symmetries(self) -> list[Any]:
        """None is promised."""
        return []

    def forward(self, x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch embedding"]:
        x = x.flatten(1)
        for block in self.hidden:
            x = block(x)
        return self.head(x)
