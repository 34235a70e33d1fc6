"""`erlangen demo`: the whole line on real digits."""

from __future__ import annotations

import time
from typing import Literal

from erlangen.cli.arguments import call, parser_for, progress_allowed
from erlangen.cli.output import note, print_json, print_line


def demo(
    domain: Literal["images"] = "images",
    *,
    out: str = "runs/demo",
    seed: int = 0,
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Fit a plain and a symmetric encoder on real digits, check, audit and index them, and write the report.

    Args:
        domain: What the data are.
        out: The folder for the runs, the index and the report.
        seed: Of the initial weights, the batches and the checks.
        json: Print what was learned as JSON.
        quiet: No progress on standard error.
    """
    from pathlib import Path

    from erlangen.recipes.demo import demo as whole_line

    started = time.perf_counter()
    result = whole_line(Path(out), seed=seed, quiet=not progress_allowed(quiet), tell=lambda line: note(line, quiet))
    if json:
        print_json(result.to_dict())
        return 0
    for name, verdict in result.verdicts.items():
        encoder, group = name.split(", ")
        print_line(f"\nthe {encoder} encoder, {group}:\n{verdict}")
    print_line()
    for sentence in result.sentences:
        print_line(f"• {sentence}")
    print_line(f"\nreport: {result.report}   ({time.perf_counter() - started:.0f} s)")
    return 0


def run(argv: list[str]) -> int:
    parser = parser_for("demo", demo)
    return call(parser, demo, argv)
