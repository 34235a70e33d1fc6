"""The best predicting representation of a family among those that are invariant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from erlangen.audit.invariance.approximate import Norm, pooled_weights, represent, violations
from erlangen.audit.invariance.moments import EnvironmentMoments

CHUNK = 2048


@dataclass(frozen=True)
class InvariantChoice:
    """What `find_invariant` chose.

    Attributes:
        index: the number of the representation in the family.
        phi: the representation `[k, features]`.
        w: the regression on it, pooled over the environments.
        risk: its squared error, averaged over the environments.
        eps: its invariance error on the environments of the search.
        found: whether `eps` is within the tolerance; if not, the choice is the most invariant member.
    """

    index: int
    phi: Tensor
    w: Tensor
    risk: float
    eps: float
    found: bool


def coordinate_subsets(features: int, max_size: int, *, among: Sequence[int] | None = None) -> list[tuple[int, ...]]:
    """All sets of at most `max_size` features, the empty one first.

    Arguments:
        among: the features to choose from; all by default.
    """
    pool = list(range(features)) if among is None else list(among)
    if not 0 <= max_size <= len(pool) or any(not 0 <= j < features for j in pool):
        raise ValueError(f"max_size, among: {max_size}, {pool}; sets of at most {len(pool)} of 0 .. {features - 1}")
    return [subset for size in range(max_size + 1) for subset in combinations(pool, size)]


def find_invariant(
    envs: EnvironmentMoments,
    family: Sequence[tuple[int, ...]] | Tensor,
    *,
    tol: float | int,
    norm: Norm = "risk",
) -> InvariantChoice:
    """The member with the least average squared error among those that are `tol`-invariant on these environments.

    Arguments:
        family: sets of features, or a stack `[members, k, features]` of linear representations.
        tol: the invariance error that is allowed, in units of the squared target with norm "risk".

    Raises:
        ValueError: an empty family or a negative tolerance.
    """
    if len(family) == 0:
        raise ValueError("family: empty; give at least one representation")
    if not tol >= 0:
        raise ValueError(f"tol: {tol}; at least 0 is needed")
    risks = envs.yy.new_empty(len(family))
    errors = envs.yy.new_empty(len(family))
    for index, phi in _stacks(family, envs):
        w = pooled_weights(phi, envs)
        second, cross = represent(phi, envs)
        square = (w[..., None, None, :] @ second.mean(-3, keepdim=True) @ w[..., None, :, None])[..., 0, 0, 0]
        risks[index] = envs.yy.mean() - 2 * (w * cross.mean(-2)).sum(-1) + square
        errors[index] = violations(phi, envs, w=w, norm=norm).amax(-1)
    allowed = errors <= tol
    found = bool(allowed.any())
    best = int(torch.where(allowed, risks, torch.inf).argmin() if found else errors.argmin())
    chosen = next(iter(_stacks([family[best]] if not isinstance(family, Tensor) else family[best : best + 1], envs)))[1]
    phi = chosen[0]
    return InvariantChoice(best, phi, pooled_weights(phi, envs), float(risks[best]), float(errors[best]), found)


def _stacks(family: Sequence[tuple[int, ...]] | Tensor, envs: EnvironmentMoments) -> Iterator[tuple[list[int], Tensor]]:
    """The members as matrices, in stacks of one k; the empty set is one row of zeros."""
    if isinstance(family, Tensor):
        for start in range(0, len(family), CHUNK):
            stack = family[start : start + CHUNK]
            yield list(range(start, start + len(stack))), stack
        return
    by_size: dict[int, list[int]] = {}
    for number, subset in enumerate(family):
        by_size.setdefault(len(subset), []).append(number)
    eye = torch.eye(envs.features, dtype=envs.xy.dtype, device=envs.xy.device)
    for size, numbers in by_size.items():
        if size == 0:
            yield numbers, eye.new_zeros(len(numbers), 1, envs.features)
            continue
        for start in range(0, len(numbers), CHUNK):
            part = numbers[start : start + CHUNK]
            yield part, eye[torch.tensor([family[i] for i in part], device=eye.device)]
