"""Mergeable moments of streamed rows, in float64, with a byte count known before they start."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor


def _rows(x: Tensor, dim: int, argument: str) -> Tensor:
    if x.dim() != 2 or x.shape[1] != dim:
        raise ValueError(f"{argument}: shape {tuple(x.shape)}; must be [rows, {dim}]")
    return x.detach().double()


class CrossMoments:
    """Means and cross-covariance of two streamed vectors over the same rows.

    Merging uses the pairwise update of Chan, Golub and LeVeque (1979), so that shards give the result of one pass up
    to rounding and a large common mean costs no precision.
    """

    def __init__(self, dim1: int, dim2: int) -> None:
        self.count = 0
        self.mean1 = torch.zeros(dim1, dtype=torch.float64)
        self.mean2 = torch.zeros(dim2, dtype=torch.float64)
        self.scatter = torch.zeros(dim1, dim2, dtype=torch.float64)

    def update(self, x: Float[Tensor, "rows dim1"], y: Float[Tensor, "rows dim2"]) -> "CrossMoments":
        x64, y64 = _rows(x, len(self.mean1), "x"), _rows(y, len(self.mean2), "y")
        if len(x64) != len(y64):
            raise ValueError(f"y: {len(y64)} rows for {len(x64)} rows of x; both must be the same rows")
        if len(x64):
            mean1, mean2 = x64.mean(0), y64.mean(0)
            self._absorb(len(x64), mean1, mean2, (x64 - mean1).T @ (y64 - mean2))
        return self

    def merge(self, other: "CrossMoments") -> "CrossMoments":
        self._absorb(other.count, other.mean1, other.mean2, other.scatter)
        return self

    def _absorb(self, count: int, mean1: Tensor, mean2: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        if total == 0:
            return
        d1, d2 = mean1 - self.mean1, mean2 - self.mean2
        self.scatter += scatter + torch.outer(d1, d2) * (self.count * count / total)
        self.mean1 += d1 * (count / total)
        self.mean2 += d2 * (count / total)
        self.count = total

    def covariance(self) -> Float[Tensor, "dim1 dim2"]:
        """The unbiased cross-covariance; NaN for fewer than two rows."""
        return self.scatter / (self.count - 1) if self.count > 1 else torch.full_like(self.scatter, torch.nan)

    @property
    def nbytes(self) -> int:
        return 8 * (self.scatter.numel() + len(self.mean1) + len(self.mean2))


class Moments:
    """Mean and covariance of streamed vectors."""

    def __init__(self, dim: int) -> None:
        self._cross = CrossMoments(dim, dim)

    def update(self, x: Float[Tensor, "rows dim"]) -> "Moments":
        self._cross.update(x, x)
        return self

    def merge(self, other: "Moments") -> "Moments":
        self._cross.merge(other._cross)
        return self

    @property
    def count(self) -> int:
        return self._cross.count

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        return self._cross.mean1

    @property
    def scatter(self) -> Float[Tensor, "dim dim"]:
        """The sum of outer products of the centred rows."""
        return self._cross.scatter

    def covariance(self) -> Float[Tensor, "dim dim"]:
        return self._cross.covariance()

    def variance(self) -> Float[Tensor, " dim"]:
        return self.covariance().diagonal()

    @property
    def nbytes(self) -> int:
        return self._cross.nbytes


class ClassMoments:
    """Count and mean of every class, with the covariance within classes pooled over them."""

    def __init__(self, num_classes: int, dim: int) -> None:
        self.counts = torch.zeros(num_classes, dtype=torch.int64)
        self.means = torch.zeros(num_classes, dim, dtype=torch.float64)
        self.within_scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def grow(self, num_classes: int) -> "ClassMoments":
        """Room for more classes, as yet empty."""
        more = num_classes - len(self.counts)
        if more > 0:
            self.counts = torch.cat([self.counts, self.counts.new_zeros(more)])
            self.means = torch.cat([self.means, self.means.new_zeros(more, self.means.shape[1])])
        return self

    def update(self, x: Float[Tensor, "rows dim"], label: Int[Tensor, " rows"]) -> "ClassMoments":
        x64 = _rows(x, self.means.shape[1], "x")
        if len(label) != len(x64):
            raise ValueError(f"label: {len(label)} for {len(x64)} rows of x; there must be one for each")
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < len(self.counts):
            raise ValueError(f"label: {int(label.min())} to {int(label.max())}; must be 0 to {len(self.counts) - 1}")
        batch = ClassMoments(*self.means.shape)
        batch.counts = torch.bincount(label, minlength=len(self.counts))
        sums = torch.zeros_like(self.means).index_add_(0, label, x64)
        batch.means = sums / batch.counts.clamp(min=1).unsqueeze(1)
        centred = x64 - batch.means[label]
        batch.within_scatter = centred.T @ centred
        return self.merge(batch)

    def merge(self, other: "ClassMoments") -> "ClassMoments":
        """Both together; the one with fewer classes grows."""
        classes = max(len(self.counts), len(other.counts))
        self.grow(classes)
        if len(other.counts) < classes:
            other = copy.copy(other).grow(classes)
        total = self.counts + other.counts
        difference = other.means - self.means
        weight = (self.counts * other.counts).double() / total.clamp(min=1)
        self.within_scatter += other.within_scatter + (difference * weight.unsqueeze(1)).T @ difference
        self.means += difference * (other.counts.double() / total.clamp(min=1)).unsqueeze(1)
        self.counts = total
        return self

    def between_covariance(self) -> Float[Tensor, "dim dim"]:
        """Covariance of the class means, weighted by the counts."""
        share = self.counts.double() / self.counts.sum()
        centred = self.means - share @ self.means
        return (centred * share.unsqueeze(1)).T @ centred

    def within_covariance(self) -> Float[Tensor, "dim dim"]:
        return self.within_scatter / self.counts.sum()

    @property
    def nbytes(self) -> int:
        return 8 * (self.counts.numel() + self.means.numel() + self.within_scatter.numel())


class Gram:
    """The sum of outer products of streamed vectors, not centred, `sum_i w_i x_i x_i^T`; of gradients it is their Gram
    matrix. NaN in the rows gives NaN in the sum.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.sum = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, x: Float[Tensor, "rows dim"], weight: Float[Tensor, " rows"] | None = None) -> "Gram":
        x64 = _rows(x, len(self.sum), "x")
        left = x64 if weight is None else x64 * weight.double().unsqueeze(1)
        self.sum += left.T @ x64
        self.count += len(x64)
        return self

    def merge(self, other: "Gram") -> "Gram":
        if len(other.sum) != len(self.sum):
            raise ValueError(f"other: dimension {len(other.sum)}; must be {len(self.sum)} to merge")
        self.sum += other.sum
        self.count += other.count
        return self

    def mean(self) -> Float[Tensor, "dim dim"]:
        """The average outer product; NaN for no rows."""
        return self.sum / self.count if self.count else torch.full_like(self.sum, torch.nan)

    @property
    def nbytes(self) -> int:
        return 8 * self.sum.numel()


