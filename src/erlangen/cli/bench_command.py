"""`erlangen bench NAME...`: run the benchmarks of a source checkout and print their ratios."""

from __future__ import annotations

import json as json_format
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from erlangen._registry import unknown_name
from erlangen.cli.arguments import make_parser, parse
from erlangen.cli.output import note, print_json, print_table


def build_parser() -> ArgumentParser:
    parser = make_parser("bench", "Time ours beside the peers', in a checkout of the sources, and print the ratios.")
    parser.add_argument("names", nargs="*", default=[], help="benchmarks; all of them by default")
    parser.add_argument("--list", action="store_true", help="print the names of the benchmarks and run none")
    parser.add_argument("--folder", type=str | None, default=None, help="where they are; found from here by default")
    parser.add_argument("--json", action="store_true", help="print every measurement as JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted everywhere; benchmarks draw with seeds of their own"
    )
    return parser


def run(argv: list[str]) -> int:
    options = parse(build_parser(), argv)
    as_json, quiet = options["json"], options["quiet"]
    folder = _folder(options["folder"])
    scripts = {p.stem: p for p in sorted(folder.glob("*.py")) if '__name__ == "__main__"' in p.read_text("utf-8")}
    for name in options["names"]:
        if name not in scripts:
            raise unknown_name("names", name, list(scripts))
    chosen = options["names"] or list(scripts)
    if options["list"]:
        print_json(chosen) if as_json else print_table("", ["benchmark"], [[name] for name in chosen])
        return 0
    measured = {}
    for name in chosen:
        note(f"running {scripts[name]}", quiet)
        measured[name] = _measure(scripts[name], quiet)
    if as_json:
        print_json(measured)
    else:
        rows = [[name, *row] for name, result in measured.items() for row in _ratios(result)]
        print_table("", ["benchmark", "setting", "ratios to the first case"], rows)
    return 0


def _folder(given: str | None) -> Path:
    places = [Path(given)] if given else [Path.cwd() / "benchmarks", Path(__file__).parents[3] / "benchmarks"]
    for place in places:
        if (place / "harness.py").is_file():
            return place
    raise ValueError(
        f"--folder: no benchmarks in {' or '.join(map(str, places))}; they come with the sources, not with the package"
    )


def _measure(script: Path, quiet: bool) -> dict[str, Any]:
    if '"--output"' not in script.read_text("utf-8"):
        ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
        _refuse_failure(script, ended)
        return {"printed": ended.stdout.splitlines()}
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "measured.json"
        told = subprocess.DEVNULL if quiet else sys.stderr
        command = [sys.executable, str(script), "--output", str(output)]
        ended = subprocess.run(command, stdout=told, stderr=subprocess.PIPE, text=True, check=False)
        _refuse_failure(script, ended)
        return dict(json_format.loads(output.read_text("utf-8")))


def _refuse_failure(script: Path, ended: subprocess.CompletedProcess[str]) -> None:
    if ended.returncode != 0:
        words = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        raise ValueError(f"names: {script.name} failed ({words[0]}); run it by itself to see where")


def _ratios(result: dict[str, Any]) -> list[list[str]]:
    """One line a setting: what it is, and each case's median over the first one's."""
    lines = [[line, ""] for line in result.get("printed", [])]
    for row in result.get("rows", []):
        facts = ", ".join(f"{k} {v}" for k, v in row.items() if isinstance(v, (str, int)) and k != "repeats")
        ratios = ", ".join(f"{name} {value:.2f}" for name, value in (row.get("ratios") or {}).items())
        lines.append([facts, ratios])
    return lines
