"""The top of the report: what was looked at, and the three sentences."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from erlangen.report.marks import COMPARED, WORDS, icon
from erlangen.report.plain import ORDER, mapping, number, sequence, verdict_of
from erlangen.report.wording import count_text, escape, prose, seconds_text, size_text

LOGO = (
    '<svg class="logo" viewBox="0 0 40 40" width="40" height="40" aria-hidden="true">'
    '<g fill="none" stroke="currentColor">'
    '<path d="M13.4 4h13.2L36 13.4v13.2L26.6 36H13.4L4 26.6V13.4z" stroke-width="1.6"/>'
    '<path d="M20 20L20 4.2M20 20L31.2 8.8M20 20h15.8M20 20l11.2 11.2M20 20v15.8'
    'M20 20L8.8 31.2M20 20H4.2M20 20L8.8 8.8" '
    'stroke-width=".7" opacity=".55"/></g><circle cx="20" cy="20" r="2.6" fill="currentColor"/>'
    '<circle cx="31.2" cy="8.8" r="3" class="accent"/></svg>'
)


def header_card(record: Mapping[str, Any]) -> str:
    """Model, data, how much of it, seed, versions, cost and the command that makes the report again."""
    header = mapping(record.get("header"))
    findings = [f for f in record["findings"] if isinstance(f, Mapping)]
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{text}</dd></div>" for name, text in _facts(header))
    command = "new.compare(old)" if header.get("compared_with") else header.get("command")
    how = f'<p class="command"><span>Make it again</span><code>{escape(command)}</code></p>' if command else ""
    return (
        f'<header class="card" id="top"><p class="mark">{LOGO}<span><b>erlangen</b> audit report</span></p>'
        f"{_title(header)}"
        f"{_tally(findings)}<dl>{facts}</dl>{how}</header>"
    )


def _title(header: Mapping[str, Any]) -> str:
    older = mapping(header.get("compared_with"))
    data = escape(header.get("data") or "its data")
    if older:
        change = f"{escape(older.get('model') or 'before')} → {escape(header.get('model') or 'now')}"
        how = "pair by pair on the same samples" if header.get("paired") else "on samples of their own"
        return f'<h1>{change}</h1><p class="on">what changed on <b>{data}</b>, {how}</p>'
    if header.get("parameters") is None and header.get("model") in (None, "no model"):
        return f'<h1>{data}</h1><p class="on">the data alone, without a model</p>'
    model = escape(header.get("model") or "A model")
    return f'<h1>{model}</h1><p class="on">on <b>{data}</b>{_symmetry(header)}</p>'


def _symmetry(header: Mapping[str, Any]) -> str:
    group = header.get("group")
    return f", asked about the symmetry <b>{escape(group)}</b>" if group else ""


def _facts(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    if header.get("parameters") is not None:
        facts.append(("Parameters", escape(count_text(header["parameters"]))))
    if header.get("n_used") is not None:
        of = (
            f' <span class="quiet">of {escape(count_text(header["n_available"]))}</span>'
            if header.get("n_available")
            else ""
        )
        facts.append(("Samples used", escape(count_text(header["n_used"])) + of))
    classes = header.get("classes")
    if classes:
        facts.append(("Classes", escape(len(classes) if isinstance(classes, (list, tuple)) else count_text(classes))))
    if header.get("seed") is not None:
        facts.append(("Seed", escape(header["seed"])))
    if number(header.get("seconds")) >= 0:
        facts.append(("Time", escape(seconds_text(number(header["seconds"])))))
    if number(header.get("peak_bytes")) >= 0:
        facts.append(("Peak memory", escape(size_text(number(header["peak_bytes"])))))
    merged = [_pair(p) for p in sequence(header.get("merged_classes"))]
    if merged:
        facts.append(("Classes it merges", escape(", ".join(merged))))
    versions = mapping(header.get("versions"))
    if versions:
        facts.append(("Versions", escape(", ".join(f"{k} {v}" for k, v in versions.items()))))
    return facts


def _pair(pair: Any) -> str:
    return " ↔ ".join(map(str, pair)) if isinstance(pair, (list, tuple)) else str(pair)


def _tally(findings: list[Mapping[str, Any]]) -> str:
    words = {**WORDS, **COMPARED} if any(str(f.get("metric")).startswith("difference.") for f in findings) else WORDS
    counts = Counter(verdict_of(dict(f)) for f in findings)
    items = "".join(
        f'<li class="v-{v}" style="--n:{counts[v]}"><span class="strip"></span>{icon(v)}'
        f"<b>{counts[v]}</b> {words[v]}</li>"
        for v in ORDER
        if counts[v]
    )
    return f'<ul class="tally">{items}</ul>' if items else '<p class="quiet">No findings.</p>'


def three_sentences(record: Mapping[str, Any]) -> str:
    """What to know if nothing else is read."""
    items = "".join(f"<li>{prose(s)}</li>" for s in sequence(record.get("sentences")))
    if not items:
        return ""
    return (
        f'<section id="sentences" class="sentences" aria-labelledby="h-sentences">'
        f'<h2 id="h-sentences" class="eyebrow">In three sentences</h2><ol>{items}</ol></section>'
    )
