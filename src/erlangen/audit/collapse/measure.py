"""The four marks of neural collapse as numbers with jackknife intervals, from streamed class statistics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from scipy.special import stdtrit
from torch import Tensor

from erlangen.audit.collapse.frames import (
    FramePrediction,
    etf_prediction,
    frame_distance,
    gof_from_logits,
    gof_prediction,
    orthogonal_prediction,
    seli_prediction,
)
from erlangen.audit.collapse.moments import ClassStatistics, CollapseMoments

TARGETS = ("etf", "of", "gof", "seli")
RELATIVE_CUTOFF = 1e-10


@dataclass(frozen=True)
class Collapse:
    """What `measure_collapse` found.

    `values` has `nc1`, `cdnv`, `cdnv_worst`; with targets `nc2.NAME` and, where folds allow it, `nc2_debiased.NAME`;
    with a classifier `nc2_weights.NAME`, `nc3.NAME`, `nc3_angle` (degrees). `intervals` has jackknife ends of each.
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    counts: Int[Tensor, " classes"]
    classes: list[int]
    mean_norms: Float[Tensor, " kept"]
    weight_norms: Float[Tensor, " kept"] | None
    cdnv: Float[Tensor, "kept kept"]
    frames: dict[str, FramePrediction]
    notes: list[str] = field(default_factory=list)


def within_between_ratio(
    means: Float[Tensor, "classes dim"], within: Float[Tensor, "dim dim"]
) -> tuple[float, Float[Tensor, "directions dim"]]:
    """NC1 `tr(S_W pinv(S_B)) / K` and the directions `v / sigma` whose squared lengths under S_W sum to it.

    `S_B` is the covariance of the class means about their mean (not that of the samples), its eigenvalues below 1e-10
    of the largest are zero. NaN where all class means coincide.
    """
    centred = means - means.mean(0)
    _, sigma, vt = torch.linalg.svd(centred, full_matrices=False)
    keep = sigma > math.sqrt(RELATIVE_CUTOFF) * sigma[0]
    if not bool((sigma[0] > 1e-12 * means.norm()).item()):
        return math.nan, vt[:0]
    directions = vt[keep] / sigma[keep].unsqueeze(1)
    return float(((directions @ within) * directions).sum()), directions


def class_distances(statistics: ClassStatistics) -> Float[Tensor, "classes classes"]:
    """Class-distance normalised variance `(var_i + var_j) / (2 ||mu_i - mu_j||^2)`, NaN on the diagonal.

    Source: Galanti, György and Hutter, "On the role of neural collapse in transfer learning", 2022, arXiv:2112.15121.
    """
    variance = statistics.spread / statistics.counts.clamp(min=1)
    gap = torch.cdist(statistics.means, statistics.means, compute_mode="donot_use_mm_for_euclid_dist").square()
    pair = (variance[:, None] + variance) / (2 * gap)
    return pair.fill_diagonal_(math.nan)


