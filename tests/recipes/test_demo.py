"""The demo's own promises, at one epoch: everything it names is there, and its sentences are made of its numbers."""

import json
from pathlib import Path

import pytest

from erlangen.audit import Report
from erlangen.recipes.demo import demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, demo(out, epochs=1)


@pytest.mark.slow
def test_the_verdicts_are_the_theorem(shown):
    _, result = shown
    assert result.verdicts["symmetric, C4"].verdict == "exact"
    assert result.verdicts["plain, C4"].verdict == "broken"


@pytest.mark.slow
def test_quarter_turns_change_no_answer_of_the_symmetric_encoder(shown):
    _, result = shown
    quarter = [result.numbers[f"symmetric.{angle}°"] for angle in (0, 90, 180, 270)]
    assert max(quarter) == min(quarter)


@pytest.mark.slow
def test_report_index_and_runs_are_on_disk_and_readable(shown):
    out, result = shown
    page = Path(result.report).read_text(encoding="utf-8")
    assert len(page.encode()) < 2_000_000
    assert Report.from_html(result.report).header["data"]
    assert json.loads((out / "demo.json").read_text(encoding="utf-8"))["sentences"] == result.sentences
    assert (out / "index").is_dir() and (out / "symmetric" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_three_sentences(shown):
    _, result = shown
    assert len(result.sentences) == 3
    assert f"{result.numbers['symmetric.0°']:.0%}" in result.sentences[0]
