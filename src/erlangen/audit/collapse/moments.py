"""Streamed class means, scatter within classes and spread of every class, in folds that give error bars."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

PENDING = 4096


@dataclass(frozen=True)
class ClassStatistics:
    """Counts and means of the classes, `scatter` summed over the samples about their class mean, `spread` its trace for
    each class."""

    counts: Int[Tensor, " classes"]
    means: Float[Tensor, "classes dim"]
    scatter: Float[Tensor, "dim dim"]
    spread: Float[Tensor, " classes"]


class CollapseMoments:
    """All that neural collapse needs of the features, in one pass and with `nbytes` known beforehand.

    The samples of every class are dealt to `folds` in turn; leaving one fold out at a time gives the error bars.
    Merging shards gives the statistics of one pass up to rounding.
    """

    def __init__(self, num_classes: int, dim: int, *, folds: int = 10) -> None:
        if num_classes < 1 or dim < 1 or folds < 2:
            raise ValueError(f"num_classes, dim, folds: {num_classes}, {dim}, {folds}; need at least 1, 1 and 2")
        self.folds = folds
        self.counts = torch.zeros(folds, num_classes, dtype=torch.int64)
        self.means = torch.zeros(folds, num_classes, dim, dtype=torch.float64)
        self.scatter = torch.zeros(folds, dim, dim, dtype=torch.float64)
        self.spread = torch.zeros(folds, num_classes, dtype=torch.float64)
        self._dealt = torch.zeros(num_classes, dtype=torch.int64)
        self._pending: list[tuple[Tensor, Tensor]] = []

    def update(self, x: Float[Tensor, "rows dim"], label: Int[Tensor, " rows"]) -> "CollapseMoments":
        classes, dim = self.means.shape[1:]
        if x.shape[1] != dim or len(x) != len(label):
            raise ValueError(f"x: shape {tuple(x.shape)} with {len(label)} labels; must be [rows, {dim}]")
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < classes:
            raise ValueError(f"label: {int(label.min())} to {int(label.max())}; must be 0 to {classes - 1}")
        if not bool(torch.isfinite(x).all()):
            raise ValueError("x: contains NaN or infinite values")
        self._pending.append((x.detach().double().cpu(), label.cpu()))
        if sum(len(rows) for rows, _ in self._pending) >= PENDING:
            self._absorb_pending()
        return self

    def merge(self, other: "CollapseMoments") -> "CollapseMoments":
        if other.means.shape != self.means.shape:
            raise ValueError(f"other: sizes {tuple(other.means.shape)}; must be {tuple(self.means.shape)} as here")
        self._absorb_pending()
        other._absorb_pending()
        for fold in range(self.folds):
            part = (other.counts[fold], other.means[fold], other.scatter[fold], other.spread[fold])
            self._absorb(fold, *part)
        self._dealt += other._dealt
        return self

    def _absorb_pending(self) -> None:
        if not self._pending:
            return
        x, label = torch.cat([p[0] for p in self._pending]), torch.cat([p[1] for p in self._pending])
        self._pending = []
        order = label.argsort(stable=True)
        x, label = x[order], label[order]
        counts = torch.bincount(label, minlength=len(self._dealt))
        first = counts.cumsum(0) - counts
        turn = (torch.arange(len(label)) - first[label] + self._dealt[label]) % self.folds
        self._dealt += counts
        for fold in range(self.folds):
            rows, labels = x[turn == fold], label[turn == fold]
            n = torch.bincount(labels, minlength=len(counts))
            means = torch.zeros_like(self.means[0]).index_add_(0, labels, rows) / n.clamp(min=1).unsqueeze(1)
            centred = rows - means[labels]
            spread = torch.zeros_like(self.spread[0]).index_add_(0, labels, centred.square().sum(1))
            self._absorb(fold, n, means, centred.T @ centred, spread)

    def _absorb(self, fold: int, counts: Tensor, means: Tensor, scatter: Tensor, spread: Tensor) -> None:
        total = (self.counts[fold] + counts).clamp(min=1).double()
        difference = means - self.means[fold]
        weight = self.counts[fold] * counts / total
        self.scatter[fold] += scatter + (difference * weight.unsqueeze(1)).T @ difference
        self.spread[fold] += spread + weight * difference.square().sum(1)
        self.means[fold] += difference * (counts / total).unsqueeze(1)
        self.counts[fold] += counts

    def compute(self, *, without: int | None = None) -> ClassStatistics:
        """The statistics of all folds, or of all but one."""
        self._absorb_pending()
        keep = [fold for fold in range(self.folds) if fold != without]
        counts, means = self.counts[keep], self.means[keep]
        total = counts.sum(0)
        weight = counts.double() / total.clamp(min=1)
        mean = (weight.unsqueeze(2) * means).sum(0)
        between = means - mean
        scaled = between * counts.unsqueeze(2)
        scatter = self.scatter.sum(0) - (self.scatter[without] if without is not None else 0.0)
        return ClassStatistics(
            total,
            mean,
            scatter + scaled.flatten(0, 1).T @ between.flatten(0, 1),
            self.spread[keep].sum(0) + (scaled * between).sum((0, 2)),
        )

    @property
    def nbytes(self) -> int:
        return moments_bytes(*self.means.shape[1:], folds=self.folds)


def reduced_moments(
    x: Float[Tensor, "rows dim"],
    label: Int[Tensor, " rows"],
    num_classes: int,
    *,
    weight: Float[Tensor, "classes dim"] | None = None,
    folds: int = 10,
) -> tuple[CollapseMoments, Float[Tensor, "dim kept"] | None]:
    """The moments of wide features in the directions that matter, and the basis of these.

    Everything measured lies in the span of the folds' class means and of `weight`, so that with more dimensions than
    those vectors nothing is lost by turning into it; the scatter outside goes into `spread`. The basis is None where
    the features are narrow enough as they are.
    """
    x64 = x.double()
    if x.shape[1] <= (folds + 1) * num_classes:
        return CollapseMoments(num_classes, x.shape[1], folds=folds).update(x64, label), None
    fold = _turns(label, num_classes, folds)
    group = fold * num_classes + label
    sums = torch.zeros(folds * num_classes, x.shape[1], dtype=torch.float64).index_add_(0, group, x64)
    size = torch.bincount(group, minlength=len(sums))
    vectors = sums / size.clamp(min=1).unsqueeze(1)
    if weight is not None:
        vectors = torch.cat([vectors, weight.double().cpu() / weight.double().norm().cpu().clamp(min=1e-300)])
    basis = torch.linalg.qr(vectors.T).Q
    turned = x64 @ basis
    moments = CollapseMoments(num_classes, basis.shape[1], folds=folds).update(turned, label)
    outside = (x64 - sums[group] / size[group].unsqueeze(1)).square().sum(1)
    outside -= (turned - (vectors[: len(sums)] @ basis)[group]).square().sum(1)
    moments._absorb_pending()
    moments.spread += torch.zeros(len(sums), dtype=torch.float64).index_add_(0, group, outside).view(folds, num_classes)
    return moments, basis


def _turns(label: Tensor, num_classes: int, folds: int) -> Tensor:
    """The fold of each row: the samples of every class in turn."""
    order = label.argsort(stable=True)
    counts = torch.bincount(label, minlength=num_classes)
    first = counts.cumsum(0) - counts
    turn = torch.empty_like(label)
    turn[order] = (torch.arange(len(label)) - first[label[order]]) % folds
    return turn


def moments_bytes(num_classes: int, dim: int, *, folds: int = 10) -> int:
    """What `CollapseMoments` holds, with the rows that it gathers before it works on them."""
    return 8 * (folds * (num_classes * (dim + 2) + dim * dim) + 3 * PENDING * (dim + 1) + 2 * dim * dim)
