"""`erlangen reproduce NAME...`: re-measure claims."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from erlangen.cli.arguments import make_parser, parse
from erlangen.cli.output import note, print_json, print_table

Budget = Literal["smoke", "laptop", "full"]


def build_parser() -> ArgumentParser:
    parser = make_parser("reproduce", "Re-measure the claims of recipes. Exit code 1 when a claim does not reproduce.")
    parser.add_argument("names", nargs="*", default=[], help="recipes, as erlangen list --kind recipes shows them")
    parser.add_argument("--all", action="store_true", help="every recipe")
    parser.add_argument("--budget", type=Budget, default="laptop", help="how much to compute")
    parser.add_argument("--seeds", type=int | None, default=None, help="how many; the recipe's own number by default")
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="keep the seeds of code that has changed since, if seed 0 measured again gives the same numbers",
    )
    parser.add_argument("--results", type=str, default="results", help="the folder of results")
    parser.add_argument("--docs", type=str | None, default=None, help="also write the table of claims to this file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--seed", type=int, default=0, help="accepted everywhere; recipes number their seeds from 0")
    return parser


def run(argv: list[str]) -> int:
    from erlangen._registry import recipes
    from erlangen.recipes.reproduce import reproduce
    from erlangen.recipes.table import write_claims

    options = Namespace(**parse(build_parser(), argv))
    names = recipes.names() if options.all else list(options.names or [])
    if not names:
        raise ValueError(f"names: none given; name a recipe or --all. There are: {', '.join(recipes.names())}")
    records = reproduce(
        names,
        budget=options.budget,
        seeds=options.seeds,
        confirm=options.confirm,
        results=Path(options.results),
        tell=lambda line: note(line, options.quiet),
    )
    if options.docs is not None:
        write_claims(Path(options.results), Path(options.docs))
    if options.json:
        print_json(records)
    else:
        rows = [[r["name"], c["text"], _number(c["difference"]), c["outcome"]] for r in records for c in r["claims"]]
        print_table("", ["recipe", "claim", "difference", "outcome"], rows)
    return int(any(claim["outcome"] == "not reproduced" for record in records for claim in record["claims"]))


def _number(value: dict[str, float | None]) -> str:
    if value["mean"] is None:
        return "not finite"
    if value["low"] is None:
        return f"{value['mean']:.3g} (one seed)"
    return f"{value['mean']:.3g} [{value['low']:.3g}, {value['high']:.3g}]"
