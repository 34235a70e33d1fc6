"""Which layer, region or model a dissimilarity matrix came from, told by the nearest class of other subjects' matrices."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.audit.rsa.dissimilarity import upper_triangle
from erlangen.stats.rdm_bootstrap import bootstrap_rdm, pair_weights, weighted_similarity


@dataclass(frozen=True)
class Identification:
    """What `identify` found.

    Attributes:
        accuracy: share of matrices whose label was told (the sensitivity); `low` and `high` its interval.
        chance: one over the number of labels.
        separation: mean distance of matrices of one label over that of different labels, always of different groups:
            the specificity, small when each label has a signature of its own.
        predicted: the told label of every matrix.
        confusion: `[true, told]` counts, in the order of `labels`.
        labels: the different labels.
        samples: accuracy in all resamples.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    separation: float
    predicted: Tensor
    confusion: Tensor
    labels: Tensor
    samples: Tensor


def identify(
    rdms: Float[Tensor, "rdms stimuli stimuli"],
    labels: Int[Tensor, " rdms"],
    groups: Int[Tensor, " rdms"],
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    resample: tuple[str, ...] = ("stimuli", "subjects"),
    resamples: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> Identification:
    """Leave one group (subject, seed) out; each of its matrices gets the label with the most correlated mean matrix.

    `transform` (for example `geo_topological`) is applied to the whole matrices first. The mean of a label is that of
    its standardised vectors over the other groups. The bootstrap draws stimuli (pairs of copies left out) and groups
    (all copies of the group left out together).

    Raises ValueError for fewer than two labels or groups, a label that occurs in one group only, missing pairs.

    Source: Lin and Kriegeskorte, PNAS 2024, arXiv:2309.11028.
    """
    if rdms.dim() != 3 or not len(rdms) == len(labels) == len(groups):
        raise ValueError(f"labels, groups: {len(labels)} and {len(groups)} for matrices of shape {tuple(rdms.shape)}")
    known, label = labels.unique(return_inverse=True)
    _, group = groups.unique(return_inverse=True)
    classes, members = len(known), int(group.max()) + 1
    if classes < 2 or members < 2:
        raise ValueError(f"labels, groups: {classes} labels in {members} groups; at least two of both are needed")
    table = torch.zeros(classes, members).index_put_((label, group), torch.ones(len(label)), accumulate=True)
    if bool(((table > 0).sum(1) < 2).any()):
        alone = known[(table > 0).sum(1) < 2][0]
        raise ValueError(f"labels: {alone} occurs in one group only, so it cannot be learned from another")
    vectors = upper_triangle(rdms if transform is None else transform(rdms)).double()
    if not bool(torch.isfinite(vectors).all()):
        raise ValueError("rdms: dissimilarities are missing or infinite; leave those stimuli out")
    stimuli = rdms.shape[-1]
    pairs = torch.ones(1, vectors.shape[1], dtype=torch.float64)
    once = torch.ones(1, members, dtype=torch.float64)
    similar = weighted_similarity(vectors, pairs, "pearson")
    told = _told(similar, once, label, group, classes)[0]
    right = (told == label).double()
    draws = bootstrap_rdm(stimuli, members, resample=resample, resamples=resamples, generator=generator)
    samples = []
    for part in torch.arange(len(draws)).split(100):
        times = draws.subjects[part].double()
        similarity = weighted_similarity(vectors, pair_weights(draws.stimuli[part]), "pearson")
        hit = (_told(similarity, times, label, group, classes) == label).double()
        weight = times[:, group]
        samples.append((hit * weight).sum(1) / weight.sum(1))
    accuracies = torch.cat(samples)
    tail = (1 - level) / 2
    low, high = torch.quantile(accuracies, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    distance = 1 - similar[0]
    apart = group[:, None] != group[None, :]
    same = label[:, None] == label[None, :]
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    confusion.index_put_((label, told), torch.ones_like(told), accumulate=True)
    return Identification(
        float(right.mean()),
        low,
        high,
        1 / classes,
        float(distance[apart & same].mean() / distance[apart & ~same].mean()),
        known[told],
        confusion,
        known,
        accuracies,
    )


def _told(similar: Tensor, times: Tensor, label: Tensor, group: Tensor, classes: int) -> Tensor:
    """The told class of every matrix in every resample, `[resamples, rdms]`, from the matrices' correlations.

    `times` is how often each group was drawn. A class that no other drawn group has cannot be told; a matrix that is
    constant in a resample resembles none.
    """
    similar = similar.nan_to_num(0.0)
    members = times.shape[1]
    onehot = torch.nn.functional.one_hot(label, classes).double()  # [rdms, classes]
    keep = (group[None, :] != torch.arange(members)[:, None]).double()  # [left out, rdms]
    weight = times[:, group]  # [resamples, rdms]
    mean = torch.einsum("rt,gt,tc->rgct", weight, keep, onehot)
    product = torch.einsum("rkt,rgct->rgck", similar, mean)
    norm = torch.einsum("rgck,rgck->rgc", product, mean).clamp(min=0).sqrt()
    score = torch.where(norm[..., None] > 0, product / norm[..., None], -torch.inf)
    return score[:, group, :, torch.arange(len(label))].argmax(-1).T
