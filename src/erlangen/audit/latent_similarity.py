"""Whether two embeddings of the same samples can stand in for each other."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from erlangen.stats import knn


@dataclass(frozen=True)
class LatentSimilarity:
    """How alike two spaces are, sample by sample.

    Attributes:
        jaccard: mean over samples of the overlap of their k nearest neighbours in either space.
        mrr: mean reciprocal rank of a sample's own image when it queries the other space; NaN for unlike sizes.
        cosine: mean cosine of a sample and its own image; NaN for unlike sizes.
    """

    jaccard: float
    mrr: float
    cosine: float


def latent_similarity(
    a: Float[Tensor, "samples dim1"], b: Float[Tensor, "_ dim2"], *, k: int = 10, chunk: int = 1024
) -> LatentSimilarity:
    """Jaccard@k, MRR and cosine of two spaces; rotating one leaves the first as it is and destroys the others.

    Source: L. Moschella et al., "Relative representations enable zero-shot latent space communication", 2023,
    arXiv:2209.15430. Ties count against the match. Raises ValueError for unpaired rows or k not below their number.
    """
    if len(a) != len(b):
        raise ValueError(f"b: {len(b)} rows for {len(a)} of a; the same samples are needed")
    if not 1 <= k < len(a):
        raise ValueError(f"k: {k}; between 1 and {len(a) - 1}, one less than the samples")
    own = torch.arange(len(a))
    near_a, near_b = knn(a, a, k, exclude=own)[1], knn(b, b, k, exclude=own)[1]
    shared = (near_a[:, :, None] == near_b[:, None, :]).sum((1, 2)).double()
    jaccard = float((shared / (2 * k - shared)).mean())
    if a.shape[1] != b.shape[1]:
        return LatentSimilarity(jaccard, float("nan"), float("nan"))
    unit, total = normalize(b, dim=1), 0.0
    for start in range(0, len(a), chunk):
        scores = normalize(a[start : start + chunk], dim=1) @ unit.T
        mine = scores.gather(1, own[start : start + chunk, None])
        total += float((1.0 / (scores >= mine).sum(1)).sum())
    return LatentSimilarity(jaccard, total / len(a), float(cosine_similarity(a, b, dim=1).double().mean()))
