"""The three sentences of a report, made from its findings by rule: symmetry, classes, information."""

import math
from collections.abc import Iterator
from typing import Any

from erlangen.audit.finding import Finding


def three_sentences(findings: list[Finding], header: dict[str, Any]) -> list[str]:
    """What the representation respects, what it knows of the classes, and how much it carries; of a comparison, what
    became better and worse. Where nothing was measured on one of the three, the next finding speaks in its place."""
    if header.get("compared_with"):
        return _comparison(findings, header)
    if any(f.probe == "data_dimension" for f in findings) and header.get("parameters") is None:
        told: list[str | None] = _of_the_data(findings)
    else:
        told = [_collapse(findings) or _symmetry(findings, header), _classes(findings, header)]
        told.append(_information(findings, header))
    others = _speakers(findings, told)
    return [sentence or next(others, None) or _filler(findings, header) for sentence in told]


def _of_the_data(findings: list[Finding]) -> list[str | None]:
    """Copies and contradictions; dimension; labels and how much more data would help."""

    def said(*probes: str) -> str | None:
        words = [
            next((f.meaning for f in findings if f.probe == p and f.verdict != "not_applicable"), "") for p in probes
        ]
        return " ".join(w for w in words if w) or None

    return [said("duplicates", "contradictory_labels"), said("data_dimension"), said("label_sharpness", "scaling_law")]


def _filler(findings: list[Finding], header: dict[str, Any]) -> str:
    samples, count = header.get("n_used", "an unknown number of"), len(findings)
    return (
        f"{count} finding{' was' if count == 1 else 's were'} made on {samples} samples."
        if count
        else "Nothing was found."
    )


SPOKEN_FOR = (
    "respect",
    "equivariance",
    "lie_derivative",
    "orbit_accuracy",
    "shift_consistency",
    "knn",
    "linear_probe",
    "generalization",
    "rankme",
)


def _speakers(findings: list[Finding], told: list[str | None]) -> Iterator[str]:
    """One sentence of each other probe: its gravest finding, fails first."""
    order = ("fail", "warn", "inconclusive", "pass", "info")
    heard: set[str] = set(SPOKEN_FOR)
    heard |= {f.probe for f in findings if f.meaning and any(f.meaning in sentence for sentence in told if sentence)}
    for f in sorted((f for f in findings if f.verdict in order), key=lambda f: order.index(f.verdict)):
        if f.probe not in heard and f.meaning:
            heard.add(f.probe)
            where = f"{f.layer}: " if f.layer and f.layer != "embedding" else ""
            sentence = f"{where}{_lower(f.meaning) if where else f.meaning}"
            yield sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _collapse(findings: list[Finding]) -> str | None:
    """What comes before everything else: an embedding that is not finite or does not tell its inputs apart."""
    for f in findings:
        if f.probe == "finite" and f.layer == "embedding":
            return f.meaning
    rank = next((f for f in findings if f.metric == "rankme.rank" and f.layer == "embedding"), None)
    if rank is None or not rank.details.get("collapsed"):
        return None
    knn = _first(findings, "knn.accuracy")
    if knn is not None and knn.verdict == "pass":
        return f"{rank.meaning} What is left still tells classes apart: neighbours name {percent(knn.value)} of them."
    return f"{rank.meaning} Whatever it seems to respect, it respects because it knows nothing."


def _comparison(findings: list[Finding], header: dict[str, Any]) -> list[str]:
    """What became better, what worse, and how much of it is within noise."""
    older = header.get("compared_with") or {}
    names = {"pass": "better", "fail": "worse"}
    groups = {word: [f for f in findings if f.verdict == verdict] for verdict, word in names.items()}
    sentences = []
    for word, found in groups.items():
        if found:
            strongest = sorted(found, key=lambda f: f.p_value if f.p_value is not None else 1.0)[:3]
            listed = join_words([_change(f) for f in strongest])
            more = f" and {len(found) - len(strongest)} more" if len(found) > len(strongest) else ""
            sentences.append(f"Became {word}: {listed}{more}.")
        else:
            sentences.append(f"Nothing became {word} beyond noise.")
    still = sum(f.verdict == "inconclusive" for f in findings)
    changed = sum(f.verdict == "info" for f in findings)
    gone = len(header.get("only_before") or []) + len(header.get("only_now") or [])
    tail = f"; {gone} findings are in one of the reports only" if gone else ""
    also = f", {changed} changed with no better or worse" if changed else ""
    model = older.get("model") or "the older report"
    sentences.append(f"Of {len(findings)} numbers {still} are unchanged within noise since {model}{also}{tail}.")
    return sentences


def _change(f: Finding) -> str:
    name = f.metric.removeprefix("difference.").replace("_", " ").replace(".", ", ")
    where = f" of {f.layer}" if f.layer else ""
    return f"{name}{where} ({f.details.get('old', math.nan):.3g} to {f.details.get('new', math.nan):.3g})"


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


