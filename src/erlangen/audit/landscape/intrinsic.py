"""The dimension of a random subspace at which training does nearly as well as in all of weight space."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.landscape.projections import make_projection
from erlangen.audit.landscape.subspace_model import SubspaceModel
from erlangen.stats.monotone import crossing, isotonic
from erlangen.train.ensemble import Ensemble, Loss, fit_ensemble

Score = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
DRAWS = 500
CITATION = "Li, Farkhoor, Liu and Yosinski 2018, arXiv:1804.08838"


def hits(output: Tensor, target: Tensor) -> Tensor:
    """Whether the class with the largest output is the right one: `[..., samples]`, 0 or 1."""
    return (output.argmax(-1) == target).float()


def intrinsic_dimension(
    model_fn: Callable[[], nn.Module],
    data: Pair,
    *,
    validation: float | Pair = 0.25,
    dims: Sequence[int] | None = None,
    target: float = 0.9,
    seeds: int = 3,
    projection: str = "fastfood",
    loss: Loss = nn.functional.cross_entropy,
    score: Score = hits,
    steps: int = 400,
    batch_size: int = 128,
    lr: float = 2e-3,
    rates: Sequence[float] = (0.5, 2.0),
    optimizer: Any = "adam",
    level: float = 0.95,
    chunk_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """The smallest `dim` for which `SubspaceModel` scores `target` times what direct training scores ("d_int90").

    All dimensions, rates and seeds are trained at once. For each dimension (and for direct training) the rate counts
    that scores best on average over seeds; a rate of 1 moves each weight about as far a step as direct training at
    `lr`, that is `lr sqrt(D / dim)` on the coordinates with Adam. Within a seed the subspaces are nested. The
    dimension is read off the monotone fit to the mean over seeds, by interpolation in log dim, and its interval is a
    bootstrap over seeds and validation samples; not the first crossing of one run, which is noise.

    Arguments:
        model_fn: builds the network, with weights from torch's global generator.
        data: inputs and targets to train on.
        validation: the share of `data` to hold out, or inputs and targets of their own.
        dims: to try, by default ten in a geometric sequence from 2 to all weights.
        target: share of the direct score.
        seeds: number of initialisations, subspaces and orders of the batches.
        projection: as in `SubspaceModel`; "fastfood" trains all seeds together, others one seed after the other.
        score: `(outputs [members, samples, ...], targets) -> [members, samples]`, averaged over samples; larger is
            better and positive, for it is compared by ratio.
        steps, batch_size, lr, optimizer, loss, chunk_size: as in `fit_ensemble`.
        rates: multiples of `lr` to choose from.

    Returns:
        A finding whose value is the dimension; infinite where even the largest does not get there, 0 where the
        untrained network does. `details` has the
        curve, the scores, the rates chosen and the number of weights.

    Raises:
        ValueError: by name, for what does not fit.

    Source: Li, Farkhoor, Liu and Yosinski, Measuring the Intrinsic Dimension of Objective Landscapes, 2018,
    arXiv:1804.08838.
    """
    if not 0 < target <= 1 or seeds < 1 or not rates or min(rates) <= 0:
        raise ValueError(f"target, seeds, rates: {target}, {seeds}, {rates}; a share, at least 1, positive numbers")
    train, held = _split(data, validation, seed)
    models = [_built(model_fn, seed + s) for s in range(seeds)]
    size = SubspaceModel(models[0], 1).size
    tried = _check_dims(dims, size)
    batch = min(batch_size, len(train[0]))
    options: dict[str, Any] = {
        "loss": loss,
        "steps": steps,
        "batch_size": batch,
        "optimizer": optimizer,
        "chunk_size": chunk_size,
        "record_every": steps,
    }
    direct = _direct(models, train, held, score, [lr * r for r in rates], options, seed)
    inside = _inside(models, train, held, score, tried, size, projection, lr, rates, options, seed)
    best = inside.mean((0, 3)).argmax(1)  # inside: [seeds, dims, rates, samples]
    chosen = inside[:, torch.arange(len(tried)), best]
    untrained = _scores(Ensemble(models), held, score, chunk_size)
    found = _summarise(untrained, direct, chosen, torch.tensor(tried, dtype=torch.float64), target, level, seed)
    details = {"rates": [rates[int(b)] for b in best], "weights": size, "target": target, "projection": projection}
    return _finding(found, tried, size, seeds, level, details)


def _split(data: Pair, validation: float | Pair, seed: int) -> tuple[Pair, Pair]:
    x, y = data
    if len(x) != len(y):
        raise ValueError(f"data: {len(x)} inputs for {len(y)} targets")
    if not isinstance(validation, float):
        return (x, y), validation
    count = round(validation * len(x))
    if not 1 <= count < len(x):
        raise ValueError(f"validation: {validation} of {len(x)} samples is {count}; some must be left on both sides")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return (x[order[count:]], y[order[count:]]), (x[order[:count]], y[order[:count]])


def _built(model_fn: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_fn()


def _check_dims(dims: Sequence[int] | None, size: int) -> list[int]:
    if dims is None:
        return sorted({round(2 * (size / 2) ** (i / 9)) for i in range(10)} if size > 2 else {1, size})
    tried = list(dims)
    if not tried or tried[0] < 1 or tried[-1] > size or any(a >= b for a, b in pairwise(tried)):
        raise ValueError(f"dims: {tried}; increasing numbers from 1 to the {size} trainable weights are needed")
    return tried


def _direct(
    models: list[nn.Module],
    train: Pair,
    held: Pair,
    score: Score,
    lrs: list[float],
    options: dict[str, Any],
    seed: int,
) -> Tensor:
    """Scores of direct training at its best rate, `[seeds, samples]`."""
    members = [(s, rate) for s in range(len(models)) for rate in lrs]
    run = fit_ensemble(
        [models[s] for s, _ in members],
        *train,
        lr=[rate for _, rate in members],
        seeds=[seed + s for s, _ in members],
        **options,
    )
    scores = _scores(run.ensemble, held, score, options["chunk_size"]).unflatten(0, (len(models), len(lrs)))
    return scores[:, int(scores.mean((0, 2)).argmax())]


def _inside(
    models: list[nn.Module],
    train: Pair,
    held: Pair,
    score: Score,
    dims: list[int],
    size: int,
    projection: str,
    lr: float,
    rates: Sequence[float],
    options: dict[str, Any],
    seed: int,
) -> Tensor:
    """Scores in the subspaces, `[seeds, dims, rates, samples]`."""
    everyone = list(range(len(models)))
    parts = []
    for group in [everyone] if projection == "fastfood" else [[s] for s in everyone]:
        members, lrs, orders = [], [], []
        for s in group:
            empty = SubspaceModel(models[s], 1)
            sizes = [shape.numel() for shape in empty.shapes.values()]
            shared = make_projection(projection, dims[-1], sizes, seed=seed + s, dtype=empty.v.dtype)
            for dim in dims:
                for rate in rates:
                    members.append(SubspaceModel(models[s], dim, projection=shared, seed=seed + s))
                    lrs.append(lr * rate * math.sqrt(size / dim))
                    orders.append(seed + s)
        run = fit_ensemble(members, *train, lr=lrs, seeds=orders, **options)
        parts.append(_scores(run.ensemble, held, score, options["chunk_size"]))
    return torch.cat(parts).unflatten(0, (len(models), len(dims), len(rates)))


def _scores(ensemble: Ensemble, held: Pair, score: Score, chunk_size: int | None) -> Tensor:
    x, y = held
    parts = [
        score(ensemble(a, chunk_size=chunk_size), b).double() for a, b in zip(x.split(256), y.split(256), strict=True)
    ]
    return torch.cat(parts, 1).cpu()


def _summarise(
    untrained: Tensor, direct: Tensor, chosen: Tensor, dims: Tensor, target: float, level: float, seed: int
) -> dict[str, Any]:
    """The crossing, its interval, and the curve with intervals, from scores per seed and sample."""
    seeds, samples = direct.shape
    generator = torch.Generator().manual_seed(seed)
    seed_draw = torch.randint(seeds, (DRAWS, seeds), generator=generator)
    seed_weight = nn.functional.one_hot(seed_draw, seeds).double().mean(1)
    sample_draw = torch.randint(samples, (DRAWS, samples), generator=generator)
    sample_weight = torch.zeros(DRAWS, samples, dtype=torch.float64)
    sample_weight.scatter_add_(1, sample_draw, torch.full((DRAWS, samples), 1 / samples, dtype=torch.float64))
    everything = torch.cat([direct[:, None], untrained[:, None], chosen], 1)  # [seeds, 2 + dims, samples]
    drawn = torch.einsum("bs,sdn,bn->bd", seed_weight, everything, sample_weight)
    mean = everything.mean((0, 2))
    relative, relative_drawn = mean[1:] / mean[0], drawn[:, 1:] / drawn[:, :1]
    value, values = _reached(dims, relative, target), _reached(dims, relative_drawn, target).sort().values
    relative, relative_drawn = relative[1:], relative_drawn[:, 1:]
    low, high = int((1 - level) / 2 * DRAWS), math.ceil((1 + level) / 2 * DRAWS) - 1
    ordered = relative_drawn.sort(0).values
    return {
        "value": float(value),
        "low": float(values[low]),
        "high": float(values[high]),
        "relative": relative.tolist(),
        "relative_low": ordered[low].tolist(),
        "relative_high": ordered[high].tolist(),
        "score": float(mean[0]),
        "samples": samples,
    }


def _reached(dims: Tensor, relative: Tensor, target: float) -> Tensor:
    """Where the monotone curve reaches the target; 0 where the untrained network, which comes first, is there already."""
    found = crossing(dims, isotonic(relative[..., 1:]), target)
    return torch.where(relative[..., 0] >= target, 0.0, found)


def _finding(
    found: dict[str, Any], dims: list[int], size: int, seeds: int, level: float, details: dict[str, Any]
) -> Finding:
    value, percent = found["value"], round(100 * details["target"])
    if value == 0:
        meaning = f"The untrained network already has {percent} % of the score of a trained one: nothing was learned."
    elif math.isfinite(value):
        at_most = "at most " if value <= dims[0] else ""
        meaning = (
            f"Training in {at_most}{value:.0f} random directions of the {size:,} weights reaches {percent} % of the "
            f"score of training them all ({found['score']:.3g})."
        )
    else:
        meaning = f"Not even {dims[-1]:,} of {size:,} dimensions reach {percent} % of the direct score."
    figure = FigureSpec(
        "curve",
        f"How many dimensions does training need? {percent} % of the direct score",
        "dimensions of the random subspace (log10)",
        "score relative to training all weights",
        [
            {
                "name": "in the subspace",
                "x": [math.log10(d) for d in dims],
                "y": found["relative"],
                "low": found["relative_low"],
                "high": found["relative_high"],
            }
        ],
        lines=[{"name": f"{percent} % of direct training", "value": details["target"]}],
    )
    warnings = () if seeds > 1 else ("one seed: the interval knows the validation samples only",)
    return Finding(
        "landscape",
        f"landscape.intrinsic_dimension_{percent}",
        value,
        ci=Interval(found["low"], found["high"], level, "seeds", seeds),
        reference=Reference(float(size), kind="baseline", source="all weights of the network"),
        meaning=meaning,
        rule="no threshold is defensible, so no verdict",
        figure=figure,
        assumptions=("the score is compared by ratio", "a monotone curve in the dimension", "nested random subspaces"),
        warnings=warnings,
        citation=CITATION,
        details={**details, "dims": dims, "relative": found["relative"], "direct_score": found["score"]},
    )
