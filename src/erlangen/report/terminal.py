"""The report as a table for a terminal."""

import io
import math
from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from erlangen.report.marks import word_of
from erlangen.report.plain import as_record, by_verdict, key_of, mapping, number, sequence, verdict_of
from erlangen.report.wording import count_text, figure_text

_ICONS = {"fail": "✗", "inconclusive": "?", "warn": "!", "pass": "✓", "info": "·", "not_applicable": "–"}
_COLOURS = {"fail": "red", "inconclusive": "magenta", "warn": "yellow", "pass": "green"}


def terminal_table(report: Any, *, width: int = 120, color: bool = False) -> str:
    """The three sentences, one row a finding with fails first, and what the open ones mean.

    `report` is a `Report` or its dict; with `color` the text holds ANSI escapes.
    """
    record = as_record(report)
    findings = [dict(f) for f in record["findings"] if isinstance(f, Mapping)]
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("", no_wrap=True)
    table.add_column("finding", overflow="fold")
    table.add_column("layer", overflow="fold")
    for name in ("value", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reference", no_wrap=True)
    ranked = by_verdict(findings)
    for finding in ranked:
        name, layer = str(finding.get("metric") or finding.get("probe") or ""), str(finding.get("layer") or "")
        cells = (name, layer, figure_text(number(finding.get("value"))), _interval(finding), _reference(finding))
        table.add_row(_mark(finding), *(Text(_printable(c)) for c in cells))
    written = io.StringIO()
    colors: Literal["standard"] | None = "standard" if color else None
    console = Console(file=written, width=width, force_terminal=color, color_system=colors, legacy_windows=False)
    header = mapping(record.get("header"))
    model, data = header.get("model") or "model", header.get("data") or "data"
    console.print(Text(_printable(f"{model} on {data}"), style="bold"))
    for sentence in sequence(record.get("sentences")):
        console.print(Text(_printable(f"  {sentence}")))
    console.print()
    console.print(table)
    told = [f for f in ranked if verdict_of(f) in ("fail", "inconclusive", "warn")]
    if told:
        console.print()
    for finding in told:
        console.print(_mark(finding), Text(_printable(f"{key_of(finding)}: {_meaning(finding)}")))
    return "\n".join(line.rstrip() for line in written.getvalue().rstrip().splitlines())


def _mark(finding: Mapping[str, Any]) -> Text:
    """Icon and word, coloured."""
    verdict = verdict_of(finding)
    return Text(f"{_ICONS[verdict]} {word_of(finding)}", style=_COLOURS.get(verdict, "dim"))


def _printable(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _interval(finding: Mapping[str, Any]) -> str:
    ci = mapping(finding.get("ci"))
    low, high = number(ci.get("low")), number(ci.get("high"))
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return ""
    return f"[{figure_text(low)}, {figure_text(high)}]"


def _reference(finding: Mapping[str, Any]) -> str:
    reference = mapping(finding.get("reference"))
    value = number(reference.get("value"))
    return f"{figure_text(value)} {reference.get('kind', '')}".strip() if math.isfinite(value) else ""


def _meaning(finding: Mapping[str, Any]) -> str:
    meaning = str(finding.get("meaning") or "")
    needed = number(finding.get("needs_samples"))
    if verdict_of(finding) == "inconclusive" and math.isfinite(needed):
        return f"needs about {count_text(needed)} samples. {meaning}".strip()
    return meaning