def measure_collapse(
    moments: CollapseMoments,
    *,
    weight: Float[Tensor, "classes dim"] | None = None,
    targets: Sequence[str] = TARGETS,
    lam_w: float | Sequence[float] | None = None,
    lam_h: float | None = None,
    depth: int = 1,
    rank: int | None = None,
    level: float = 0.95,
) -> Collapse:
    """NC1, CDNV, NC2 and NC3 of streamed features with the intervals that leaving out folds gives.

    Arguments:
        moments: the streamed class statistics.
        weight: the linear map from features to logits (of several linear layers their product).
        targets: which geometries to compare with. Orthogonal frames and SELI speak of means about zero, the simplex of
            means about their mean: each is compared with its own.
        lam_w, lam_h, depth: the decays and number of linear layers for the general orthogonal frame; without them they
            are estimated from the logits of the class means, which needs `weight`.
        rank: the narrowest linear layer; by default the width of the features.

    A class of one sample has no scatter and is left out with a note; so is a class without samples.

    Raises ValueError for fewer than two classes of two samples, an unknown target, and a weight of another shape.

    Source: Papyan, Han and Donoho, 2020, arXiv:2008.08186; Dang et al., 2023, arXiv:2301.00437.
    """
    unknown = [t for t in targets if t not in TARGETS]
    if unknown:
        raise ValueError(f"targets: {unknown[0]!r}; allowed are {', '.join(TARGETS)}")
    full = moments.compute()
    classes, dim = full.means.shape
    if weight is not None and weight.shape != full.means.shape:
        raise ValueError(f"weight: shape {tuple(weight.shape)}; must be [{classes}, {dim}]")
    kept = (full.counts >= 2).nonzero().squeeze(1)
    if len(kept) < 2:
        raise ValueError(f"classes: {len(kept)} with two samples or more; collapse compares at least two")
    notes = [f"class {k} has {_samples(int(full.counts[k]))}: left out" for k in range(classes) if full.counts[k] < 2]
    own = weight.detach().double().cpu()[kept] if weight is not None else None
    rank = min(dim, rank or dim)
    frames = _frames(_keep(full, kept), own, targets, lam_w, lam_h, depth, rank, notes)

    def values(statistics: ClassStatistics) -> dict[str, float]:
        return _values(_keep(statistics, kept), own, frames, rank)

    whole = values(full)
    left_out = [values(moments.compute(without=fold)) for fold in range(moments.folds)]
    intervals = {name: _jackknife(v, [o[name] for o in left_out], level) for name, v in whole.items()}
    whole |= _debiased(moments, kept, frames, rank)
    part = _keep(full, kept)
    return Collapse(
        whole,
        intervals,
        full.counts,
        kept.tolist(),
        part.means.norm(dim=1),
        own.norm(dim=1) if own is not None else None,
        class_distances(part),
        frames,
        notes,
    )


def _samples(count: int) -> str:
    return "one sample, so no scatter" if count else "no sample"


def _keep(s: ClassStatistics, kept: Tensor) -> ClassStatistics:
    return ClassStatistics(s.counts[kept], s.means[kept], s.scatter, s.spread[kept])


def _frames(
    s: ClassStatistics,
    weight: Tensor | None,
    targets: Sequence[str],
    lam_w: float | Sequence[float] | None,
    lam_h: float | None,
    depth: int,
    rank: int,
    notes: list[str],
) -> dict[str, FramePrediction]:
    classes, frames = len(s.counts), {}
    makers: dict[str, Callable[[], FramePrediction | None]] = {
        "etf": lambda: etf_prediction(classes),
        "of": lambda: orthogonal_prediction(classes),
        "seli": lambda: seli_prediction(s.counts),
    }
    if lam_w is not None and lam_h is not None:
        makers["gof"] = lambda: gof_prediction(s.counts, lam_w, lam_h, depth=depth, rank=rank)
    elif weight is not None:
        makers["gof"] = lambda: gof_from_logits(s.counts, (weight * s.means).sum(1), depth=depth)
        if "gof" in targets:
            notes.append("gof: decays estimated from the logits of the class means")
    for target in targets:
        frame = makers[target]() if target in makers else None
        if frame is None:
            notes.append(f"{target}: left out, its decays are neither given nor can be estimated from a classifier")
        elif not bool(frame.mean_gram.any()):
            notes.append(f"{target}: left out, it predicts that all classes collapse to zero")
        else:
            frames[target] = frame
    return frames


