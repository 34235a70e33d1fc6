"""How much of a layer's variance each known feature explains, beside how well it can be read."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.stats.linear_probe import fit_ridge_classes

MOST_EXACT = 10
SELECTIVE = 0.1
LEARNED = 0.95


@dataclass(frozen=True)
class FeatureVariance:
    """Shares of a layer's variance.

    - `explained`: by each feature alone, corrected for chance; NaN for a feature that cannot be told from others.
    - `raw`: the same without the correction.
    - `partial`: each feature's part of `joint` (Shapley value of main-effects regression); empty without it.
    - `joint`: by all features together, corrected.
    - `units`: the share of units of whose variance a feature explains more than a tenth.
    - `aliased`: groups of features that are functions of each other.
    """

    explained: dict[str, float]
    raw: dict[str, float]
    partial: dict[str, float]
    joint: float
    units: dict[str, float]
    aliased: list[tuple[str, ...]]


def variance_explained(
    h: Float[Tensor, "rows dim"], labels: Mapping[str, Tensor] | Tensor, *, partial: bool = True
) -> FeatureVariance:
    """The fraction of a layer's variance that features explain, `sum Var(E[h | y]) / sum Var(h)` over units.

    A feature of p + 1 values explains p / (n - 1) of noise by chance: reported is
    `(VE - p / (n - 1)) / (1 - p / (n - 1))`, which is 0 on average where there is nothing. For correlated features
    `partial` splits what they explain together by the Shapley value (over all orders up to ten features, over 200
    random ones beyond).

    Arguments:
        h: activations, best of inputs that the model was not fitted on.
        labels: by name, or `[rows, features]`; any numbers, each different value being a level.

    Raises ValueError for NaN, sizes that do not fit, a constant representation, more levels than rows allow.

    Source: Lampinen, Chan and Hermann, "Learned feature representations are biased by complexity, learning order,
    position, and more", 2024, arXiv:2405.05847.
    """
    named = _named(labels)
    n = len(h)
    if not bool(torch.isfinite(h).all()):
        raise ValueError("h: contains NaN or infinite values")
    codes = {name: _dummies(name, value, n) for name, value in named.items()}
    x = h.double().cpu()
    x = x - x.mean(0)
    total = float(x.square().sum())
    if total <= 1e-24 * float(h.double().square().sum()) or total == 0:
        raise ValueError(f"h: constant over the {n} rows, so that it has no variance to explain")
    levels = sum(code.shape[1] for code in codes.values())
    if levels >= n - 1:
        raise ValueError(f"labels: {levels} levels for {n} rows; fewer are needed")
    raw, units = {}, {}
    for name, code in codes.items():
        own = _explained(code, x)
        raw[name] = float(own.sum()) / total
        variance = x.square().sum(0)
        units[name] = float((own > SELECTIVE * variance).double().mean())
    explained = {name: _corrected(raw[name], code.shape[1], n) for name, code in codes.items()}
    aliased = _aliased(codes)
    for name in {name for group in aliased for name in group}:
        explained[name] = math.nan
    everything = torch.cat(list(codes.values()), 1)
    joint = _corrected(float(_explained(everything, x).sum()) / total, int(torch.linalg.matrix_rank(everything)), n)
    shares = _shapley(codes, x, total) if partial else {}
    return FeatureVariance(explained, raw, shares, joint, units, aliased)


def _named(labels: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor]:
    if isinstance(labels, Tensor):
        columns = labels.unsqueeze(1) if labels.dim() == 1 else labels
        return {str(j): columns[:, j] for j in range(columns.shape[1])}
    if not labels:
        raise ValueError("labels: no features; give at least one")
    return dict(labels)


def _dummies(name: str, value: Tensor, rows: int) -> Tensor:
    """Centred indicators of all levels but one, `[rows, levels - 1]`."""
    if value.shape != (rows,):
        raise ValueError(
            f"labels: {name!r} has shape {tuple(value.shape)} for {rows} rows; one value for each is needed"
        )
    levels, place = value.cpu().unique(return_inverse=True)
    if len(levels) < 2:
        raise ValueError(f"labels: {name!r} has one value only; a feature that does not vary explains nothing")
    code = torch.nn.functional.one_hot(place, len(levels)).double()[:, 1:]
    return code - code.mean(0)


def _explained(code: Tensor, x: Tensor) -> Tensor:
    """The sum of squares of each unit that regression on `code` explains; safe for columns that depend on each other."""
    gram, cross = code.T @ code, code.T @ x
    values, vectors = torch.linalg.eigh(gram)
    keep = values > 1e-10 * values[-1]
    projected = vectors[:, keep].T @ cross
    return (projected.square() / values[keep].unsqueeze(1)).sum(0)


def _corrected(value: float, parameters: int, rows: int) -> float:
    chance = parameters / (rows - 1)
    return (value - chance) / (1 - chance)


def _aliased(codes: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """Pairs of features with the same span: knowing one is knowing the other."""
    found: list[tuple[str, ...]] = []
    for a, b in itertools.combinations(codes, 2):
        if codes[a].shape[1] == codes[b].shape[1]:
            rank = int(torch.linalg.matrix_rank(torch.cat([codes[a], codes[b]], 1), rtol=1e-8))
            if rank == codes[a].shape[1]:
                found.append((a, b))
    return found


def _shapley(codes: Mapping[str, Tensor], x: Tensor, total: float) -> dict[str, float]:
    names, n = list(codes), len(x)
    known: dict[frozenset[str], float] = {frozenset(): 0.0}

    def worth(group: frozenset[str]) -> float:
        if group not in known:
            code = torch.cat([codes[name] for name in names if name in group], 1)
            rank = int(torch.linalg.matrix_rank(code))
            known[group] = _corrected(float(_explained(code, x).sum()) / total, rank, n)
        return known[group]

    if len(names) > MOST_EXACT:
        shares = dict.fromkeys(names, 0.0)
        generator = torch.Generator().manual_seed(0)
        for _ in range(200):
            before: frozenset[str] = frozenset()
            for i in torch.randperm(len(names), generator=generator).tolist():
                shares[names[i]] += (worth(before | {names[i]}) - worth(before)) / 200
                before |= {names[i]}
        return shares
    shares = {}
    for name in names:
        others = [other for other in names if other != name]
        shares[name] = sum(
            (worth(frozenset(group) | {name}) - worth(frozenset(group))) / (len(names) * math.comb(len(others), size))
            for size in range(len(others) + 1)
            for group in itertools.combinations(others, size)
        )
    return shares


def readable(h: Float[Tensor, "rows dim"], label: Tensor) -> Tensor:
    """Whether a ridge classifier fitted on one half of the rows is right about each row of the other half."""
    levels, place = label.unique(return_inverse=True)
    order = torch.randperm(len(h), generator=torch.Generator().manual_seed(0))
    train, test = order[: len(h) // 2], order[len(h) // 2 :]
    probe = fit_ridge_classes(h[train], place[train], len(levels), penalty=1e-3 * len(train))
    return probe.predict(h[test]) == place[test]


def feature_bias_report(model: torch.nn.Module, data: Any, *, features: Mapping[str, Tensor], **options: Any) -> Any:
    """An audit with the `feature_bias` probe only: the variance that each named feature explains, layer by layer.

    `features` has one value for every sample of `data`, in its order; `options` are those of `audit`.
    """
    from erlangen.audit.probes.feature_bias import FeatureBias
    from erlangen.audit.run import audit

    return audit(model, data, probes=[FeatureBias(features)], **options)
