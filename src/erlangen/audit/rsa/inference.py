"""Which model explains the measured dissimilarities best, and how well any model could."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.audit.rsa.comparison import RESAMPLED, of_vectors, resampled
from erlangen.audit.rsa.dissimilarity import upper_triangle
from erlangen.stats.rank_correlation import concordance_of_rows, kendall_tau_a
from erlangen.stats.rdm_bootstrap import CELLS, RdmResamples, bootstrap_rdm, pair_weights, weighted_ranks
from erlangen.stats.resample import holm


@dataclass(frozen=True)
class ModelComparison:
    """What `evaluate_models` found.

    Attributes:
        names: of the models.
        value: mean similarity to the subjects, `[models]`; `low` and `high` its interval.
        ceiling: (lower, upper) bound on what the true model would reach.
        p_value: two-sided bootstrap probabilities of the differences between models, `[models, models]`.
        best: the number of the model with the highest value.
        winners: the models that are not worse than the best at the level, after Holm's correction.
        at_ceiling: whether the model's interval of the distance to the lower ceiling reaches zero.
        samples: values of all resamples, `[resamples, models]`; `ceiling_samples` `[resamples, 2]`.
    """

    names: list[str]
    value: Tensor
    low: Tensor
    high: Tensor
    ceiling: tuple[float, float]
    p_value: Tensor
    best: int
    winners: list[int]
    at_ceiling: list[bool]
    samples: Tensor
    ceiling_samples: Tensor


def noise_ceiling(rdms: Float[Tensor, "..."], method: str = "cosine") -> tuple[float, float]:
    """The range in which the true model's mean similarity to the subjects lies: (lower, upper).

    Upper: each subject with the best single matrix for all of them (the mean of the normalised matrices, or of the
    ranks); no model can do better. Lower: each subject with the mean of the others.

    Source: Nili et al., "A toolbox for representational similarity analysis", 2014.
    """
    subjects = _subjects(rdms, method)
    ones = RdmResamples(
        torch.ones(1, rdms.shape[-1], dtype=torch.int64), torch.ones(1, len(subjects), dtype=torch.int64)
    )
    lower, upper = _evaluated(subjects[:0], subjects, ones, method)[1][0].tolist()
    return lower, upper


def evaluate_models(
    models: Float[Tensor, "models _ _"],
    data: Float[Tensor, "..."],
    method: str = "cosine",
    *,
    names: Sequence[str] | None = None,
    resample: tuple[str, ...] = ("stimuli", "subjects"),
    draws: RdmResamples | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> ModelComparison:
    """Mean similarity of each model to the subjects, bootstrapped over stimuli and subjects, with the noise ceiling.

    All models see the same resamples, so their differences are paired. With both stimuli and subjects drawn, intervals
    hold for new stimuli and new subjects (and are somewhat too wide). `draws` gives the resamples themselves.

    Raises ValueError for a method that cannot be resampled, unlike numbers of stimuli, missing pairs, one subject.

    Source: Nili et al., 2014; Schütt et al., "Statistical inference on representational geometries", 2023.
    """
    subjects = _subjects(data, method)
    if models.dim() != 3 or models.shape[1:] != data.shape[1:]:
        raise ValueError(f"models: shape {tuple(models.shape)}; must be [models, {data.shape[1]}, {data.shape[1]}]")
    theories = upper_triangle(models).double()
    if not bool(torch.isfinite(theories).all()):
        raise ValueError("models: dissimilarities are missing or infinite; leave those stimuli out")
    names = [f"model {i}" for i in range(len(models))] if names is None else list(names)
    if len(names) != len(models):
        raise ValueError(f"names: {len(names)} for {len(models)} models; give one for each")
    if draws is None:
        draws = bootstrap_rdm(data.shape[1], len(data), resample=resample, resamples=resamples, generator=generator)
    value = of_vectors(theories, subjects, method).mean(1)
    count = len(models)
    samples, ceilings = _evaluated(theories, subjects, draws, method)
    tail = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(samples, tail, dim=0)
    difference = samples[:, :, None] - samples[:, None, :]
    above, below = (difference >= 0).sum(0), (difference <= 0).sum(0)
    p_value = (2 * (1 + torch.minimum(above, below)) / (1 + len(samples))).clamp(max=1.0)
    best = int(value.argmax())
    others = [m for m in range(count) if m != best]
    worse = holm([float(p_value[best, m]) for m in others], alpha=1 - level)
    winners = sorted([best, *(m for m, rejected in zip(others, worse, strict=True) if not rejected)])
    gap = torch.quantile(samples - ceilings[:, :1], tail, dim=0)[1]
    whole = noise_ceiling(data, method)
    return ModelComparison(
        list(names), value, low, high, whole, p_value, best, winners, [bool(g >= 0) for g in gap], samples, ceilings
    )


def _subjects(data: Tensor, method: str) -> Tensor:
    if method not in RESAMPLED:
        raise ValueError(f"method: {method!r} has no noise ceiling here; choose one of {', '.join(RESAMPLED)}")
    if data.dim() != 3 or len(data) < 2:
        raise ValueError(
            f"data: shape {tuple(data.shape)}; must be [subjects, stimuli, stimuli] with 2 subjects or more"
        )
    rows = upper_triangle(data).double()
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("data: dissimilarities are missing or infinite; leave those stimuli out")
    return rows


def _evaluated(theories: Tensor, subjects: Tensor, draws: RdmResamples, method: str) -> tuple[Tensor, Tensor]:
    """Values of the models and (lower, upper) ceilings in every resample.

    For the ceilings each subject that was drawn counts once; its copies are left out together.
    """
    values, ceilings = [], []
    by = {"tau_a": _by_pairs, "cosine": _by_gram, "pearson": _by_gram}.get(method, _by_ranks)
    chunk = max(1, CELLS // (subjects.shape[1] * (len(theories) + len(subjects))))
    for part in torch.arange(len(draws)).split(500 if by is _by_gram else chunk):
        count = draws.subjects[part].double()
        similar, lower, upper = by(theories, subjects, pair_weights(draws.stimuli[part]), count, method)
        values.append(torch.einsum("rms,rs->rm", similar, count / count.sum(1, keepdim=True)))
        present = (count > 0).double()
        ceilings.append(torch.stack([(b * present).sum(1) / present.sum(1) for b in (lower, upper)], 1))
    return torch.cat(values), torch.cat(ceilings)


Evaluated = tuple[Tensor, Tensor, Tensor]


def _by_gram(theories: Tensor, subjects: Tensor, weights: Tensor, count: Tensor, method: str) -> Evaluated:
    """Models with subjects, subjects with the mean of the others and of all, from the correlations of all matrices."""
    rows, first = torch.cat([theories, subjects]), len(theories)
    everything = resampled(rows, rows, weights, method)
    similar = everything[:, first:, first:]
    with_all = similar @ count[:, :, None]
    norm = (count[:, None, :] @ with_all).sqrt()
    rest = count[:, None, :] * (1 - torch.eye(len(subjects), dtype=count.dtype))  # [resamples, left out, kept]
    with_rest = (similar * rest).sum(2)
    rest_norm = ((rest @ similar) * rest).sum(2).clamp(min=0).sqrt()
    lower = torch.where(rest_norm > 0, with_rest / rest_norm, 0.0)
    return everything[:, :first, first:], lower, (with_all / norm).squeeze(2)


def _by_ranks(theories: Tensor, subjects: Tensor, weights: Tensor, count: Tensor, method: str) -> Evaluated:
    """The same for correlations of ranks, where the mean of the ranks is ranked again."""
    first = len(theories)
    ranks = weighted_ranks(torch.cat([theories, subjects]), weights)  # [resamples, models + subjects, pairs]
    measured = ranks[:, first:]
    whole = count[:, None, :] @ measured  # sums of halves: equal ones are equal exactly, and stay ties
    pooled = weighted_ranks(torch.cat([whole - count[:, :, None] * measured, whole], 1), weights)
    weighted = measured * weights[:, None, :]
    rest, mean = pooled[:, :-1], pooled[:, -1:]
    products = ranks[:, :first] @ weighted.mT, (rest * weighted).sum(2), (mean @ weighted.mT).squeeze(1)
    total = weights.sum(1)
    if method == "rho_a":
        scale = (12 / (total**3 - total))[:, None]
        return products[0] * scale[:, None], products[1] * scale, products[2] * scale
    size = (measured * weighted).sum(2)
    sizes = [torch.einsum("rkp,rkp,rp->rk", part, part, weights) for part in (ranks[:, :first], pooled)]
    return (
        products[0] / (sizes[0][:, :, None] * size[:, None, :]).sqrt(),
        products[1] / (sizes[1][:, :-1] * size).sqrt(),
        products[2] / (sizes[1][:, -1:] * size).sqrt(),
    )


def _by_pairs(theories: Tensor, subjects: Tensor, weights: Tensor, count: Tensor, method: str) -> Evaluated:
    """The same for Kendall's tau-a, with all copies of all pairs written out; the ceilings are those of mean ranks."""
    ranks = weighted_ranks(subjects, weights)
    whole = count[:, None, :] @ ranks
    rest = whole - count[:, :, None] * ranks
    columns = torch.arange(subjects.shape[1])
    similar, lower, upper = [], [], []
    for r in range(len(weights)):
        index = columns.repeat_interleave(weights[r].long())
        drawn = subjects[:, index]
        both = kendall_tau_a(torch.cat([theories[:, index], whole[r][:, index]]), drawn)
        similar.append(both[:-1])
        upper.append(both[-1])
        lower.append(concordance_of_rows(rest[r][:, index], drawn).double() / (len(index) * (len(index) - 1) / 2))
    return torch.stack(similar), torch.stack(lower), torch.stack(upper)
