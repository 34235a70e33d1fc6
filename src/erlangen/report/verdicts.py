"""The verdict table: one row a finding, fails first."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.marks import COMPARED, WORDS, badge, word_of
from erlangen.report.plain import ORDER, by_verdict, grouped, key_of, mapping, number, sequence, verdict_of
from erlangen.report.scales import Scale
from erlangen.report.whisker import scale_of, whisker
from erlangen.report.wording import count_text, escape, figure_text, prose, slug, title_of

MOST_PASSED = 8
FOLDED = ("info", "not_applicable")


def verdict_section(findings: list[dict[str, Any]]) -> str:
    """Decided and undecided findings as a table that filters without a script; what has no verdict is folded."""
    scales = {metric: scale_of(group) for metric, group in grouped(findings, "metric").items()}
    rows = by_verdict(findings)
    passed = [f for f in rows if verdict_of(f) == "pass"]
    passed = passed if len(passed) > MOST_PASSED else []
    open_rows = [f for f in rows if verdict_of(f) not in FOLDED and f not in passed]
    folded = [f for f in rows if verdict_of(f) in FOLDED]
    present = [v for v in ORDER if any(verdict_of(f) == v for f in open_rows)]
    compared = any(str(f.get("metric")).startswith("difference.") for f in findings)
    called = {**WORDS, **COMPARED} if compared else WORDS
    parts = [_legend()]
    if open_rows:
        parts += [
            _filter(present, called) if len(present) > 1 else "",
            _table(open_rows, scales, "Findings with a verdict"),
        ]
    elif not passed:
        parts.append("<p>No finding carries a verdict.</p>")
    opened = not open_rows
    for group, title, words in (
        (
            passed,
            "became better" if compared else "passed",
            "their whole interval lies on the good side of the threshold",
        ),
        (folded, "without a verdict", "numbers for which no threshold can be defended"),
    ):
        if group:
            parts.append(_fold(_table(group, scales, f"Findings {title}"), len(group), title, words, opened))
    return "".join(parts)


def _fold(table: str, count: int, title: str, words: str, opened: bool) -> str:
    plural = "" if count == 1 else "s"
    return (
        f'<details class="fold"{" open" if opened else ""}><summary>{count} finding{plural} {title}'
        f"<span>{words}</span></summary>{table}</details>"
    )


def _legend() -> str:
    return (
        '<ul class="legend marks"><li><svg width="34" height="16" viewBox="0 0 34 16" aria-hidden="true">'
        '<path class="whisker" d="M3 8H31M3 4v8M31 4v8"/><circle class="dot" cx="17" cy="8" r="4.2"/></svg>'
        "value and interval</li>"
        '<li><svg width="26" height="18" viewBox="0 0 26 18" aria-hidden="true">'
        '<rect class="band" x="2" y="1" width="22" height="16" rx="2"/>'
        '<path class="reference" d="M13 3l5 6l-5 6l-5 -6z"/></svg>reference and its band</li>'
        '<li><svg width="8" height="18" viewBox="0 0 8 18" aria-hidden="true">'
        '<line class="threshold" x1="4" x2="4" y1="0" y2="18"/></svg>threshold</li>'
        '<li class="quiet">rows of one metric share an axis</li></ul>'
    )


def _filter(present: list[str], words: dict[str, str]) -> str:
    options = ['<label><input type="radio" name="show" id="show-all" checked><span>all</span></label>']
    options += [
        f'<label><input type="radio" name="show" id="show-{v}"><span>{escape(words[v])}</span></label>' for v in present
    ]
    return f'<fieldset class="filter"><legend>Show</legend>{"".join(options)}</fieldset>'


def _table(findings: list[dict[str, Any]], scales: dict[str, Scale], caption: str) -> str:
    body = "".join(_row(f, scales[str(f.get("metric") or "")]) for f in findings)
    return (
        f'<div class="scroll"><table class="verdicts"><caption class="unseen">{escape(caption)}</caption><thead><tr>'
        '<th scope="col">Verdict</th><th scope="col">Finding</th><th scope="col">Value</th>'
        '<th scope="col">Against its reference</th><th scope="col">What it means</th>'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(finding: Mapping[str, Any], scale: Scale) -> str:
    verdict, key = verdict_of(finding), key_of(finding)
    metric = str(finding.get("metric") or finding.get("probe") or "")
    title = title_of(metric.removeprefix("difference."))
    where = " ".join(
        f'<span class="chip">{escape(v)}</span>' for v in (finding.get("layer"), finding.get("group")) if v
    )
    return (
        f'<tr id="f-{slug(key)}" data-v="{verdict}"><td>{badge(verdict, word_of(finding))}{_needs(finding)}</td>'
        f'<th scope="row"><a href="#m-{slug(str(finding.get("probe") or ""))}">{escape(title)}</a>'
        f'<span class="where">{where}</span></th><td class="num">{_value(finding)}</td>'
        f'<td class="v-{verdict}">{whisker(finding, scale)}</td><td class="meaning">{_meaning(finding)}</td></tr>'
    )


def _needs(finding: Mapping[str, Any]) -> str:
    needed = number(finding.get("needs_samples"))
    if verdict_of(finding) != "inconclusive" or not math.isfinite(needed):
        return ""
    return f'<span class="needs">needs about <b>{count_text(needed)}</b> samples</span>'


def _value(finding: Mapping[str, Any]) -> str:
    ci = mapping(finding.get("ci"))
    low, high = number(ci.get("low")), number(ci.get("high"))
    text = f"<b>{figure_text(number(finding.get('value')))}</b>"
    if math.isfinite(low) and math.isfinite(high) and high > low:
        text += f'<span class="ci">{figure_text(low)} to {figure_text(high)}</span>'
    return text


def _meaning(finding: Mapping[str, Any]) -> str:
    meaning = prose(finding.get("meaning") or finding.get("rule") or "")
    warnings = "".join(f'<span class="caution">{prose(w)}</span>' for w in sequence(finding.get("warnings")))
    return meaning + warnings
