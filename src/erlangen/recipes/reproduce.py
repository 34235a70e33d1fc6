"""Run recipes over seeds and keep what was measured: `results/NAME.json` and the table of claims."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from erlangen._registry import recipes, unknown_name
from erlangen.recipes.claim import Interval, over_seeds
from erlangen.recipes.recipe import Budget, Recipe

Tell = Callable[[str], None]
BUDGETS: tuple[Budget, ...] = ("smoke", "laptop", "full")


def reproduce(
    names: Sequence[str],
    *,
    budget: Budget = "laptop",
    seeds: int | None = None,
    confirm: bool = False,
    results: Path,
    tell: Tell = lambda _: None,
) -> list[dict[str, Any]]:
    """Measure recipes and write one file each; seeds that the file already holds for the same code are kept.

    With `confirm` those of other code are kept too, if seed 0 measured again gives every number to the last digit: an
    edit that changes nothing then costs one seed. The seeds so kept say which code measured them.

    The file is `results/NAME.json`, written after every seed. Where that holds the numbers of a larger budget, those
    stay, and a smaller budget writes to `results/BUDGET/NAME.json`.

    Raises ValueError for an unknown name or budget, a count of seeds below one, or a file that is not a result.
    """
    if budget not in BUDGETS:
        raise unknown_name("budget", budget, list(BUDGETS))
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds: {seeds} given; at least 1 is needed")
    chosen: list[Recipe] = [recipes.get(name) for name in names]
    return [_measure(one, budget, seeds or one.seeds[budget], confirm, results, tell) for one in chosen]


def _measure(one: Recipe, budget: Budget, seeds: int, confirm: bool, results: Path, tell: Tell) -> dict[str, Any]:
    path = _place(results, one, budget)
    code = one.code_hash()  # before the run: the files may change while it goes on
    measured_by, stored = _stored(path, budget)
    runs = stored if measured_by == code else {}
    for seed in range(seeds):
        if str(seed) in runs:
            continue
        tell(f"{one.name}: seed {seed + 1} of {seeds}")
        started = time.perf_counter()
        numbers = {name: float(value) for name, value in _alone(one, budget, seed).items()}
        _check_names(one, numbers, runs)
        runs[str(seed)] = {"numbers": numbers, "seconds": round(time.perf_counter() - started, 2)}
        if confirm and seed == 0 and "0" in stored and _strict(stored["0"]["numbers"]) == _strict(numbers):
            tell(f"{one.name}: the same numbers as before; the other seeds are kept")
            runs |= {k: {"code": measured_by, **run} for k, run in stored.items() if k != "0"}
        record = summarise(one, budget, _in_order(runs), code=code)
        write_atomically(path, json.dumps(_strict(record), indent=2, allow_nan=False) + "\n")
    return summarise(one, budget, {k: run for k, run in _in_order(runs).items() if int(k) < seeds}, code=code)


def _alone(one: Recipe, budget: Budget, seed: int) -> dict[str, float]:
    """One seed's numbers, with a random state of their own that leaves the caller's as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return one.measure(budget, seed)


def _place(results: Path, one: Recipe, budget: Budget) -> Path:
    """Where this budget's record goes: aside if the file of that name holds a larger one."""
    path = results / f"{one.name}.json"
    if path.exists() and BUDGETS.index(read_record(path)["budget"]) > BUDGETS.index(budget):
        return results / budget / path.name
    return path


def _in_order(runs: dict[str, Any]) -> dict[str, Any]:
    return {k: runs[k] for k in sorted(runs, key=int)}


def _check_names(one: Recipe, numbers: dict[str, float], runs: dict[str, Any]) -> None:
    expected = set(next(iter(runs.values()))["numbers"]) if runs else set(numbers)
    if not numbers or set(numbers) != expected:
        odd = ", ".join(sorted(set(numbers) ^ expected)) or "none at all"
        raise ValueError(f"{one.name}: every seed must measure the same numbers; this one differs in {odd}")


def summarise(one: Recipe, budget: Budget, runs: dict[str, Any], *, code: str | None = None) -> dict[str, Any]:
    """The record that is stored: every number of every seed, the intervals, and the outcome of each claim.

    `code` is the hash of the code that measured the runs, of the code at hand unless given.
    """
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
        "code": code or one.code_hash(),
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


def read_record(path: Path) -> dict[str, Any]:
    """A stored record. Raises ValueError, with the path, for a file that is not one."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"results: {path} is not JSON; delete it to measure again") from None
    needed = {"name", "budget", "claims", "measured", "seeds", "code"}
    if not isinstance(record, dict) or not needed <= set(record) or record["budget"] not in BUDGETS:
        raise ValueError(f"results: {path} is not a record of a recipe; delete it to measure again")
    return record


def _stored(path: Path, budget: Budget) -> tuple[str, dict[str, Any]]:
    """The hash of the code that measured a file, and the seeds that it holds for this budget."""
    if not path.exists():
        return "", {}
    record = read_record(path)
    if record["budget"] != budget:
        return "", {}
    return record["code"], {
        seed: {**run, "numbers": {k: math.nan if v is None else v for k, v in run["numbers"].items()}}
        for seed, run in record["seeds"].items()
    }


def _strict(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(interval: Interval) -> dict[str, float | None]:
    return {
        name: x if math.isfinite(x) else None
        for name, x in (("mean", interval.mean), ("low", interval.low), ("high", interval.high))
    }
