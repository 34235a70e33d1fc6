"""What sits on top of an embedding: a classifier, and the expander of self-supervised objectives."""

from jaxtyping import Float
from torch import Tensor, nn

from erlangen.nn.patch_networks import ConvolutionalDSD, FullyConnectedDSD, LocallyConnectedDSD

__all__ = ["Classifier", "ConvolutionalDSD", "Expander", "FullyConnectedDSD", "LocallyConnectedDSD", "Projector"]


class Classifier(nn.Module):
    """Linear map from an embedding to class logits, `[batch, embedding_dim] -> [batch, num_classes]`."""

    def __init__(self, embedding_dim: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes: got {num_classes}; a classifier needs at least 2")
        self.embedding_dim, self.num_classes = embedding_dim, num_classes
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(embedding_dim, num_classes)

    def forward(self, embedding: Float[Tensor, "batch embedding"]) -> Float[Tensor, "batch classes"]:
        return self.linear(self.dropout(embedding))


class Expander(nn.Sequential):
    """`layers` linear maps with batch norm and ReLU between them, from an embedding to where a loss compares.

    VICReg's expander is `Expander(d, 8192)`, `[batch, embedding_dim] -> [batch, out_dim]`. Hidden layers are
    `hidden_dim` wide, `out_dim` unless given; the last map has no bias and nothing after it.

    Source: Bardes, Ponce and LeCun, VICReg, 2021, arXiv:2105.04906.
    """

    def __init__(self, embedding_dim: int, out_dim: int, *, hidden_dim: int | None = None, layers: int = 3) -> None:
        if layers < 1:
            raise ValueError(f"layers: got {layers}; allowed are 1 and more")
        hidden = hidden_dim or out_dim
        parts: list[nn.Module] = []
        for index in range(layers - 1):
            parts += [nn.Linear(hidden if index else embedding_dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        super().__init__(*parts, nn.Linear(hidden if layers > 1 else embedding_dim, out_dim, bias=False))
        self.embedding_dim, self.out_dim = embedding_dim, out_dim


class Projector(Expander):
    """The two-layer projection head of contrastive objectives; its hidden layer is as wide as the embedding.

    Source: Chen et al., A simple framework for contrastive learning of visual representations, 2020, arXiv:2002.05709.
    """

    def __init__(self, embedding_dim: int, out_dim: int = 128, *, hidden_dim: int | None = None) -> None:
        super().__init__(embedding_dim, out_dim, hidden_dim=hidden_dim or embedding_dim, layers=2)
