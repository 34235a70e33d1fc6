"""Benchmarks are found, run in the right environment, stored and put into one page; a failing one says so in a line."""

import json
from pathlib import Path

import pytest

from erlangen.cli.main import main
from erlangen.recipes.side_by_side import find_scripts, interpreter, keep, measure
from erlangen.recipes.speed_table import table_rows, write_speeds

SCRIPT = '''"""Two ways of doing nothing.

More words.
"""
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--output")
parser.add_argument("--threads", type=int)
options = parser.parse_args()
row = {"size": 4, "flops": 2_000_000, "medians": {"peer": 2e-3, "ours": 1e-3}, "ratios": {"peer": 1.0, "ours": 0.5}}
machine = {"threads": options.threads, "torch": "2"}
pathlib.Path(options.output).write_text(json.dumps({"machine": machine, "rows": [row]}))
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "benchmarks"
    made.mkdir()
    (made / "harness.py").write_text("")
    (made / "nothing.py").write_text(SCRIPT)
    (made / "broken.py").write_text(SCRIPT + "raise RuntimeError('no luck')\n")
    (made / "environments.py").write_text("# makes environments, measures nothing\n")
    return made


def test_only_scripts_that_measure_are_benchmarks(folder: Path) -> None:
    assert list(find_scripts(folder)) == ["broken", "nothing"]


def test_every_script_of_the_checkout_is_found() -> None:
    checkout = Path(__file__).parents[2] / "benchmarks"
    scripts = {path.stem for path in checkout.glob("*.py")} - {"harness", "environments"}
    assert set(find_scripts(checkout)) == scripts
    assert len(scripts) > 30


def test_what_is_measured_is_what_the_page_shows(folder: Path, tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "page.md"
    runs = [measure(folder, folder / "nothing.py", threads=t, quiet=True) for t in (1, 2)]
    assert [run["machine"]["threads"] for run in runs] == [1, 2]
    assert list(table_rows(runs[0])) == [("size 4", "ours 1 ms, 2.0 GFLOP/s of the ideal count", "peer 2.00")]
    keep(results, "nothing", runs)
    write_speeds(results, page)
    text = page.read_text()
    assert "## Two ways of doing nothing." in text and "2 threads" in text and "| size 4 | ours 1 ms" in text


def test_a_benchmark_runs_in_the_environment_of_its_peer(folder: Path) -> None:
    (folder / "environments.toml").write_text('[strange]\nbenchmarks = ["nothing"]\npackages = []\n')
    ordinary = interpreter(folder, "nothing")
    python = folder.parent / ".bench" / "strange" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("")
    assert interpreter(folder, "nothing") == str(python) != ordinary == interpreter(folder, "broken")


def test_a_failing_benchmark_is_one_line_and_the_others_are_kept(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"broken\.py failed \(RuntimeError: no luck\)"):
        measure(folder, folder / "broken.py", threads=1, quiet=True)
    results = tmp_path / "results"
    code = main(["bench", "--folder", str(folder), "--threads", "[1]", "--results", str(results), "--quiet", "--json"])
    told = capsys.readouterr()
    assert code == 1 and "no luck" in told.err
    assert list(json.loads(told.out)) == ["nothing"] and [p.name for p in results.iterdir()] == ["nothing.json"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [("--docs page.md", "--results"), ("--threads [0]", "--threads"), ("nowhere", "names"), ("--threads x", "threads")],
)
def test_bad_input_of_bench(folder: Path, arguments: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--folder", str(folder), *arguments.split()]) == 2
    told = capsys.readouterr().err.strip()
    assert word in told and "Traceback" not in told


def test_a_file_that_is_no_benchmark_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("[]")
    with pytest.raises(ValueError, match=r"odd\.json"):
        write_speeds(tmp_path, tmp_path / "page.md")
