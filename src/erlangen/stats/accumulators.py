"""Mergeable moments of streamed rows, in float64, with a byte count known before they start."""

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

    def update(self, x: Float[Tensor, "rows dim"], label: Int[Tensor, " rows"]) -> "ClassMoments":
        x64 = _rows(x, self.means.shape[1], "x")
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
