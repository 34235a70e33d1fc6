"""Verdicts: decided from the interval and a reference, never from the point, and corrected over the whole report."""

import dataclasses
import math
from typing import Literal

from erlangen.audit.finding import Finding, Verdict
from erlangen.stats.resample import holm, normal_cdf, normal_quantile


def judge(finding: Finding, threshold: float, *, good: Literal["below", "above"], because: str) -> Finding:
    """`finding` with its verdict: pass if its whole interval lies on the good side of `threshold`, fail if the whole
    interval lies on the bad side, else inconclusive with the number of samples that would decide it.

    `because` says where the threshold comes from. A finding without an interval stays `info`.
    """
    if finding.ci is None or not all(map(math.isfinite, (finding.value, finding.ci.low, finding.ci.high, threshold))):
        return dataclasses.replace(finding, verdict="info", rule=f"no interval, so no verdict ({because})")
    ci = finding.ci
    word = "below" if good == "below" else "above"
    rule = f"pass if the whole interval is {word} {threshold:.3g} ({because}), fail if the whole of it is not"
    below, above = ci.high <= threshold, ci.low > threshold
    if good == "above":
        below, above = ci.high < threshold, ci.low >= threshold
    verdict: Verdict = "inconclusive"
    if below or above:
        verdict = "pass" if (below if good == "below" else above) else "fail"
    needed = _samples_needed(finding, threshold) if verdict == "inconclusive" else None
    return dataclasses.replace(
        finding,
        verdict=verdict,
        rule=rule,
        direction="lower" if good == "below" else "higher",
        threshold=float(threshold),
        p_value=_p_value(finding, threshold),
        needs_samples=needed,
    )


def correct_for_many(findings: list[Finding], *, level: float = 0.95) -> list[Finding]:
    """Holm's correction over all findings of one report that were held against a threshold, decided or not.

    A verdict that its own interval supports but the family does not becomes `inconclusive`.
    """
    judged = ("pass", "fail", "warn", "inconclusive")
    tested = [
        i for i, f in enumerate(findings) if f.verdict in judged and f.p_value is not None and f.threshold is not None
    ]
    keep = holm([float(findings[i].p_value or 0.0) for i in tested], alpha=1 - level)
    corrected = list(findings)
    for i, stays in zip(tested, keep, strict=True):
        f = findings[i]
        if not stays and f.threshold is not None and f.verdict != "inconclusive":
            corrected[i] = dataclasses.replace(
                f,
                verdict="inconclusive",
                needs_samples=_samples_needed(f, f.threshold, family=len(tested), level=level),
                rule=f"{f.rule}; its own interval decides, but not after Holm's correction over {len(tested)} tests",
            )
    return corrected


def _standard_error(finding: Finding, threshold: float) -> float:
    """The standard error that the side of the interval facing the threshold implies."""
    if finding.ci is None:
        return math.nan
    side = finding.ci.high - finding.value if threshold > finding.value else finding.value - finding.ci.low
    return max(side, 0.0) / normal_quantile(0.5 + finding.ci.level / 2)


def _p_value(finding: Finding, threshold: float) -> float:
    error = _standard_error(finding, threshold)
    distance = abs(finding.value - threshold)
    if error == 0.0:
        return 0.0 if distance > 0 else 1.0
    return min(1.0, 2 * (1 - normal_cdf(distance / error)))


def _samples_needed(finding: Finding, threshold: float, *, family: int = 1, level: float = 0.95) -> int | None:
    """n at which the interval, shrinking as 1/sqrt(n), would no longer reach the threshold."""
    if finding.ci is None or finding.ci.n_effective <= 0:
        return None
    distance = abs(finding.value - threshold)
    reach = _standard_error(finding, threshold) * normal_quantile(1 - (1 - level) / (2 * family))
    if distance == 0 or not math.isfinite(reach / distance) or reach / distance > 1e4:
        return None
    return max(math.ceil(finding.ci.n_effective * (reach / distance) ** 2), finding.ci.n_effective + 1)
