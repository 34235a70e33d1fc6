"""The three sentences of a report, made from its findings by rule: symmetry, classes, information."""

import math
from typing import Any

from erlangen.audit.finding import Finding


def three_sentences(findings: list[Finding], header: dict[str, Any]) -> list[str]:
    """What the representation respects, which classes the symmetry merges, and how much it carries."""
    return [_symmetry(findings, header), _classes(findings, header), _information(findings, header)]


def percent(value: float) -> str:
    """A share in words: `4 %`, `0.3 %`, `under 0.01 %`."""
    scaled = 100 * value
    if not math.isfinite(scaled):
        return "an undefined share"
    if 0 < scaled < 0.01:
        return "under 0.01 %"
    return f"{scaled:.0f} %" if scaled >= 10 or scaled == 0 else f"{scaled:.2g} %"


def join_words(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _lower(sentence: str) -> str:
    """The sentence as it goes on after a colon; names such as C8 keep their capital."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def _first(findings: list[Finding], metric: str, layer: str | None = None) -> Finding | None:
    for f in findings:
        if f.metric == metric and (layer is None or f.layer == layer) and math.isfinite(f.value):
            return f
    return None


def _symmetry(findings: list[Finding], header: dict[str, Any]) -> str:
    found = _first(findings, "equivariance.invariance_error", "embedding")
    if found is not None:
        group = found.group or header.get("group") or "the group"
        verb = {
            "pass": f"The embedding is invariant to {group} as far as resampling the input allows",
            "warn": f"The embedding is nearly invariant to {group}",
            "fail": f"The embedding is not invariant to {group}",
        }.get(found.verdict, f"Whether the embedding is invariant to {group} is not decided by these inputs")
        reach = f"its elements move it by {percent(found.value)} of the distance between two unrelated inputs"
        floor = found.details.get("floor")
        tail = f" (resampling alone: {percent(floor)})" if isinstance(floor, float) and math.isfinite(floor) else ""
        twin = f", {percent(found.reference.value)} in the untrained twin" if found.reference else ""
        return f"{verb}: {reach}{tail}{twin}."
    shift = _first(findings, "shift_consistency.agreement")
    if shift is not None:
        return f"Shifting the input by one pixel keeps the nearest class of {percent(shift.value)} of the embeddings."
    collapsed = [f for f in findings if f.probe == "equivariance" and f.verdict == "fail"]
    if collapsed:
        return collapsed[0].meaning
    return "No symmetry was measured: name one with group=..., for example group='SO(2)'."


def _classes(findings: list[Finding], header: dict[str, Any]) -> str:
    merged = [f for f in findings if f.metric.startswith("orbit_accuracy.merges.")]
    strong = [f for f in merged if f.details.get("merged")]
    if strong:
        pairs: list[tuple[str, str]] = []
        for f in strong:
            a, b = sorted(map(str, f.details["pair"]))
            if (a, b) not in pairs:
                pairs.append((a, b))
        names = join_words([f"{a} and {b}" if len(pairs) == 1 else f"{a} with {b}" for a, b in pairs[:3]])
        group = strong[0].group or header.get("group") or "the group"
        word = "classes" if len(pairs) == 1 else "the classes"
        return f"The symmetry {group} merges {word} {names}: {_lower(strong[0].meaning)}"
    if kept := [f for f in merged if f.details.get("in_data")]:
        return f"The model merges no classes, but the symmetry tempts it to: {_lower(kept[0].meaning)}"
    orbit = _first(findings, "orbit_accuracy.orbit")
    upright = _first(findings, "orbit_accuracy.upright")
    if orbit is not None and upright is not None:
        return (
            f"It names the class of {percent(upright.value)} of the inputs as given and of {percent(orbit.value)} of "
            f"them moved by {orbit.group or 'the group'}; no two classes are merged by it."
        )
    knn = _first(findings, "knn.accuracy")
    if knn is not None:
        return f"The nearest neighbours of an embedding name its class in {percent(knn.value)} of cases."
    return "Nothing was said about classes: the data have no labels, or no probe that reads them ran."


def _information(findings: list[Finding], header: dict[str, Any]) -> str:
    rank = _first(findings, "rankme.rank", "embedding")
    probe = _first(findings, "linear_probe.accuracy", "embedding")
    parts = []
    if rank is not None:
        of = rank.details.get("dimensions")
        parts.append(f"the embedding uses {rank.value:.0f} of {of} dimensions" if of else f"rank {rank.value:.0f}")
    if probe is not None:
        null = f" ({percent(probe.reference.value)} with shuffled labels)" if probe.reference else ""
        parts.append(f"a linear probe reads the class from it with {percent(probe.value)} accuracy{null}")
    if not parts:
        knn = _first(findings, "knn.accuracy")
        if knn is not None:
            parts.append(f"its nearest neighbours name the class in {percent(knn.value)} of cases")
    if not parts:
        return f"{len(findings)} findings were made on {header.get('n_used', 'an unknown number of')} samples."
    sentence = "; ".join(parts)
    return sentence[0].upper() + sentence[1:] + "."