class PairwiseGram:
    """Inner products between a fixed set of samples whose features are streamed in pieces: `K += X_piece X_piece^T`.

    For features too wide to hold at once, and for sums over layers or positions.
    """

    def __init__(self, samples: int) -> None:
        self.features = 0
        self.gram = torch.zeros(samples, samples, dtype=torch.float64)

    def update(self, x: Float[Tensor, "samples features"]) -> "PairwiseGram":
        """One piece of the features of all samples."""
        if x.dim() != 2 or len(x) != len(self.gram):
            raise ValueError(f"x: shape {tuple(x.shape)}; must be [{len(self.gram)}, features]")
        x64 = x.detach().double()
        self.gram += x64 @ x64.T
        self.features += x.shape[1]
        return self

    def merge(self, other: "PairwiseGram") -> "PairwiseGram":
        """The Gram matrix of both pieces of the features."""
        if len(other.gram) != len(self.gram):
            raise ValueError(f"other: {len(other.gram)} samples; must be the same {len(self.gram)}")
        self.gram += other.gram
        self.features += other.features
        return self

    def distances(self) -> Float[Tensor, "samples samples"]:
        """Squared Euclidean distances between the samples."""
        norms = self.gram.diagonal()
        return (norms.unsqueeze(1) + norms - 2 * self.gram).clamp(min=0)

    @property
    def nbytes(self) -> int:
        return 8 * self.gram.numel()
