"""What changed between two reports, metric by metric, with an interval on the difference."""

import math
from typing import Any

import torch

from erlangen.audit.finding import Finding, Interval, Reference, Verdict
from erlangen.audit.report import Report
from erlangen.stats import paired_difference
from erlangen.stats.resample import normal_quantile


def compare_reports(new: Report, old: Report) -> Report:
    """One finding for every metric that both reports have: `new - old`, pass for better, fail for worse.

    Paired over samples where both recorded the same ones (same data, number and seed); else from the two intervals.
    A difference whose interval contains zero is inconclusive: unchanged within noise.
    """
    before = {f.key: f for f in old.findings}
    same = all(new.header.get(k) == old.header.get(k) for k in ("data", "n_used", "n_available", "seed"))
    rows = [
        _difference(f, before[f.key], paired=same)
        for f in new.findings
        if f.key in before and math.isfinite(f.value) and math.isfinite(before[f.key].value)
    ]
    header: dict[str, Any] = {**new.header, "compared_with": dict(old.header)}
    return Report(rows, header)


def _difference(new: Finding, old: Finding, *, paired: bool) -> Finding:
    after, before = new.details.get("per_sample") or [], old.details.get("per_sample") or []
    level = new.ci.level if new.ci is not None else 0.95
    value, ci = new.value - old.value, None
    if paired and len(after) == len(before) > 1 and new.metric != "equivariance.invariance_error":
        generator = torch.Generator().manual_seed(0)
        value, low, high = paired_difference(
            torch.tensor(after), torch.tensor(before), level=level, generator=generator
        )
        ci = Interval(low, high, level, "bootstrap-bca (paired)", len(after))
    elif new.ci is not None and old.ci is not None:
        half = math.hypot(new.ci.width, old.ci.width) / 2
        ci = Interval(value - half, value + half, level, "two intervals", min(new.ci.n_effective, old.ci.n_effective))
    verdict, word = _judge(new, value, ci)
    return Finding(
        new.probe,
        f"difference.{new.metric}",
        value,
        layer=new.layer,
        group=new.group,
        ci=ci,
        reference=Reference(0.0, kind="previous", source=f"the older report: {old.value:.4g}"),
        verdict=verdict,
        meaning=f"{word}: {old.value:.4g} became {new.value:.4g}.",
        rule="pass if the whole interval of the difference is on the better side of zero, fail if on the worse side",
        direction=new.direction,
        p_value=_p_value(value, ci),
        details={"old": old.value, "new": new.value},
    )


def _judge(new: Finding, value: float, ci: Interval | None) -> tuple[Verdict, str]:
    if ci is None or ci.low <= 0 <= ci.high:
        return ("info", "Changed") if ci is None and value != 0 else ("inconclusive", "Unchanged within noise")
    if new.direction not in ("higher", "lower"):
        return "info", "Changed"
    better = (value > 0) == (new.direction == "higher")
    return ("pass", "Better") if better else ("fail", "Worse")


def _p_value(value: float, ci: Interval | None) -> float | None:
    if ci is None or ci.width <= 0:
        return None
    error = ci.width / (2 * normal_quantile(0.5 + ci.level / 2))
    return math.erfc(abs(value) / error / math.sqrt(2))
