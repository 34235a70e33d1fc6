"""A run's report shows how it was trained: terms with healthy ranges, monitors, and a collapse that was made to happen."""

import html
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import erlangen as er
from erlangen.audit import Report
from erlangen.audit.training import training_findings, training_record
from erlangen.objectives import VICReg


@pytest.fixture(scope="module")
def digits() -> Any:
    return er.data.load("digits")


def fitted(digits: Any, objective: Any, **options: Any) -> Any:
    encoder = er.nn.images.PlainCNN(4, in_channels=1, embedding_dim=16)
    return er.fit(encoder, digits, objective=objective, symmetry="C4", epochs=2, batch_size=256, seed=0, **options)


@pytest.fixture(scope="module")
def report(digits: Any) -> Report:
    run = fitted(digits, VICReg(width=32))
    return er.audit(run, digits, probes=["rankme"], layers=None)


def test_every_term_is_shown_with_its_healthy_range(report: Report) -> None:
    training = report.header["training"]
    assert training["objective"] == "VICReg" and training["epochs"] == [1, 2]
    names = {t["name"]: t for t in training["terms"]}
    assert {"loss", "invariance", "variance", "covariance"} <= set(names)
    for name in ("invariance", "variance", "covariance"):
        assert names[name]["healthy"] == VICReg.healthy[name] and len(names[name]["train"]) == 2
    assert {m["name"] for m in training["monitors"]} == {"embedding_std", "relative_spread", "effective_rank"}
    page = html.unescape(report.to_html())
    for text in (*VICReg.healthy.values(), "Collapse monitors", "saw no collapse"):
        assert text in page
    assert report["training"].verdict == "pass"


def test_the_run_and_its_encoder_give_the_same_findings(digits: Any) -> None:
    run = fitted(digits, VICReg(width=32))
    options = {"probes": ["rankme", "knn"], "layers": None, "group": "C4"}
    from_run, from_encoder = er.audit(run, digits, **options), er.audit(run.encoder, digits, **options)
    known = {f.key: f.value for f in from_run.findings if f.probe != "training"}
    assert known == {f.key: f.value for f in from_encoder.findings}
    assert "training" not in from_encoder.header


def test_a_collapse_that_is_made_to_happen_is_in_the_report(digits: Any) -> None:
    run = fitted(digits, VICReg(sim=100.0, std=0.0, cov=0.0, width=32), lr=0.05)
    record = training_record(run)
    report = er.audit(run, digits, probes=["rankme"], layers=None)
    assert record["collapse"], run.history
    assert report["training"].verdict in ("fail", "warn")
    words = record["collapse"][-1]["words"]
    assert words in html.unescape(report.to_html()) and "saw no collapse" not in report.to_html()


def test_epochs_that_said_the_same_are_told_together_and_where_it_ended_decides() -> None:
    def run(collapsed: set[int]) -> Any:
        words = "complete collapse: all samples have nearly one embedding"
        rows = [
            {"epoch": e, "train/loss": 1.0 / (e + 1), "monitor/effective_rank": 3.0 + e}
            | ({"collapse": words} if e in collapsed else {})
            for e in range(6)
        ]
        return SimpleNamespace(objective=VICReg(width=8), history=rows, complete=True)

    verdicts = {}
    for name, epochs in (("never", set()), ("early", {0, 1, 2}), ("late", {4, 5})):
        record = training_record(run(epochs))
        found = training_findings(record)
        verdicts[name] = found[0].verdict
        page = Report(found, {"training": record}).to_html()
        assert ("epochs 1 to 3: complete collapse" in page) == (name == "early")
        assert ("epochs 5 to 6: complete collapse" in page) == (name == "late")
    assert verdicts == {"never": "pass", "early": "warn", "late": "fail"}


def test_a_history_with_holes_and_without_epochs_is_no_trouble() -> None:
    rows = [{"epoch": 0, "train/loss": float("nan")}, {"epoch": 1, "train/loss": 2.0, "val/loss": None}, {"epoch": 2}]
    record = training_record(SimpleNamespace(objective=torch.nn.Identity(), history=rows, complete=False))
    assert record["terms"][0]["train"] == [None, 2.0, None] and record["terms"][0]["val"] == []
    assert "interrupted" in Report([], {"training": record}).to_html()
    empty = training_record(SimpleNamespace(objective=None, history=[], complete=True))
    assert training_findings(empty) == [] and "Training" not in Report([], {"training": empty}).to_html()
    long = [{"epoch": e, "train/loss": 1.0} for e in range(5000)]
    assert len(training_record(SimpleNamespace(objective=None, history=long, complete=True))["epochs"]) <= 401