def _symmetry(findings: list[Finding], header: dict[str, Any]) -> str | None:
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
        twin = f", {percent(found.reference.value)} in {found.reference.source}" if found.reference else ""
        return f"{verb}: {reach}{tail}{twin}."
    usual = _first(findings, "respect.change", "embedding")
    if usual is not None:
        reach = f"of the distance between two unrelated inputs; {usual.details['most']}"
        return (
            f"The embedding is moved least by {usual.details['least']}, by {percent(min(usual.details['errors']))} {reach} "
            f"moves it most, by {percent(max(usual.details['errors']))}."
        )
    shift = _first(findings, "shift_consistency.agreement")
    if shift is not None:
        return f"Shifting the input by one pixel keeps the nearest class of {percent(shift.value)} of the embeddings."
    collapsed = [f for f in findings if f.probe == "equivariance" and f.verdict == "fail"]
    if collapsed:
        return collapsed[0].meaning
    if any(f.probe == "equivariance" for f in findings):
        return "No symmetry was measured: name one with group=..., for example group='SO(2)'."
    return None


def _classes(findings: list[Finding], header: dict[str, Any]) -> str | None:
    gap = _first(findings, "generalization.gap")
    if gap is not None and gap.verdict == "fail":
        return (
            f"It has learned its samples by heart: {_lower(gap.details['how'])} names the class of "
            f"{percent(gap.details['fitted'])} of those it was fitted on and of {percent(gap.details['held_out'])} of "
            "held-out ones."
        )
    merged = [f for f in findings if f.metric.startswith("orbit_accuracy.merges.")]
    if strong := [f for f in merged if f.details.get("merged")]:
        return _merges(strong, header)
    if _at_chance(findings):
        return _neighbours(findings)
    if kept := [f for f in merged if f.details.get("in_data")]:
        return f"The model merges no classes, but the symmetry tempts it to: {_lower(kept[0].meaning)}"
    orbit = _first(findings, "orbit_accuracy.orbit")
    upright = _first(findings, "orbit_accuracy.upright")
    if orbit is not None and upright is not None:
        return (
            f"It names the class of {percent(upright.value)} of the inputs as given and of {percent(orbit.value)} of "
            f"them moved by {orbit.group or 'the group'}; no two classes are merged by it."
        )
    return _carries_over(findings) or _neighbours(findings)


def _merges(strong: list[Finding], header: dict[str, Any]) -> str:
    pairs: list[tuple[str, str]] = []
    for f in strong:
        a, b = sorted(map(str, f.details["pair"]))
        if (a, b) not in pairs:
            pairs.append((a, b))
    names = join_words([f"{a} and {b}" if len(pairs) == 1 else f"{a} with {b}" for a, b in pairs[:3]])
    group = strong[0].group or header.get("group") or "the group"
    word = "classes" if len(pairs) == 1 else "the classes"
    return f"The symmetry {group} merges {word} {names}: {_lower(strong[0].meaning)}"


def _at_chance(findings: list[Finding]) -> bool:
    knn = _first(findings, "knn.accuracy")
    return knn is not None and knn.verdict not in ("pass", "info")


def _carries_over(findings: list[Finding]) -> str | None:
    gap = _first(findings, "generalization.gap")
    if gap is None or gap.verdict == "fail":
        return None
    held, fitted, how = gap.details["held_out"], gap.details["fitted"], gap.details["how"]
    if gap.verdict == "info":
        return f"{how} names the class of {percent(held)} of held-out inputs, no better than chance."
    end = "what it learned carries over" if gap.verdict == "pass" else "whether it carries over is not decided"
    share = percent(fitted)
    return (
        f"{how} names the class of {percent(held)} of held-out inputs and of {share} of those it was fitted on: {end}."
    )


def _neighbours(findings: list[Finding]) -> str | None:
    knn = _first(findings, "knn.accuracy")
    if knn is not None:
        chance = knn.reference.value if knn.reference is not None else math.nan
        better = f", no better than always the largest class ({percent(chance)})" if _at_chance(findings) else ""
        return f"The nearest neighbours of an embedding name its class in {percent(knn.value)} of cases{better}."
    silent = [f for f in findings if f.probe in ("knn", "linear_probe", "orbit_accuracy")]
    if silent:
        why = next((f.meaning.rstrip(".") for f in silent if f.meaning), "")
        return f"Nothing was said about classes{': ' + _lower(why) if why else ''}."
    return None


def _information(findings: list[Finding], header: dict[str, Any]) -> str | None:
    rank = _first(findings, "rankme.rank", "embedding")
    probe = _first(findings, "linear_probe.accuracy", "embedding")
    carried = None if _classes(findings, header) == _carries_over(findings) else _carries_over(findings)
    parts = []
    if rank is not None:
        of = rank.details.get("dimensions")
        parts.append(f"the embedding uses {rank.value:.0f} of {of} dimensions" if of else f"rank {rank.value:.0f}")
    if carried is not None:
        parts.append(carried.rstrip("."))
    elif probe is not None:
        null = f" ({percent(probe.reference.value)} with shuffled labels)" if probe.reference else ""
        no_more = "" if probe.verdict == "pass" else ", which is no more than chance"
        parts.append(f"a linear probe reads the class from it with {percent(probe.value)} accuracy{null}{no_more}")
    if not parts:
        return None
    sentence = "; ".join([parts[0], *map(_lower, parts[1:])])
    return sentence[0].upper() + sentence[1:] + "."
