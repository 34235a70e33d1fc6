"""Records survive JSON; verdicts come from the interval; sentences, exits and comparisons say what they should."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erlangen.audit import AuditFailed, Cost, FigureSpec, Finding, Interval, Reference, Report
from erlangen.audit.verdict import correct_for_many, judge

numbers = st.floats(-1e6, 1e6)
findings = st.builds(
    Finding,
    probe=st.text(min_size=1, max_size=8),
    metric=st.text(min_size=1, max_size=8),
    value=numbers,
    layer=st.text(max_size=8),
    ci=st.none() | st.builds(Interval, numbers, numbers, st.floats(0.5, 0.99), st.text(max_size=5), st.integers(0, 99)),
    reference=st.none() | st.builds(Reference, numbers, numbers, numbers, st.sampled_from(["theory", "null", "floor"])),
    verdict=st.sampled_from(["pass", "warn", "fail", "info", "inconclusive", "not_applicable"]),
    figure=st.none()
    | st.builds(
        FigureSpec,
        st.just("matrix"),
        st.text(max_size=5),
        rows=st.just(["a"]),
        columns=st.just(["b", "c"]),
        values=st.just([[0.5, 1.0]]),
    ),
    cost=st.builds(Cost, st.floats(0, 10), st.integers(0, 99)),
    warnings=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    details=st.dictionaries(st.text(max_size=4), st.lists(numbers, max_size=3), max_size=2),
)


@given(st.lists(findings, max_size=4))
def test_json_gives_back_the_same_findings(rows: list[Finding]) -> None:
    report = Report(rows, {"model": "M", "n_used": 3}, {"p": FigureSpec("curve", "t")})
    again = Report.from_json(report.to_json())
    assert again.findings == rows
    assert again.header == report.header and again.panels == report.panels
    assert len(report.to_records()) == len(rows) and len(report.sentences()) == 3


def test_not_a_number_is_null_in_strict_json() -> None:
    report = Report([Finding("p", "p.m", math.nan, details={"x": [math.inf]})])
    assert json.loads(report.to_json(), parse_constant=pytest.fail)["findings"][0]["value"] is None
    assert math.isnan(Report.from_json(report.to_json()).findings[0].value)
    with pytest.raises(ValueError, match="schema"):
        Report.from_dict({"schema": "other"})


def finding(value: float, low: float, high: float, n: int = 100) -> Finding:
    return Finding("p", "p.m", value, ci=Interval(low, high, 0.95, "bootstrap-bca", n))


@given(value=st.floats(-5, 5), half=st.floats(0.01, 3), threshold=st.floats(-5, 5))
def test_the_interval_decides_and_better_is_symmetric(value: float, half: float, threshold: float) -> None:
    f = finding(value, value - half, value + half)
    below = judge(f, threshold, good="below", because="a test").verdict
    above = judge(f, threshold, good="above", because="a test").verdict
    if abs(value - threshold) < half:
        assert below == above == "inconclusive"
    elif abs(value - threshold) > half:
        assert (below, above) == (("pass", "fail") if value < threshold else ("fail", "pass"))


def test_the_number_of_samples_asked_for_would_decide() -> None:
    judged = judge(finding(1.0, 0.0, 2.0, n=100), 1.5, good="below", because="a test")
    assert judged.verdict == "inconclusive" and judged.needs_samples == 400
    assert judge(finding(1.0, 0.5, 1.5, n=400), 1.5001, good="below", because="a test").verdict == "pass"


def test_many_verdicts_are_corrected_for() -> None:
    near = judge(finding(1.0, 0.02, 1.98), 0.0, good="above", because="a test")
    assert near.verdict == "pass"
    assert [f.verdict for f in correct_for_many([near])] == ["pass"]
    corrected = correct_for_many([near] * 20)
    assert {f.verdict for f in corrected} == {"inconclusive"}
    assert all(f.needs_samples and f.needs_samples > 100 for f in corrected)


def test_asserting_and_looking_up() -> None:
    bad = judge(finding(2.0, 1.5, 2.5), 1.0, good="below", because="a test")
    report = Report([bad, Finding("q", "q.m", 1.0, layer="conv")])
    with pytest.raises(AuditFailed, match=r"p\.m") as failure:
        report.assert_ok()
    assert failure.value.findings == [bad]
    assert report["q", "conv"].value == 1.0 and report["p.m"].value == 2.0
    with pytest.raises(KeyError, match=r"q\.m@conv"):
        report["nothing"]
    assert "fail" in report.to_markdown()


def test_comparison_is_paired_and_says_better_worse_or_noise() -> None:
    def run(right: list[float]) -> Report:
        value = sum(right) / len(right)
        ci = Interval(value - 0.2, value + 0.2, 0.95, "clopper-pearson", len(right))
        row = Finding("knn", "knn.accuracy", value, ci=ci, direction="higher", details={"per_sample": right})
        return Report([row], {"data": "d", "n_used": len(right), "n_available": len(right), "seed": 0})

    base = [1.0] * 30 + [0.0] * 30
    better = run([1.0] * 40 + [0.0] * 20).compare(run(base)).findings[0]
    assert better.verdict == "pass" and better.ci is not None and better.ci.low > 0
    assert run(base).compare(run([1.0] * 40 + [0.0] * 20)).findings[0].verdict == "fail"
    assert run(base).compare(run(base)).findings[0].verdict == "inconclusive"
