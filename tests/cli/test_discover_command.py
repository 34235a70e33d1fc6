"""`erlangen discover` prints a table, words, JSON, and one-line errors."""

import json

import numpy as np
import pytest

from erlangen.cli.discover_command import split_groups
from erlangen.cli.main import main


@pytest.fixture
def table(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 6))
    y = (x[:, :3] * x[:, 3:]).sum(1)
    path = tmp_path / "table.csv"
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", header="a,b,c,d,e,f,target", comments="")
    return str(path)


def test_table_and_words(table, capsys):
    assert main(["discover", table, "--groups", "SO(3), Scaling"]) == 0
    out = capsys.readouterr().out
    assert "SO(3)" in out and "next: " in out and "told apart" in out


def test_json_and_quiet(table, capsys):
    assert main(["discover", table, "--groups", "SO(3)", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["readings"][0]["group"] == "SO(3)" and found["samples"] == 200
    assert main(["discover", table, "--groups", "SO(3)", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("SO(3): ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--groups", "Q4"], "unknown 'Q4'"),
        (["--groups", "C4,"], "empty name"),
        (["--label-column", "nothing"], "nothing"),
        (["--task", "guess"], "guess"),
        (["--samples", "3"], "at least 60"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(table, capsys, words, message):
    assert main(["discover", table, *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("erlangen: ") and message in error


def test_commas_inside_brackets_separate_nothing():
    assert [part.strip() for part in split_groups("C8, SO(2) x C(4)")] == ["C8", "SO(2) x C(4)"]
