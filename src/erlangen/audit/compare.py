"""What changed between two reports, metric by metric, with an interval on the difference."""

import dataclasses
import math
from typing import Any

import torch

from erlangen.audit.finding import Finding, Interval, Reference, Verdict
from erlangen.audit.report import Report
from erlangen.stats import holm, paired_difference
from erlangen.stats.resample import normal_quantile


def compare_reports(new: Report, old: Report) -> Report:
    """One finding for every metric that both reports have: `new - old`, pass for better, fail for worse.

    Paired over samples where both recorded the same ones (same data, number and seed); else from the two intervals,
    taken as independent. A difference whose interval contains zero is inconclusive: unchanged within noise; so is one
    that Holm's correction over all differences does not leave standing. `header["compared_with"]` is the head of the
    older report, `only_now` and `only_before` the findings that one of them does not have.
    """
    if old.header.get("compared_with") or new.header.get("compared_with"):
        raise ValueError("older: is itself a comparison; compare two reports of audits")
    before, now = {f.key: f for f in old.findings}, {f.key for f in new.findings}
    same = all(new.header.get(k) == old.header.get(k) for k in ("data", "n_used", "n_available", "seed"))
    rows = [
        _difference(f, before[f.key], paired=same)
        for f in new.findings
        if f.key in before and math.isfinite(f.value) and math.isfinite(before[f.key].value)
    ]
    header: dict[str, Any] = {
        **{k: v for k, v in new.header.items() if k != "training"},
        "compared_with": {k: v for k, v in old.header.items() if k != "training"},
        "paired": same,
        "only_now": [f.key for f in new.findings if f.key not in before],
        "only_before": [key for key in before if key not in now],
    }
    level = next((f.ci.level for f in new.findings if f.ci is not None), 0.95)
    return Report(_corrected(rows, level), header)


def _corrected(rows: list[Finding], level: float) -> list[Finding]:
    tested = [i for i, f in enumerate(rows) if f.p_value is not None and f.direction in ("higher", "lower")]
    keep = holm([float(rows[i].p_value or 0.0) for i in tested], alpha=1 - level)
    for i, stays in zip(tested, keep, strict=True):
        if not stays and rows[i].verdict in ("pass", "fail"):
            words = f"Unchanged within noise: {_from_to(rows[i].details['old'], rows[i].details['new'])}."
            rule = (
                f"{rows[i].rule}; its own interval decides, but not after Holm's correction over {len(tested)} of them"
            )
            rows[i] = dataclasses.replace(rows[i], verdict="inconclusive", meaning=words, rule=rule)
    return rows


def _from_to(old: float, new: float) -> str:
    return f"{old:.4g} became {new:.4g}"


def _difference(new: Finding, old: Finding, *, paired: bool) -> Finding:
    after, before = new.details.get("per_sample") or [], old.details.get("per_sample") or []
    level = new.ci.level if new.ci is not None else 0.95
    value, ci = new.value - old.value, None
    if paired and len(after) == len(before) > 1 and _is_mean(new, after) and _is_mean(old, before):
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
        meaning=f"{word}: {_from_to(old.value, new.value)}.",
        rule="pass if the whole interval of the difference is on the better side of zero, fail if on the worse side",
        direction=new.direction,
        p_value=_p_value(value, ci),
        details={"old": old.value, "new": new.value},
    )


def _is_mean(finding: Finding, per_sample: list[float]) -> bool:
    """Whether the value is the mean of what was recorded of every sample, so that pairs of samples make its interval."""
    mean = math.fsum(v for v in per_sample if v is not None) / len(per_sample)
    return abs(mean - finding.value) <= 1e-6 * max(1.0, abs(mean))


def _judge(new: Finding, value: float, ci: Interval | None) -> tuple[Verdict, str]:
    if value == 0 and (ci is None or ci.width == 0):
        return "inconclusive", "The same"
    if ci is None or not (math.isfinite(ci.low) and math.isfinite(ci.high)):
        return "info", "Changed"
    if ci.low <= 0 <= ci.high:
        return "inconclusive", "Unchanged within noise"
    if new.direction not in ("higher", "lower"):
        return "info", "Changed"
    better = (value > 0) == (new.direction == "higher")
    return ("pass", "Better") if better else ("fail", "Worse")


def _p_value(value: float, ci: Interval | None) -> float | None:
    if ci is None or not ci.width > 0:
        return None
    error = ci.width / (2 * normal_quantile(0.5 + ci.level / 2))
    return math.erfc(abs(value) / error / math.sqrt(2))
