"""A head trained on one encoder, put on another one."""

import torch
from torch import Tensor, nn

from erlangen.deploy.compat.relative_projection import RelativeProjection


class Stitched(nn.Module):
    """`head(projection(encoder(x)))`, for use only: it is in evaluation mode and stays there."""

    def __init__(self, encoder: nn.Module, projection: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection, self.head = encoder, projection, head
        self.eval()

    def train(self, mode: bool = True) -> "Stitched":
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.projection(self.encoder(x)))


def stitch(encoder: nn.Module, projection: nn.Module, head: nn.Module) -> Stitched:
    """One encoder's relative space (or adapted space) under a head that was trained on another's.

    Arguments:
        encoder: gives absolute embeddings.
        projection: a `RelativeProjection` with this encoder's anchors, an `Adapter`, an `OrthogonalMap`.
        head: trained on the same kind of projection of another encoder, with the same anchors in the same order.

    Raises:
        ValueError: the head's first linear layer takes another number of features than the projection has anchors.
    """
    first = next((m for m in head.modules() if isinstance(m, nn.Linear)), None)
    if isinstance(projection, RelativeProjection) and first is not None and first.in_features != projection.num_anchors:
        raise ValueError(
            f"projection: {projection.num_anchors} anchors, the head was trained on {first.in_features}; "
            "both spaces need the same anchors in the same order"
        )
    return Stitched(encoder, projection, head)
