"""Run recipes over seeds and keep what was measured: `results/NAME.json` and the table of claims."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from erlangen._registry import recipes
from erlangen.recipes.claim import over_seeds
from erlangen.recipes.recipe import Budget, Recipe

Tell = Callable[[str], None]


def reproduce(
    names: Sequence[str],
    *,
    budget: Budget = "laptop",
    seeds: int | None = None,
    results: Path,
    tell: Tell = lambda _: None,
) -> list[dict[str, Any]]:
    """Measure recipes and write one file each; seeds that the file already holds for the same code are kept.

    Raises ValueError for an unknown name or a count of seeds below one.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds: {seeds} given; at least 1 is needed")
    chosen: list[Recipe] = [recipes.get(name) for name in names]
    return [_measure(one, budget, seeds or one.seeds[budget], results, tell) for one in chosen]


def _measure(one: Recipe, budget: Budget, seeds: int, results: Path, tell: Tell) -> dict[str, Any]:
    path = results / f"{one.name}.json"
    runs = _kept(path, one, budget)
    for seed in range(seeds):
        if str(seed) in runs:
            continue
        tell(f"{one.name}: seed {seed + 1} of {seeds}")
        started = time.perf_counter()
        numbers = {name: float(value) for name, value in one.measure(budget, seed).items()}
        runs[str(seed)] = {"numbers": numbers, "seconds": round(time.perf_counter() - started, 2)}
        record = summarise(one, budget, {k: runs[k] for k in sorted(runs, key=int)})
        write_atomically(path, json.dumps(record, indent=2, sort_keys=False) + "\n")
    return summarise(one, budget, {k: runs[k] for k in sorted(runs, key=int) if int(k) < seeds})


def summarise(one: Recipe, budget: Budget, runs: dict[str, Any]) -> dict[str, Any]:
    """The record that is stored: every number of every seed, the intervals, and the outcome of each claim."""
    import torch

    from erlangen import __version__

    names = list(next(iter(runs.values()))["numbers"])
    measured = {name: [run["numbers"][name] for run in runs.values()] for name in names}
    return {
        "name": one.name,
        "title": one.title,
        "source": one.source,
        "budget": budget,
        "claims": [
            {
                "text": claim.text,
                "control": claim.control,
                "outcome": claim.outcome(measured),
                "difference": _plain(claim.difference(measured)),
                "statement": f"{claim.left} - {claim.right} {claim.relation} {claim.margin:g}",
            }
            for claim in one.claims
        ],
        "measured": {name: _plain(over_seeds(values)) for name, values in measured.items()},
        "explanation": one.explanation,
        "seconds": round(sum(run["seconds"] for run in runs.values()), 1),
        "seeds": runs,
        "code": one.code_hash(),
        "versions": {"erlangen": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def is_stale(record: dict[str, Any]) -> bool:
    """True when the code that measured `record` is not the code at hand."""
    return record["name"] not in recipes or recipes.get(record["name"]).code_hash() != record.get("code")


def write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _kept(path: Path, one: Recipe, budget: Budget) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"results: {path} is not JSON; delete it to measure again") from None
    if record.get("budget") != budget or record.get("code") != one.code_hash():
        return {}
    return dict(record["seeds"])


def _plain(interval: Any) -> dict[str, Any]:
    def finite(x: float) -> float | None:
        return x if abs(x) != float("inf") and x == x else None

    return {"mean": finite(interval.mean), "low": finite(interval.low), "high": finite(interval.high)}
