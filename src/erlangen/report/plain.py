"""A report as plain data, and small readers of it that never raise on a missing field."""

import math
from collections.abc import Mapping
from typing import Any

ORDER = ("fail", "inconclusive", "warn", "pass", "info", "not_applicable")


def as_record(report: Any) -> dict[str, Any]:
    """The plain-data form of a report: a mapping as given, or whatever its `to_dict` returns."""
    if isinstance(report, Mapping):
        record = dict(report)
    elif hasattr(report, "to_dict"):
        record = dict(report.to_dict())
    else:
        raise TypeError(f"report: got {type(report).__name__}; give a Report or the dict of Report.to_dict()")
    if not isinstance(record.get("findings"), list):
        raise ValueError(f"report: no list under 'findings'; it has {', '.join(map(str, record)) or 'nothing'}")
    return record


def number(value: Any) -> float:
    """`value` as a float; what is absent or not a number is NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return float(value)


def numbers(values: Any) -> list[float]:
    """Every entry of a list by `number`; anything else is an empty list."""
    return [number(v) for v in values] if isinstance(values, (list, tuple)) else []


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return dict(value) if isinstance(value, Mapping) else {}


def sequence(value: Any) -> list[Any]:
    """`value` as a list; a lone string is a list of one, nothing is an empty list."""
    if value is None or value == "":
        return []
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value]


def key_of(finding: Mapping[str, Any]) -> str:
    """`metric[@layer]`, the finding's name within its report."""
    metric, layer = str(finding.get("metric") or finding.get("probe") or ""), finding.get("layer")
    return f"{metric}@{layer}" if layer else metric


def verdict_of(finding: Mapping[str, Any]) -> str:
    """The finding's verdict; an unknown one counts as `info`."""
    verdict = finding.get("verdict")
    return verdict if verdict in ORDER else "info"


def by_verdict(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fails first, then what is inconclusive; within a verdict in the report's own order."""
    return sorted(findings, key=lambda f: ORDER.index(verdict_of(f)))


def grouped(findings: list[dict[str, Any]], field: str) -> dict[str, list[dict[str, Any]]]:
    """Findings by the value of `field`, in order of first appearance."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        groups.setdefault(str(finding.get(field) or ""), []).append(finding)
    return groups
