"""Representational dissimilarity matrices: how far apart every two stimuli are in a code."""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name

METRICS = ("correlation", "euclidean", "cosine", "mahalanobis", "crossnobis")
MOST_STIMULI = 5_000


def rdm(
    x: Float[Tensor, "... stimuli features"],
    metric: str = "correlation",
    *,
    noise_cov: Float[Tensor, "features features"] | None = None,
    limit: int = MOST_STIMULI,
) -> Float[Tensor, "..."]:
    """Dissimilarities of all pairs of stimuli, `[..., stimuli, stimuli]`, symmetric with a zero diagonal.

    - `"correlation"`: `1 - r` of the two patterns;
    - `"cosine"`: `1 - cos`;
    - `"euclidean"`: `|b_i - b_j|^2 / features`;
    - `"mahalanobis"`: `(b_i - b_j)' S^-1 (b_i - b_j) / features` with `noise_cov` S (the identity if left out);
    - `"crossnobis"`: `x` is `[..., folds, stimuli, features]`; the mean over ordered pairs of different folds A, B of
      `(b_i - b_j)_A' S^-1 (b_i - b_j)_B / features`: unbiased, so that it is zero on average for equal patterns and may
      be negative.

    One Gram matrix, in float64 for half precision and in the precision of `x` otherwise.

    Raises:
        ValueError: fewer than 4 stimuli or more than `limit` (a subset is cheaper), a pattern for which the correlation
            or cosine is undefined (by its index), fewer than 2 folds, a `noise_cov` that is not positive definite.

    Source: Kriegeskorte, Mur and Bandettini, "Representational similarity analysis", 2008; Walther et al.,
    "Reliability of dissimilarity measures for multi-voxel pattern analysis", 2016.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, list(METRICS))
    stimuli, features = x.shape[-2:]
    if stimuli < 4:
        raise ValueError(f"x: {stimuli} stimuli are too few for a dissimilarity matrix; at least 4 are needed")
    if stimuli > limit:
        raise ValueError(
            f"x: {stimuli} stimuli make a matrix of {stimuli**2:,} numbers; take a subset of at most {limit}, "
            "stratified by label, or raise limit"
        )
    x = x.double() if x.dtype in (torch.float16, torch.bfloat16) else x
    if metric in ("correlation", "cosine"):
        return _clean(1 - _pattern_correlation(x, metric))
    if metric in ("mahalanobis", "crossnobis") and noise_cov is not None:
        x = _whiten(x, noise_cov)
    if metric == "crossnobis":
        if x.dim() < 3 or x.shape[-3] < 2:
            raise ValueError(f"x: shape {tuple(x.shape)}; crossnobis needs [..., folds, stimuli, features], 2 folds")
        folds = x.shape[-3]
        x = x - x.mean(-2, keepdim=True)
        whole = x.sum(-3)
        gram = (whole @ whole.mT - (x @ x.mT).sum(-3)) / (folds * (folds - 1))
        return _clean(_squared(gram) / features)
    x = x - x.mean(-2, keepdim=True)
    return _clean(_squared(x @ x.mT).clamp(min=0) / features)


def _pattern_correlation(x: Tensor, metric: str) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    centred = x - mean if metric == "correlation" else x
    gram = centred @ centred.mT
    square = gram.diagonal(dim1=-2, dim2=-1)
    floor = (8 * torch.finfo(x.dtype).eps * mean.squeeze(-1)) ** 2 * x.shape[-1] if metric == "correlation" else 0.0
    constant = square <= floor
    if bool(constant.any()):
        where = constant.nonzero()[0].tolist()
        word = "is constant" if metric == "correlation" else "is zero"
        raise ValueError(f"x: the pattern of stimulus {where[-1]} {word}, so its {metric} is undefined; leave it out")
    return gram * square.rsqrt()[..., :, None] * square.rsqrt()[..., None, :]


def _whiten(x: Tensor, noise_cov: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(noise_cov.to(x))
    if int(info) != 0:
        raise ValueError("noise_cov: it is not positive definite; shrink it towards its diagonal")
    return torch.linalg.solve_triangular(factor, x.mT, upper=False).mT


def _squared(gram: Tensor) -> Tensor:
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    return diagonal[..., :, None] + diagonal[..., None, :] - 2 * gram


def _clean(distance: Tensor) -> Tensor:
    """Exactly symmetric, exactly zero on the diagonal."""
    eye = torch.eye(distance.shape[-1], dtype=torch.bool, device=distance.device)
    return ((distance + distance.mT) / 2).masked_fill(eye, 0.0)


class StreamedRDM:
    """The matrix of `rdm` from features that come in blocks, `[stimuli, block]`: no more than one block is held.

    `metric` is "correlation", "cosine" or "euclidean". States of disjoint blocks of features merge.
    """

    def __init__(self, stimuli: int, metric: str = "correlation") -> None:
        if metric not in ("correlation", "cosine", "euclidean"):
            raise unknown_name("metric", metric, ["correlation", "cosine", "euclidean"])
        self.metric, self.features = metric, 0
        self.gram = torch.zeros(stimuli, stimuli, dtype=torch.float64)
        self.total = torch.zeros(stimuli, dtype=torch.float64)

    def update(self, block: Float[Tensor, "_ block"]) -> "StreamedRDM":
        if len(block) != len(self.gram):
            raise ValueError(f"block: {len(block)} stimuli; the matrix was begun for {len(self.gram)}")
        rows = block.detach().double().cpu()
        self.gram += rows @ rows.T
        self.total += rows.sum(1)
        self.features += block.shape[1]
        return self

    def merge(self, other: "StreamedRDM") -> "StreamedRDM":
        if other.metric != self.metric or len(other.gram) != len(self.gram):
            raise ValueError("other: metric and number of stimuli must agree for states to merge")
        self.gram += other.gram
        self.total += other.total
        self.features += other.features
        return self

    def compute(self) -> Float[Tensor, "stimuli stimuli"]:
        if self.metric == "euclidean":
            return _clean(_squared(self.gram).clamp(min=0) / self.features)
        gram = self.gram
        if self.metric == "correlation":
            gram = gram - torch.outer(self.total, self.total) / self.features
        norm = gram.diagonal().clamp(min=0).sqrt()
        constant = norm <= 1e-7 * self.gram.diagonal().sqrt()
        if bool(constant.any()):
            raise ValueError(f"block: the pattern of stimulus {int(constant.nonzero()[0])} is constant; leave it out")
        return _clean(1 - gram / torch.outer(norm, norm))

    @property
    def nbytes(self) -> int:
        return 8 * (self.gram.numel() + self.total.numel())


def upper_triangle(rdm: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The `N (N - 1) / 2` numbers above the diagonal of `[..., N, N]`, row by row."""
    if rdm.dim() < 2 or rdm.shape[-1] != rdm.shape[-2]:
        raise ValueError(f"rdm: shape {tuple(rdm.shape)}; must be [..., stimuli, stimuli]")
    return rdm.flatten(-2).index_select(-1, _above_diagonal(rdm.shape[-1]).to(rdm.device))


@functools.lru_cache(maxsize=8)
def _above_diagonal(stimuli: int) -> Tensor:
    i, j = torch.triu_indices(stimuli, stimuli, 1)
    return i * stimuli + j


def from_upper_triangle(vector: Float[Tensor, "... pairs"]) -> Float[Tensor, "..."]:
    """The symmetric matrix `[..., N, N]` with these numbers above its zero diagonal."""
    pairs = vector.shape[-1]
    n = (1 + math.isqrt(1 + 8 * pairs)) // 2
    if n * (n - 1) // 2 != pairs:
        raise ValueError(f"vector: {pairs} numbers are not N (N - 1) / 2 for any N")
    i, j = torch.triu_indices(n, n, 1, device=vector.device)
    matrix = vector.new_zeros(*vector.shape[:-1], n, n)
    matrix[..., i, j] = vector
    matrix[..., j, i] = vector
    return matrix
