"""Timing side by side: every case runs once a round, in turn, so that a slow moment of the machine hits all of them."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds a call of each case takes (median and quartiles) and its median over that of the first case."""

    medians: dict[str, float]
    quartiles: dict[str, tuple[float, float]]
    ratios: dict[str, float]
    repeats: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_parser(description: str | None, *, repeats: int, threads: int = 1) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--output", default=None, help="write the measurements to this JSON file")
    return parser


def interleave(
    cases: Mapping[str, Callable[[], object]],
    repeats: int = 15,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time `cases` in turn, `repeats` rounds after `warmup` unmeasured ones; the first case is the reference of the ratios.

    `clock=time.process_time` counts the processor's seconds: other work on the machine then decides less.
    """
    if len(cases) < 1 or repeats < 2:
        raise ValueError(f"cases, repeats: got {len(cases)} and {repeats}; at least 1 and 2 are needed")
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(warmup + repeats):
        for name, call in cases.items():
            start = clock()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    quarters = {name: statistics.quantiles(values, n=4) for name, values in seconds.items()}
    reference = next(iter(medians.values()))
    ratios = {name: value / reference for name, value in medians.items()}
    return Timing(medians, {name: (q[0], q[2]) for name, q in quarters.items()}, ratios, repeats)


def write_json(path: str | Path | None, rows: list[dict[str, Any]], **facts: Any) -> None:
    """Write the rows with what the machine is to `path`; nothing where `path` is None."""
    if path is None:
        return
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "platform": platform.platform()}
    Path(path).write_text(json.dumps({"machine": machine, **facts, "rows": rows}, indent=1) + "\n")
