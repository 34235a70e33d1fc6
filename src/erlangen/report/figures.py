"""The figures of a report, found by kind."""

from collections.abc import Mapping
from typing import Any

from erlangen.report.plain import key_of, mapping


def figures_of(record: Mapping[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    """All different figures of one kind with their names: the panels first, then those of the findings."""
    named = [(str(name), mapping(spec)) for name, spec in mapping(record.get("panels")).items()]
    named += [(key_of(f), mapping(f.get("figure"))) for f in record["findings"] if f.get("figure")]
    found: list[tuple[str, dict[str, Any]]] = []
    for name, spec in named:
        if spec.get("kind") == kind and all(spec != other for _, other in found):
            found.append((name, spec))
    return found


def is_respect(name: str) -> bool:
    """Whether a figure speaks of group elements rather than of pairs of layers or of depth."""
    words = ("respect", "equivariance", "invariance", "lie_derivative")
    return not name.startswith("profile") and any(word in name.lower() for word in words)
