"""The method appendix: every number again, with its rule, assumptions, citation and cost."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.formulas import METHODS
from erlangen.report.marks import badge, word_of
from erlangen.report.plain import grouped, key_of, mapping, number, sequence, verdict_of
from erlangen.report.wording import count_text, escape, figure_text, seconds_text, size_text, slug, title_of


def method_section(findings: list[dict[str, Any]]) -> str:
    """One fold a probe."""
    return "".join(_probe(name, group) for name, group in grouped(findings, "probe").items())


def _probe(name: str, findings: list[dict[str, Any]]) -> str:
    method = METHODS.get(name)
    seconds = sum(max(number(mapping(f.get("cost")).get("seconds")), 0.0) for f in findings if mapping(f.get("cost")))
    facts = []
    if method is not None:
        facts += [("Why", escape(method.why)), ("Formula", f"<code>{escape(method.formula)}</code>")]
    facts += [("Rule", _distinct(findings, "rule")), ("Assumes", _distinct(findings, "assumptions"))]
    if method is not None:
        facts.append(("What would change it", escape(method.changes)))
    facts += [("Source", _distinct(findings, "citation")), ("Cost", _cost(findings, seconds))]
    terms = "".join(f"<div><dt>{label}</dt><dd>{text}</dd></div>" for label, text in facts if text)
    plural = "" if len(findings) == 1 else "s"
    return (
        f'<details class="method" id="m-{slug(name)}"><summary>{escape(title_of(name))}'
        f"<span>{len(findings)} finding{plural}</span></summary><dl>{terms}</dl>{_numbers(findings)}</details>"
    )


def _distinct(findings: list[dict[str, Any]], field: str, most: int = 6) -> str:
    texts = list(dict.fromkeys(str(t) for f in findings for t in sequence(f.get(field)) if t))
    if not texts:
        return ""
    if len(texts) == 1:
        return escape(texts[0])
    more = f'<li class="quiet">and {len(texts) - most} more, in the numbers below</li>' if len(texts) > most else ""
    return f"<ul>{''.join(f'<li>{escape(t)}</li>' for t in texts[:most])}{more}</ul>"


def _cost(findings: list[dict[str, Any]], seconds: float) -> str:
    costs = [mapping(f.get("cost")) for f in findings]
    peak = max((number(c.get("peak_bytes")) for c in costs if number(c.get("peak_bytes")) > 0), default=0.0)
    samples = max((number(c.get("samples")) for c in costs if number(c.get("samples")) > 0), default=0.0)
    words = [seconds_text(seconds)] if seconds > 0 else []
    words += [size_text(peak)] if peak > 0 else []
    words += [f"{count_text(samples)} samples"] if samples > 0 else []
    return escape(", ".join(words))


def _numbers(findings: list[dict[str, Any]]) -> str:
    rows = "".join(_number_row(f) for f in findings)
    return (
        '<div class="scroll"><table class="raw"><thead><tr><th scope="col">Key</th><th scope="col">Value</th>'
        '<th scope="col">Interval</th><th scope="col">Made by</th><th scope="col">Reference</th>'
        f'<th scope="col">Verdict</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _number_row(finding: Mapping[str, Any]) -> str:
    ci, reference = mapping(finding.get("ci")), mapping(finding.get("reference"))
    low, high = number(ci.get("low")), number(ci.get("high"))
    interval = f"{figure_text(low)} to {figure_text(high)}" if math.isfinite(low) and math.isfinite(high) else "–"
    level = number(ci.get("level"))
    made = f"{ci.get('method', '')}" + (f", {100 * level:.0f} %" if math.isfinite(level) and high > low else "")
    made += f", n = {count_text(ci['n_effective'])}" if ci.get("n_effective") else ""
    told = f"{figure_text(number(reference.get('value')))} {reference.get('kind', '')}" if reference else "–"
    source = f'<span class="quiet">{escape(reference["source"])}</span>' if reference.get("source") else ""
    return (
        f'<tr><th scope="row"><code>{escape(key_of(finding))}</code></th><td class="num">'
        f"{figure_text(number(finding.get('value')))}</td><td>{interval}</td><td>{escape(made) or '–'}</td>"
        f"<td>{escape(told)} {source}</td><td>{badge(verdict_of(finding), word_of(finding))}</td></tr>"
    )
