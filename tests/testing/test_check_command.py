"""`erlangen check FILE:FACTORY`: exit codes 0, 1 and 2, and one line for whatever is wrong with the user's code."""

import json

import pytest

from erlangen.cli.check_command import run

SOURCE = """
import sys, torch
from torch import nn

class Lengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 4)
    def forward(self, x):
        return self.net(x.square().sum(-1, keepdim=True))

def good(): return Lengths()
def nothing(): return None
def fails(): raise RuntimeError("no\\nluck")
def leaves(): sys.exit(7)
def inputs(): return torch.randn(4, 3)
broken = nn.Linear(3, 3)
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "user_models.py").write_text(SOURCE)
    (tmp_path / "syntax.py").write_text("def x(:")
    (tmp_path / "missing_import.py").write_text("import no_such_thing")
    monkeypatch.chdir(tmp_path)
    return tmp_path


POINTS = ["--group", "SO(3)", "--input", "points"]


@pytest.mark.parametrize(
    ("name", "code", "word"), [("good", 0, "exact"), ("broken", 1, "broken"), ("Lengths", 0, "exact")]
)
def test_verdict_and_exit_code(folder, capsys, name, code, word) -> None:
    assert run([f"user_models.py:{name}", *POINTS, "--quiet"]) == code
    assert capsys.readouterr().out.strip() == word


def test_json_and_named_inputs(folder, capsys) -> None:
    assert run(["user_models.py:good", *POINTS, "--inputs", "user_models.py:inputs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["verdict"] == "exact" and found[0]["error"]["float64"] < 1e-10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["user_models.py:nothing", *POINTS], "returned a NoneType"),
        (["user_models.py:fails", *POINTS], "raised RuntimeError: no luck"),
        (["user_models.py:leaves", *POINTS], "called sys.exit"),
        (["user_models.py:number", *POINTS], "int"),
        (["user_models.py:absent", *POINTS], "has no 'absent'"),
        (["user_models.py", *POINTS], "no object is named"),
        (["", *POINTS], "target: empty"),
        (["nowhere.py:good", *POINTS], "there is no file"),
        (["syntax.py:good", *POINTS], "SyntaxError"),
        (["missing_import.py:good", *POINTS], "no_such_thing"),
        (["user_models.py:good"], "declares no symmetries"),
        (["user_models.py:good", "--group", "SO(x)"], "unknown 'SO"),
        (["user_models.py:good", "--group", "SO(3)", "--input", "pointz"], "did you mean 'points'"),
        (["user_models.py:good", *POINTS, "--output", "vectorz"], "did you mean 'vectors'"),
        (["user_models.py:good", *POINTS, "--shape", "a,b"], "--shape"),
        (["user_models.py:good", *POINTS, "--shape", "2,5"], "last axis of size 3"),
        (["user_models.py:good", *POINTS, "--shape", "0,5,3"], "no numbers"),
        (["user_models.py:good", *POINTS, "--shape", "99999999,99999999,3"], "--shape"),
        (["user_models.py:good", *POINTS, "--inputs", "user_models.py:number"], "inputs"),
    ],
)
def test_one_line_and_exit_code_2(folder, capsys, arguments, words) -> None:
    try:
        assert run(arguments) == 2
        said = capsys.readouterr().err
    except (ValueError, TypeError) as error:  # the program's entry turns these into one line and exit code 2
        said = str(error)
    assert words in said and "\n" not in said.strip()
