"""How well the prefixes of an embedding do, next to the best linear compression of the whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.nn.matryoshka_head import nesting_dims
from erlangen.stats import knn


@dataclass(frozen=True)
class MatryoshkaCurve:
    """Accuracies by prefix length: of the prefix itself, and of as many principal components of the whole embedding."""

    dims: tuple[int, ...]
    prefix: tuple[float, ...]
    pca: tuple[float, ...]


def principal_components(x: Float[Tensor, "samples dim"]) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim kept"]]:
    """The mean and the directions of largest variance, in order: `(y - mean) @ directions` puts what matters first."""
    mean = x.double().mean(0)
    directions = torch.linalg.svd(x.double() - mean, full_matrices=False).Vh.T
    return mean.to(x.dtype), directions.to(x.dtype)


def nearest_accuracy(fitted: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor]) -> float:
    """Share of `asked` whose nearest neighbour by cosine among `fitted` has its class."""
    rows = knn(asked[0], fitted[0], 1)[1][:, 0]
    return float((fitted[1][rows] == asked[1]).double().mean())


def matryoshka_curve(
    fitted: tuple[Tensor, Tensor],
    asked: tuple[Tensor, Tensor],
    dims: Sequence[int],
    *,
    pca_from: Float[Tensor, "_ dim"] | None = None,
) -> MatryoshkaCurve:
    """1-nearest-neighbour accuracy of every prefix, and of the centred PCA of the same length.

    PCA is the baseline that a Matryoshka embedding has to be compared with: it needs no special training, only a map that
    is fitted once and applied to every query.

    Arguments:
        fitted, asked: `(embeddings, labels)` of the gallery and of the queries.
        dims: the prefix lengths, increasing.
        pca_from: embeddings that the PCA is fitted on, where it is not the gallery.

    Raises:
        ValueError: lengths out of order or beyond the embedding; values that are not finite.
    """
    lengths = nesting_dims(dims)
    size = fitted[0].shape[1]
    if lengths[-1] > size or asked[0].shape[1] != size:
        raise ValueError(f"dims: {lengths[-1]} of embeddings with {size} and {asked[0].shape[1]} dimensions")
    mean, directions = principal_components(fitted[0] if pca_from is None else pca_from)
    turned = [(rows - mean) @ directions for rows in (fitted[0], asked[0])]
    prefix, pca = [], []
    for m in lengths:
        prefix.append(nearest_accuracy((fitted[0][:, :m], fitted[1]), (asked[0][:, :m], asked[1])))
        pca.append(nearest_accuracy((turned[0][:, :m], fitted[1]), (turned[1][:, :m], asked[1])))
    return MatryoshkaCurve(lengths, tuple(prefix), tuple(pca))
