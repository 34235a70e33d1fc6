"""Which model explains the measured dissimilarities best, and how well any model could."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.audit.rsa.comparison import RESAMPLED, of_vectors, resampled
from erlangen.audit.rsa.dissimilarity import upper_triangle
from erlangen.stats.rank_correlation import concordance_of_rows
from erlangen.stats.rdm_bootstrap import RdmResamples, bootstrap_rdm, pair_weights, weighted_ranks
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
    lower, upper = _ceilings(subjects, ones, method)[0].tolist()
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
    count, share = len(models), draws.subjects.double() / draws.subjects.sum(1, keepdim=True)
    found = []
    for part in torch.arange(len(draws)).split(100):
        similar = resampled(theories, subjects, pair_weights(draws.stimuli[part]), method)
        found.append(torch.einsum("rms,rs->rm", similar, share[part]))
    samples = torch.cat(found)
    ceilings = _ceilings(subjects, draws, method)
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


def _ceilings(subjects: Tensor, draws: RdmResamples, method: str) -> Tensor:
    """(lower, upper) of every resample; each subject that was drawn counts once, its copies are left out together."""
    found = []
    times = draws.subjects.double()
    for part in torch.arange(len(draws)).split(50):
        count, weights = times[part], pair_weights(draws.stimuli[part])
        present = (count > 0).double()
        if method in ("cosine", "pearson"):
            both = _by_gram(subjects, weights, count, method)
        else:
            both = _by_ranks(subjects, weights, count, method)
        found.append(torch.stack([(b * present).sum(1) / present.sum(1) for b in both], 1))
    return torch.cat(found)


def _by_gram(subjects: Tensor, weights: Tensor, count: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Similarities of the subjects with the mean of all others and of all normalised matrices, from their correlations."""
    similar = resampled(subjects, subjects, weights, method)
    with_all = similar @ count[:, :, None]
    norm = (count[:, None, :] @ with_all).sqrt()
    rest = count[:, None, :] * (1 - torch.eye(len(subjects), dtype=count.dtype))  # [resamples, left out, kept]
    with_rest = (similar * rest).sum(2)
    rest_norm = torch.einsum("rak,rkl,ral->ra", rest, similar, rest).clamp(min=0).sqrt()
    return torch.where(rest_norm > 0, with_rest / rest_norm, torch.nan).nan_to_num(0.0), (with_all / norm).squeeze(2)


def _by_ranks(subjects: Tensor, weights: Tensor, count: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """The same for methods on ranks, where the mean of the ranks is ranked again."""
    ranks = weighted_ranks(subjects, weights)  # [resamples, subjects, pairs]
    whole = torch.einsum("rs,rsp->rp", count, ranks)[:, None, :]
    rest = whole - count[:, :, None] * ranks
    rest = rest.round(decimals=6)  # equal sums of half ranks must stay ties
    whole = whole.round(decimals=6)
    if method == "tau_a":
        lower, upper = [], []
        columns = torch.arange(subjects.shape[1])
        for r in range(len(weights)):
            index = columns.repeat_interleave(weights[r].long())
            upper.append(of_vectors(whole[r][:, index], subjects[:, index], method)[0])
            lower.append(
                concordance_of_rows(rest[r][:, index], subjects[:, index]).double()
                / (len(index) * (len(index) - 1) / 2)
            )
        return torch.stack(lower), torch.stack(upper)
    total = weights.sum(1)[:, None]
    again_rest, again_whole = weighted_ranks(rest, weights), weighted_ranks(whole, weights)
    weight = weights[:, None, :]

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        product = (a * b * weight).sum(2)
        if method == "rho_a":
            return 12 * product / (total**3 - total)
        return product / ((a * a * weight).sum(2) * (b * b * weight).sum(2)).sqrt()

    return similarity(again_rest, ranks), similarity(again_whole, ranks)
