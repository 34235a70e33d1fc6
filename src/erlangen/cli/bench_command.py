"""`erlangen bench NAME...`: run the benchmarks of a source checkout and print their ratios."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from erlangen._registry import unknown_name
from erlangen.cli.arguments import make_parser, parse
from erlangen.cli.output import note, print_json, print_table


def build_parser() -> ArgumentParser:
    parser = make_parser("bench", "Time ours beside the peers', in a checkout of the sources, and print the ratios.")
    parser.add_argument("names", nargs="*", default=[], help="benchmarks; all of them by default")
    parser.add_argument("--list", action="store_true", help="print the names of the benchmarks and run none")
    parser.add_argument("--folder", type=str | None, default=None, help="where they are; found from here by default")
    parser.add_argument("--threads", type=list[int], default=[1, 2], help="numbers of threads to time with, as [1,2]")
    parser.add_argument("--results", type=str | None, default=None, help="keep the measurements in this folder")
    parser.add_argument("--docs", type=str | None, default=None, help="write the table of --results to this file")
    parser.add_argument("--json", action="store_true", help="print every measurement as JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted everywhere; benchmarks draw with seeds of their own"
    )
    return parser


def run(argv: list[str]) -> int:
    from erlangen.recipes.side_by_side import find_folder, find_scripts, keep, measure
    from erlangen.recipes.speed_table import table_rows, write_speeds

    options = parse(build_parser(), argv)
    folder = find_folder(options["folder"])
    scripts = find_scripts(folder)
    for name in options["names"]:
        if name not in scripts:
            raise unknown_name("names", name, list(scripts))
    if min(options["threads"], default=0) < 1:
        raise ValueError(f"--threads: {options['threads']} given; positive numbers such as [1,2] are needed")
    if options["docs"] and not options["results"]:
        raise ValueError("--docs: the table is made of the measurements in --results; name that folder too")
    chosen = options["names"] or list(scripts)
    if options["list"]:
        print_json(chosen) if options["json"] else print_table("", ["benchmark"], [[name] for name in chosen])
        return 0
    measured, failed = {}, []
    for name in chosen:
        note(f"running {scripts[name]}", options["quiet"])
        try:
            runs = [measure(folder, scripts[name], threads=t, quiet=options["quiet"]) for t in options["threads"]]
        except ValueError as error:
            if len(chosen) == 1:
                raise
            failed.append(str(error))
            note(str(error), quiet=False)
            continue
        measured[name] = runs
        if options["results"]:
            keep(Path(options["results"]), name, measured[name])
    if options["docs"]:
        write_speeds(Path(options["results"]), Path(options["docs"]))
    if options["json"]:
        print_json(measured)
    else:
        rows = [
            [name, result["machine"]["threads"], *row]
            for name, runs in measured.items()
            for result in runs
            for row in table_rows(result)
        ]
        print_table("", ["benchmark", "threads", "setting", "reference", "the others, relative to it"], rows)
    return int(bool(failed))
