"""Does a layer follow its inputs or its targets, and is its code abstract or high-dimensional?

Conditions are points in the space of the task (all combinations of some bits, or classes); a dichotomy says for each
condition on which side it is. All numbers are unchanged by rotation, translation and scaling of the representation.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from erlangen.stats import cka

MOST_PAIRINGS = 7


def target_alignment(z: Float[Tensor, "rows dim"], y: Tensor, *, debiased: bool = False) -> float:
    """Centred kernel alignment `CKA(Z Z^T, Y Y^T)` with the targets `[rows]` or `[rows, outputs]`.

    The plain form is for noise-free conditions, the debiased one for samples.

    Raises ValueError where it is undefined: fewer than two rows (debiased: four), constant `z` or `y`.

    Source: Alleman, Lindsey and Fusi, "Task structure and nonlinearity jointly determine learned representational
    geometry", 2024, arXiv:2401.13558.
    """
    return _alignment(z, y, "y", debiased)


def input_alignment(z: Float[Tensor, "rows dim"], x: Tensor, *, debiased: bool = False) -> float:
    """Centred kernel alignment `CKA(Z Z^T, X X^T)` with the inputs `[rows, ...]`; see `target_alignment`."""
    return _alignment(z, x, "x", debiased)


def _alignment(z: Tensor, other: Tensor, name: str, debiased: bool) -> float:
    other = other.reshape(len(other), -1).to(z.device, torch.float64)
    for label, value in (("z", z.double()), (name, other)):
        spread = (value - value.mean(0)).norm()
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{label}: contains NaN or infinite values")
        if len(value) < 2 or float(spread) <= 1e-12 * float(value.norm()):
            raise ValueError(f"{label}: constant over the {len(value)} rows, so that an alignment is undefined")
    return float(cka(z.double(), other, debiased=debiased))


def condition_means(x: Float[Tensor, "rows dim"], condition: Int[Tensor, " rows"]) -> Float[Tensor, "conditions dim"]:
    """The mean of every condition 0, 1, ...; raises ValueError for one without rows."""
    count = _conditions(x, condition, least=1)
    means = torch.zeros(len(count), x.shape[1], dtype=torch.float64).index_add_(0, condition, x.double())
    return means / count.unsqueeze(1)


def _conditions(x: Tensor, condition: Tensor, *, least: int) -> Tensor:
    if len(x) != len(condition) or len(x) == 0:
        raise ValueError(f"condition: {len(condition)} entries for {len(x)} rows; one for each is needed")
    if int(condition.min()) < 0:
        raise ValueError(f"condition: {int(condition.min())}; conditions are numbered from 0")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x: contains NaN or infinite values")
    count = torch.bincount(condition)
    if int(count.min()) < least:
        few = int(count.argmin())
        raise ValueError(f"condition: number {few} has {int(count[few])} rows; at least {least} are needed")
    return count


def balanced_dichotomies(
    conditions: int, *, most: int = 1000, generator: torch.Generator | None = None
) -> Bool[Tensor, "dichotomies conditions"]:
    """All splits of the conditions in two halves, or `most` different random ones where there are more."""
    if conditions < 2 or conditions % 2:
        raise ValueError(f"conditions: {conditions}; halves need an even number of at least 2")
    half = conditions // 2
    if math.comb(conditions, half) // 2 <= most:
        chosen = [(0, *rest) for rest in itertools.combinations(range(1, conditions), half - 1)]
        sides = torch.zeros(len(chosen), conditions, dtype=torch.bool)
        return sides.scatter_(1, torch.tensor(chosen), torch.ones((), dtype=torch.bool).expand(len(chosen), half))
    found: dict[tuple[bool, ...], None] = {}
    while len(found) < most:
        side = torch.zeros(conditions, dtype=torch.bool)
        side[torch.randperm(conditions, generator=generator)[:half]] = True
        found[tuple((side == side[0]).tolist())] = None
    return torch.tensor(list(found))


def _sides(labels: Tensor, conditions: int) -> Bool[Tensor, "dichotomies conditions"]:
    """Labels `[conditions]` or `[dichotomies, conditions]` as booleans; ValueError where the halves differ in size."""
    sides = (labels > 0).reshape(-1, labels.shape[-1])
    if sides.shape[1] != conditions:
        raise ValueError(f"labels: {labels.shape[-1]} conditions where the representation has {conditions}")
    ones = sides.sum(1)
    if bool((2 * ones != conditions).any()):
        odd = int((2 * ones != conditions).nonzero()[0])
        raise ValueError(
            f"labels: dichotomy {odd} has {int(ones[odd])} of {conditions} conditions on one side; halves are needed"
        )
    return sides


def parallelism_score(means: Float[Tensor, "conditions dim"], labels: Tensor) -> Float[Tensor, " dichotomies"]:
    """How parallel the coding directions of a dichotomy are: 1 for a factored code, 0 for unrelated conditions.

    Every condition of one side is paired with one of the other; the score is the mean cosine between the differences
    of different pairs, for the pairing that makes it largest. All `(P/2)!` pairings are tried for up to 14 conditions;
    beyond that the best of pairwise exchanges from 20 starts is taken.

    Arguments:
        means: the mean representation of each condition.
        labels: `[conditions]` or `[dichotomies, conditions]`, positive on one side.

    Raises ValueError for halves of different sizes, fewer than four conditions, and two conditions with the same mean
    on different sides, between which there is no direction.

    Source: Bernardi et al., "The geometry of abstraction in the hippocampus and prefrontal cortex", 2020.
    """
    conditions = len(means)
    sides = _sides(labels, conditions)
    half = conditions // 2
    if half < 2:
        raise ValueError(f"means: {conditions} conditions; at least four are needed for two coding directions")
    points = means.double() - means.double().mean(0)
    scores = []
    for side in sides:
        arrows = points[side][:, None] - points[~side][None]
        length = arrows.norm(dim=2, keepdim=True)
        if float(length.min()) <= 1e-12 * float(points.norm()):
            raise ValueError(
                "means: two conditions on different sides have the same mean, so no direction between them"
            )
        arrows = (arrows / length).flatten(0, 1)
        scores.append(_best_pairing((arrows @ arrows.T).reshape(half, half, half, half)))
    return torch.stack(scores)


def _best_pairing(cosines: Tensor) -> Tensor:
    half = len(cosines)
    if half <= MOST_PAIRINGS:
        return _pairing_scores(cosines, torch.tensor(list(itertools.permutations(range(half))))).max()
    generator = torch.Generator().manual_seed(0)
    swaps = torch.tensor(list(itertools.combinations(range(half), 2)))
    best = torch.tensor(-1.0, dtype=cosines.dtype)
    for _ in range(20):
        pairing = torch.randperm(half, generator=generator)
        score = _pairing_scores(cosines, pairing[None])[0]
        while True:
            near = pairing.expand(len(swaps), -1).scatter(1, swaps, pairing[swaps.flip(1)])
            scores = _pairing_scores(cosines, near)
            if not float(scores.max()) > float(score) + 1e-12:
                break
            score, pairing = scores.max(), near[int(scores.argmax())]
        best = torch.maximum(best, score)
    return best


def _pairing_scores(cosines: Tensor, pairings: Tensor) -> Tensor:
    """The mean cosine between different pairs, for each of `[pairings, half]`; in blocks of bounded size."""
    half = len(cosines)
    place = torch.arange(half)
    scores = []
    for block in pairings.split(max(1, 2_000_000 // half**2)):
        own = block[:, :, None], block[:, None, :]
        scores.append(cosines[place[:, None], own[0], place[None], own[1]].sum((1, 2)))
    return (torch.cat(scores) - half) / (half * (half - 1))


@dataclass(frozen=True)
class Generalization:
    """Accuracy of each dichotomy, and of each row the share of its tests that were right (NaN: never tested)."""

    accuracy: Float[Tensor, " dichotomies"]
    per_row: Float[Tensor, " rows"]


def ccgp(
    x: Float[Tensor, "rows dim"], labels: Tensor, condition: Int[Tensor, " rows"], *, penalty: float = 1e-3
) -> Generalization:
    """Cross-condition generalisation: a linear classifier learns a dichotomy on some conditions and is asked on others.

    One condition of each side is held out, every pair in turn; the accuracy is over the rows of the two. The classifier
    is ridge regression on the sides as +-1, every condition weighing the same, with `penalty` relative to the mean
    variance; one factorisation for each pair serves all dichotomies.

    Arguments:
        x: representations.
        labels: `[conditions]` or `[dichotomies, conditions]`, positive on one side.
        condition: the condition 0, 1, ... of each row.

    Raises ValueError for halves of different sizes, fewer than four conditions, a constant representation.

    Source: Bernardi et al., "The geometry of abstraction in the hippocampus and prefrontal cortex", 2020.
    """
    count = _conditions(x, condition, least=1)
    sides = _sides(labels, len(count))
    if len(count) < 4:
        raise ValueError(
            f"condition: {len(count)} conditions; at least four are needed to learn on some and ask on others"
        )
    moments = _Moments(x, condition, count)
    signs = sides.double() * 2 - 1
    right, asked = torch.zeros(len(sides)), torch.zeros(len(sides))
    row_right, row_asked = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(x), dtype=torch.float64)
    for a, b in itertools.combinations(range(len(count)), 2):
        apart = (sides[:, a] != sides[:, b]).nonzero().squeeze(1)
        if not len(apart):
            continue
        keep = torch.ones(len(count), dtype=torch.bool)
        keep[[a, b]] = False
        rows = ((condition == a) | (condition == b)).nonzero().squeeze(1)
        correct = moments.correct(keep, signs[apart], rows, penalty)
        for own in (a, b):
            mine = condition[rows] == own
            right[apart] += correct[mine].mean(0).float() / 2
        asked[apart] += 1
        row_right[rows] += correct.sum(1)
        row_asked[rows] += correct.shape[1]
    return Generalization((right / asked).double(), row_right / row_asked)


def shattering_dimension(
    x: Float[Tensor, "rows dim"],
    condition: Int[Tensor, " rows"],
    *,
    labels: Tensor | None = None,
    folds: int = 5,
    penalty: float = 1e-3,
    most: int = 1000,
    generator: torch.Generator | None = None,
) -> Generalization:
    """The mean accuracy of linear classifiers over all balanced dichotomies, on rows that they were not fitted on.

    Near 1 for a high-dimensional code that can separate the conditions in any way, near 0.5 for one that cannot. The
    classifier is that of `ccgp`; each condition is dealt to the folds in turn.

    Raises ValueError for an odd number of conditions (unless `labels` names the dichotomies), a condition with one row,
    a constant representation.

    Source: Rigotti et al., "The importance of mixed selectivity in complex cognitive tasks", 2013.
    """
    count = _conditions(x, condition, least=2)
    if labels is None:
        labels = balanced_dichotomies(len(count), most=most, generator=generator)
    signs = _sides(labels, len(count)).double() * 2 - 1
    folds = min(folds, int(count.min()))
    order = condition.argsort(stable=True)
    first = count.cumsum(0) - count
    fold = torch.empty_like(condition)
    fold[order] = (torch.arange(len(order)) - first[condition[order]]) % folds
    everything = torch.ones(len(count), dtype=torch.bool)
    correct = torch.zeros(len(x), len(signs), dtype=torch.float64)
    for k in range(folds):
        train, test = fold != k, (fold == k).nonzero().squeeze(1)
        moments = _Moments(x[train], condition[train], torch.bincount(condition[train]))
        moments.x, moments.condition = x.double(), condition
        correct[test] = moments.correct(everything, signs, test, penalty)
    by_condition = torch.zeros(len(count), len(signs), dtype=torch.float64).index_add_(0, condition, correct)
    return Generalization((by_condition / count.unsqueeze(1)).mean(0), correct.mean(1))


class _Moments:
    """Mean and second moment of each condition, from which ridge classifiers on any set of conditions follow."""

    def __init__(self, x: Tensor, condition: Tensor, count: Tensor) -> None:
        self.x, self.condition = x.double(), condition
        self.shift = self.x.mean(0)
        centred = self.x - self.shift
        if float(centred.norm()) <= 1e-12 * float(self.x.norm()):
            raise ValueError(f"x: constant over the {len(x)} rows, so that no classifier is defined")
        self.means = torch.zeros(len(count), x.shape[1], dtype=torch.float64).index_add_(0, condition, centred)
        self.means /= count.unsqueeze(1)
        weighted = centred / count.double().sqrt()[condition].unsqueeze(1)
        self.total = weighted.T @ weighted
        self._weighted = weighted

    def correct(self, keep: Tensor, signs: Tensor, rows: Tensor, penalty: float) -> Tensor:
        """Whether rows `[rows]` fall on their side, `[rows, dichotomies]`, learned from the conditions in `keep`."""
        second = self.total
        if not bool(keep.all()):
            left = self._weighted[~keep[self.condition]]
            second = second - left.T @ left
        number = int(keep.sum())
        middle = self.means[keep].mean(0)
        gram = second - number * torch.outer(middle, middle)
        variance = float(gram.diagonal().mean())
        if not variance > 1e-9 * float(self.total.diagonal().mean()):  # the rows to learn from are all the same
            return torch.full((len(rows), len(signs)), 0.5, dtype=torch.float64)
        gram.diagonal().add_(penalty * variance)
        offset = signs[:, keep].mean(1)
        target = (self.means[keep] - middle).T @ (signs[:, keep] - offset[:, None]).T
        weight = torch.cholesky_solve(target, torch.linalg.cholesky(gram))
        score = (self.x[rows] - self.shift - middle) @ weight + offset
        truth = signs[:, self.condition[rows]].T
        tie = score == 0
        return ((score > 0) == (truth > 0)).double().masked_fill(tie, 0.5)
