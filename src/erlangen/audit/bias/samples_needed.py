"""How many samples an architecture needs to reach an accuracy on a task that makes as many as asked for."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.stats.monotone import crossing, isotonic
from erlangen.train.ensemble import Ensemble, fit_ensemble

DRAWS = 500
ROUNDS = 4
CITATION = "Lahoti, Karp, Winston, Singh and Li 2024, arXiv:2403.15707"


@runtime_checkable
class Task(Protocol):
    """What makes samples with labels +-1, and knows how well one can do."""

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]: ...

    def oracle_accuracy(self) -> float: ...


def logistic(output: Tensor, target: Tensor) -> Tensor:
    """`mean log(1 + exp(-y f))` for targets +-1."""
    return nn.functional.softplus(-target * output).mean()


def sample_complexity(
    models: Mapping[str, Callable[[], nn.Module]],
    task: Task,
    *,
    target: float | None = None,
    n_grid: Sequence[int] = (16, 32, 64, 128, 256, 512, 1024, 2048),
    seeds: int = 3,
    steps: int = 400,
    batch_size: int = 64,
    lrs: Sequence[float] | Mapping[str, Sequence[float]] = (0.03, 0.1, 0.3),
    momentum: float = 0.9,
    optimizer: Any = "sgd",
    held_out: int = 1000,
    test: int = 4000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Finding]:
    """For each architecture, the number of training samples at which its test accuracy reaches `target`.

    For each n, `seeds` data sets are drawn and one network is trained on each with each rate, all at once. The rate
    and how long to train (in four rounds) are chosen for each of them by its accuracy on samples held out for that; the
    test samples decide nothing. n is read off the monotone fit to the accuracies over the grid, by
    interpolation in log n; its interval is a bootstrap over seeds and test samples.

    The optimizer is SGD by default: the theorems are about algorithms that commute with rotations, and Adam does not.

    Arguments:
        models: name -> function that builds a network `[batch, ...] -> [batch]`, from torch's global generator; the
            sign of the output is the answer.
        task: has `sample(n, generator=...)` with labels +-1 and `oracle_accuracy()`, such as `data.DynamicSignal`.
        target: accuracy to reach, by default 0.98 of the oracle's.
        n_grid: increasing numbers of samples.
        lrs: rates to choose from, for all or by the name of the architecture.

    Returns:
        A finding for each name; the value is infinite where the target is above what the oracle reaches ("unreachable":
        nothing is trained then) or is not reached on the grid.

    Raises:
        ValueError: by name.

    Source: Lahoti, Karp, Winston, Singh and Li, Role of Locality and Weight Sharing in Image-Based Tasks, 2024,
    arXiv:2403.15707.
    """
    grid = list(n_grid)
    if not models:
        raise ValueError("models: none given")
    if not grid or grid[0] < 2 or sorted(set(grid)) != grid:
        raise ValueError(f"n_grid: {grid}; increasing numbers from 2 are needed")
    if seeds < 1 or steps < ROUNDS:
        raise ValueError(f"seeds, steps: {seeds}, {steps}; at least 1 and {ROUNDS}")
    oracle = task.oracle_accuracy()
    target = 0.98 * oracle if target is None else target
    if not 0.5 < target <= 1:
        raise ValueError(f"target: {target}; an accuracy above chance is needed")
    if target > oracle:
        return {name: _unreachable(name, target, oracle) for name in models}
    generator = torch.Generator().manual_seed(seed)
    sets = {n: _sets(task, n, seeds, generator) for n in grid}
    held, tested = task.sample(held_out, generator=generator), task.sample(test, generator=generator)
    findings = {}
    for name, build in models.items():
        rates = list(lrs[name] if isinstance(lrs, Mapping) else lrs)
        rows = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for n in grid:
                rows.append(
                    _best(build, sets[n], rates, held, tested, steps, min(batch_size, n), momentum, optimizer, seed)
                )
        hits = torch.stack([row[0] for row in rows], 1)  # [seeds, grid, test]
        findings[name] = _finding(name, hits, grid, target, oracle, level, seed, [row[1] for row in rows])
    return findings


def _sets(task: Task, n: int, seeds: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    drawn = [task.sample(n, generator=generator) for _ in range(seeds)]
    return torch.stack([x for x, _ in drawn]), torch.stack([y for _, y in drawn])


def _best(
    build: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    rates: list[float],
    held: tuple[Tensor, Tensor],
    tested: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int,
    momentum: float,
    optimizer: Any,
    seed: int,
) -> tuple[Tensor, dict[str, Any]]:
    """Hits `[seeds, test]` of the rate and round that do best on the held-out samples, and which those are."""
    seeds = len(data[0])
    first = [build() for _ in range(seeds)]
    ensemble = Ensemble([model for model in first for _ in rates])
    x, y = (part.repeat_interleave(len(rates), 0) for part in data)
    best = torch.full((seeds,), -1.0, dtype=torch.float64)
    rate, round_, found = torch.zeros(seeds, dtype=torch.int64), torch.zeros(seeds, dtype=torch.int64), None
    for number in range(ROUNDS):
        fit_ensemble(
            ensemble,
            x,
            y,
            loss=logistic,
            each=True,
            steps=steps // ROUNDS,
            batch_size=batch_size,
            lr=rates * seeds,
            momentum=momentum,
            optimizer=optimizer,
            seeds=[seed + 97 * number + member // len(rates) for member in range(len(ensemble))],
            record_every=steps,
        )
        score, place = _hits(ensemble, held).mean(1).view(seeds, len(rates)).max(1)
        hits = _hits(ensemble, tested).view(seeds, len(rates), -1)[torch.arange(seeds), place]
        better = score > best
        best, rate = torch.where(better, score, best), torch.where(better, place, rate)
        round_ = torch.where(better, number + 1, round_)
        found = hits if found is None else torch.where(better[:, None], hits, found)
    assert found is not None
    return found, {"lr": [rates[int(i)] for i in rate], "steps": (round_ * (steps // ROUNDS)).tolist()}


def _hits(ensemble: Ensemble, data: tuple[Tensor, Tensor]) -> Tensor:
    """Right answers; an output of zero is half of one."""
    parts = []
    for x, y in zip(data[0].split(1000), data[1].split(1000), strict=True):
        margin = ensemble(x) * y
        parts.append((margin > 0).double() + 0.5 * (margin == 0).double())
    return torch.cat(parts, 1).cpu()


def _finding(
    name: str,
    hits: Tensor,
    grid: list[int],
    target: float,
    oracle: float,
    level: float,
    seed: int,
    chosen: list[dict[str, Any]],
) -> Finding:
    seeds, _, count = hits.shape
    generator = torch.Generator().manual_seed(seed)
    mean = hits.mean(2)  # the test samples are many: their share of the noise is drawn as normal, per point
    noise = (mean * (1 - mean) / count).sqrt()
    picks = torch.randint(seeds, (DRAWS, seeds), generator=generator)
    drawn = (mean + noise * torch.randn(DRAWS, *mean.shape, generator=generator, dtype=mean.dtype)).gather(
        1, picks[:, :, None].expand(-1, -1, len(grid))
    )
    numbers = torch.tensor(grid, dtype=torch.float64)
    accuracy, curves = mean.mean(0), drawn.mean(1)
    value = float(crossing(numbers, isotonic(accuracy), target))
    values = crossing(numbers, isotonic(curves), target).sort().values
    low, high = int((1 - level) / 2 * DRAWS), math.ceil((1 + level) / 2 * DRAWS) - 1
    ordered = curves.sort(0).values
    at_most = "at most " if value <= grid[0] else ""
    if math.isfinite(value):
        meaning = f"{name} needs {at_most}{value:.0f} samples to be right in {100 * target:.1f} % of cases."
    else:
        meaning = f"{name} is not right in {100 * target:.1f} % of cases with {grid[-1]} samples either."
    return Finding(
        "sample_complexity",
        "sample_complexity.samples",
        value,
        layer=name,
        ci=Interval(float(values[low]), float(values[high]), level, "seeds", seeds),
        reference=Reference(oracle, kind="theory", source="accuracy of the oracle that knows the signal"),
        meaning=meaning,
        rule="a number to compare between architectures, so no verdict",
        direction="lower",
        figure=FigureSpec(
            "curve",
            f"Test accuracy of {name} over the number of samples",
            "training samples (log2)",
            "test accuracy",
            [
                {
                    "name": name,
                    "x": [math.log2(n) for n in grid],
                    "y": accuracy.tolist(),
                    "low": ordered[low].tolist(),
                    "high": ordered[high].tolist(),
                }
            ],
            lines=[{"name": "target", "value": target}, {"name": "oracle", "value": oracle}],
        ),
        warnings=() if seeds > 1 else ("one seed: the interval knows the test samples only",),
        citation=CITATION,
        details={"grid": grid, "accuracy": accuracy.tolist(), "chosen": chosen, "target": target, "oracle": oracle},
    )


def _unreachable(name: str, target: float, oracle: float) -> Finding:
    return Finding(
        "sample_complexity",
        "sample_complexity.samples",
        math.inf,
        layer=name,
        reference=Reference(oracle, kind="theory", source="accuracy of the oracle that knows the signal"),
        verdict="not_applicable",
        meaning=f"Unreachable: the oracle is right in {100 * oracle:.1f} % of cases, {100 * target:.1f} % are asked for.",
        citation=CITATION,
        details={"target": target, "oracle": oracle},
    )
