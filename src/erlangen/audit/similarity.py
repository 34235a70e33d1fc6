"""How alike two representations of the same samples are, by any of the usual measures, in one way."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._lazy import make_callable
from erlangen._registry import unknown_name
from erlangen.audit.alignment.matching import match_units
from erlangen.audit.alignment.moments import PairMoments
from erlangen.audit.rsa.comparison import compare_rdms
from erlangen.audit.rsa.dissimilarity import rdm
from erlangen.stats import cka, procrustes, subsample_ci
from erlangen.stats.canonical_correlation import mean_cca, pwcca, svcca
from erlangen.stats.similarity_neighbors import distance_correlation, neighbor_overlap

Measurement = Callable[..., Tensor | float]


@dataclass(frozen=True)
class Measure:
    """A way to compare representations.

    Attributes:
        of: `(x, y, **options) -> number`.
        same: its value for a representation and itself.
        ignores: the maps of one side that do not change it.
        symmetric: whether the order of the two matters.
        source: where it comes from.
    """

    of: Measurement
    same: float
    ignores: str
    source: str
    symmetric: bool = True


@dataclass(frozen=True)
class Similarity:
    """A measured likeness, its interval (NaN if not asked for), and why it is undefined if it is."""

    value: float
    low: float
    high: float
    measure: str
    samples: int
    reason: str = ""


def _rsa(x: Tensor, y: Tensor, *, metric: str = "correlation", method: str = "spearman") -> Tensor:
    return compare_rdms(rdm(x, metric), rdm(y, metric), method)


def _matching(x: Tensor, y: Tensor, *, method: str = "hungarian") -> float:
    return match_units(PairMoments.of(x, y).correlation(), method).mean


def _soft_matching(x: Tensor, y: Tensor, *, temperature: float = 0.02) -> float:
    correlation = PairMoments.of(x, y).correlation()
    plan = match_units(correlation, "sinkhorn", temperature=temperature).plan
    return math.nan if plan is None else float((plan * correlation).sum())


MEASURES: dict[str, Measure] = {
    "cka": Measure(cka, 1.0, "rotation, scale and shift", "arXiv:1905.00414, arXiv:2010.15327"),
    "cka_biased": Measure(lambda x, y: cka(x, y, debiased=False), 1.0, "rotation, scale and shift", "arXiv:1905.00414"),
    "cca": Measure(mean_cca, 1.0, "every invertible linear map and shift", "Hotelling 1936"),
    "svcca": Measure(svcca, 1.0, "rotation, scale and shift", "arXiv:1706.05806"),
    "pwcca": Measure(pwcca, 1.0, "every invertible linear map of the second and shift", "arXiv:1806.05759", False),
    "procrustes": Measure(procrustes, 0.0, "rotation, scale and shift", "arXiv:2110.14739"),
    "rsa": Measure(_rsa, 1.0, "whatever keeps the order of dissimilarities", "Kriegeskorte et al. 2008"),
    "matching": Measure(_matching, 1.0, "permutation, positive scale and shift of units", "arXiv:1511.07543"),
    "soft_matching": Measure(_soft_matching, 1.0, "permutation, positive scale and shift of units", "arXiv:2311.09466"),
    "neighbors": Measure(
        lambda x, y, k=10: neighbor_overlap(x, y, k=k).mean(), 1.0, "rotation and scale", "arXiv:2305.06329"
    ),
    "mutual_neighbors": Measure(
        lambda x, y, k=10: neighbor_overlap(x, y, k=k, jaccard=False).mean(),
        1.0,
        "rotation and scale",
        "arXiv:2405.07987",
    ),
    "distance_correlation": Measure(distance_correlation, 1.0, "rotation, scale and shift", "Székely et al. 2007"),
}


def similarity(
    x: Float[Tensor, "..."],
    y: Float[Tensor, "..."],
    measure: str = "cka",
    *,
    ci: bool = False,
    level: float = 0.95,
    resamples: int = 20,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Similarity:
    """The likeness of two representations `[samples, dimensions]` of the same samples.

    `measure`: `"cka"` (debiased), `"cka_biased"`, `"cca"`, `"svcca"`, `"pwcca"`, `"procrustes"` (an angle: 0 is the
    same), `"rsa"`, `"matching"`, `"soft_matching"`, `"neighbors"`, `"mutual_neighbors"`, `"distance_correlation"`; what
    each does not see is in `MEASURES[name].ignores`. `options` go to the measure (`ridge=`, `k=`, `metric=`, ...).

    `ci=True` adds an interval by subsampling rows. Half precision is computed in float32 or better. Where the measure is
    undefined (a constant representation) the value is NaN and `reason` says so.

    Raises ValueError for an unknown measure, unlike numbers of samples, fewer than 4, NaN, or more than two axes (pool
    positions or tokens first: which way changes the answer).
    """
    if measure not in MEASURES:
        raise unknown_name("measure", measure, list(MEASURES))
    one, two = _rows("x", x), _rows("y", y)
    if len(one) != len(two):
        raise ValueError(f"y: {len(two)} samples for {len(one)} of x; both must represent the same samples")
    if len(one) < 4:
        raise ValueError(f"x: {len(one)} samples are too few; at least 4 are needed")
    for name, rows in (("x", one), ("y", two)):
        if bool((rows == rows[:1]).all()):
            reason = f"{name} is constant: it has no variation that could be shared"
            return Similarity(math.nan, math.nan, math.nan, measure, len(one), reason)
    of = MEASURES[measure].of
    value = float(of(one, two, **options))
    low = high = math.nan
    if ci:
        low, high = subsample_ci(
            lambda keep: float(of(one[keep], two[keep], **options)),
            len(one),
            level=level,
            resamples=resamples,
            generator=generator,
        )
    reason = "" if math.isfinite(value) else "the measure is undefined for these representations"
    return Similarity(value, low, high, measure, len(one), reason)


def similarity_matrix(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor] | None = None, measure: str = "cka", **options: Any
) -> Float[Tensor, "layers1 layers2"]:
    """The likeness of all layers of one network with all of another (or its own), `[layers1, layers2]`.

    A measure that is symmetric is computed once for a pair. For more samples than fit, see `MinibatchCKA`.
    """
    other = first if second is None else second
    mirrored = second is None and measure in MEASURES and MEASURES[measure].symmetric
    found = torch.full((len(first), len(other)), torch.nan, dtype=torch.float64)
    for i, x in enumerate(first.values()):
        for j, y in enumerate(other.values()):
            if mirrored and j < i:
                found[i, j] = found[j, i]
            else:
                found[i, j] = similarity(x, y, measure, **options).value
    return found


def _rows(name: str, x: Tensor) -> Tensor:
    if x.dim() != 2:
        raise ValueError(
            f"{name}: shape {tuple(x.shape)}; pool it to [samples, dimensions], for example x.mean((2, 3))"
        )
    x = x.detach()
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if not bool(torch.isfinite(x).all()):
        bad = (~torch.isfinite(x)).any(1).nonzero()[0]
        raise ValueError(f"{name}: sample {int(bad)} contains NaN or infinite values")
    return x


make_callable(__name__, "similarity")