def _values(
    s: ClassStatistics, weight: Tensor | None, frames: dict[str, FramePrediction], rank: int
) -> dict[str, float]:
    centred = s.means - s.means.mean(0)
    values = {"nc1": within_between_ratio(s.means, s.scatter / s.counts.sum())[0]}
    pairs = class_distances(s)
    pairs = pairs[~torch.isnan(pairs)]
    values["cdnv"] = float(pairs.mean()) if len(pairs) else math.nan
    values["cdnv_worst"] = float(pairs.max()) if len(pairs) else math.nan
    for name, frame in frames.items():
        means = centred if frame.centred else s.means
        values[f"nc2.{name}"] = float(frame_distance(means @ means.T, frame.mean_gram, rank=_limit(name, rank)))
        if weight is not None:
            values[f"nc2_weights.{name}"] = float(
                frame_distance(weight @ weight.T, frame.weight_gram, rank=_limit(name, rank))
            )
            values[f"nc3.{name}"] = float(frame_distance(weight @ means.T, frame.logits, rank=_limit(name, rank)))
    if weight is not None:
        values["nc3_angle"] = _largest_angle(weight - weight.mean(0), centred)
    return values


def _limit(name: str, rank: int) -> int | None:
    return rank if name in ("etf", "of") else None


def _largest_angle(a: Tensor, b: Tensor) -> float:
    """The largest principal angle between two row spaces, in degrees; NaN where one of them is zero."""
    bases = []
    for rows in (a, b):
        _, sigma, vt = torch.linalg.svd(rows, full_matrices=False)
        bases.append(vt[sigma > 1e-8 * sigma[0].clamp(min=1e-300)])
    if not len(bases[0]) or not len(bases[1]):
        return math.nan
    cosines = torch.linalg.svdvals(bases[0] @ bases[1].T)
    return math.degrees(math.acos(min(1.0, float(cosines.min()))))


def _jackknife(value: float, left_out: Sequence[float], level: float) -> tuple[float, float]:
    draws = torch.tensor(left_out, dtype=torch.float64)
    count = len(draws)
    error = math.sqrt((count - 1) / count * float((draws - draws.mean()).square().sum()))
    half = float(stdtrit(count - 1, 0.5 + level / 2)) * error
    return max(value - half, 0.0), value + half


def _debiased(
    moments: CollapseMoments, kept: Tensor, frames: dict[str, FramePrediction], rank: int
) -> dict[str, float]:
    """NC2 with the noise of the class means taken out, where every class is in every fold.

    Products of means from different folds have no noise on their diagonal; the length of the Gram matrix comes from
    products of two such Grams of disjoint halves of the folds. `NC2^2 = 2 - 2 <A, T> / (||A|| ||T||)`.
    """
    if not bool((moments.counts[:, kept] > 0).all()) or moments.folds < 4 or rank < len(kept):
        return {}
    means = moments.means[:, kept]
    found = {}
    for name, frame in frames.items():
        parts = means - means.mean(1, keepdim=True) if frame.centred else means
        whole = _cross_gram(parts)
        squares = []
        for split in range(moments.folds // 2):
            half = torch.arange(moments.folds).roll(split).reshape(2, -1) if moments.folds % 2 == 0 else None
            if half is None:
                return {}
            squares.append((_cross_gram(parts[half[0]]) * _cross_gram(parts[half[1]])).sum())
        square = torch.stack(squares).mean()
        if float(square) > 0:
            cosine = (whole * frame.mean_gram).sum() / (square.sqrt() * frame.mean_gram.norm())
            found[f"nc2_debiased.{name}"] = float((2 - 2 * cosine).clamp(min=0).sqrt())
    return found


def _cross_gram(parts: Tensor) -> Tensor:
    """The mean of `M_f M_g^T` over pairs of different folds."""
    count, total = len(parts), parts.sum(0)
    return (total @ total.T - (parts @ parts.transpose(1, 2)).sum(0)) / (count * (count - 1))


def nearest_mean_agreement(
    x: Float[Tensor, "rows dim"], means: Float[Tensor, "classes dim"], logits: Float[Tensor, "rows classes"]
) -> Tensor:
    """NC4, row by row: does the classifier choose the class with the nearest mean?"""
    return torch.cdist(x.double(), means.double()).argmin(1) == logits.argmax(1)
