"""Run the benchmarks of a source checkout, each in the environment its peer needs, and keep what they measured."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erlangen.recipes.reproduce import write_atomically


def find_folder(given: str | None) -> Path:
    """The folder of benchmarks. Raises ValueError where there is none: they come with the sources."""
    places = [Path(given)] if given else [Path.cwd() / "benchmarks", Path(__file__).parents[3] / "benchmarks"]
    for place in places:
        if (place / "harness.py").is_file():
            return place
    raise ValueError(
        f"--folder: no benchmarks in {' or '.join(map(str, places))}; they come with the sources, not with the package"
    )


def find_scripts(folder: Path) -> dict[str, Path]:
    """The benchmarks by name: the scripts that write what they measured to `--output`."""
    return {path.stem: path for path in sorted(folder.glob("*.py")) if ".output" in path.read_text("utf-8")}


def interpreter(folder: Path, name: str) -> str:
    """The Python of the environment that this benchmark's peer needs, if it was made; else the one that runs us."""
    table = folder / "environments.toml"
    if table.is_file():
        for environment, wanted in tomllib.loads(table.read_text("utf-8")).items():
            python = folder.parent / ".bench" / environment / "bin" / "python"
            if name in wanted["benchmarks"] and python.exists():
                return str(python)
    return sys.executable


def measure(folder: Path, script: Path, *, threads: int, quiet: bool) -> dict[str, Any]:
    """What one benchmark writes, run with this number of threads. Raises ValueError when it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "measured.json"
        command = [interpreter(folder, script.stem), str(script), "--output", str(output), "--threads", str(threads)]
        told = subprocess.DEVNULL if quiet else sys.stderr
        ended = subprocess.run(command, stdout=told, stderr=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0 or not output.is_file():
            words = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
            raise ValueError(f"names: {script.name} failed ({words[0]}); run it by itself to see where")
        return {"title": _title(script), **json.loads(output.read_text("utf-8"))}


def keep(results: Path, name: str, runs: Sequence[dict[str, Any]]) -> None:
    """Store one benchmark's runs, one for each number of threads, as `results/NAME.json`."""
    record = {"name": name, "title": runs[0]["title"], "runs": list(runs)}
    write_atomically(results / f"{name}.json", json.dumps(record, indent=1) + "\n")


def _title(script: Path) -> str:
    return script.read_text("utf-8").split('"""')[1].strip().splitlines()[0]
