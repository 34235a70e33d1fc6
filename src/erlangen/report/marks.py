"""How a verdict looks: an icon whose shape differs, a word, and a colour; never a colour alone."""

from collections.abc import Mapping
from typing import Any

from erlangen.report.plain import number, verdict_of
from erlangen.report.wording import escape

WORDS = {
    "fail": "fail",
    "warn": "warning",
    "inconclusive": "inconclusive",
    "pass": "pass",
    "info": "for information",
    "not_applicable": "not applicable",
    "exact": "exact",
    "round-off": "round-off",
    "approximate": "approximate",
    "broken": "broken",
    "vacuous": "vacuous",
}
COMPARED = {
    "fail": "worse",
    "warn": "worse",
    "inconclusive": "unchanged within noise",
    "pass": "better",
    "info": "changed",
}
_LOOKS = {"exact": "pass", "round-off": "pass", "approximate": "warn", "broken": "fail", "vacuous": "fail"}

_SHAPES = {
    "fail": '<path d="M5.2.8h5.6l4.4 4.4v5.6l-4.4 4.4H5.2L.8 10.8V5.2z" fill="currentColor"/>'
    '<path d="M5.3 5.3l5.4 5.4M10.7 5.3l-5.4 5.4" class="cut"/>',
    "warn": '<path d="M8 1l7.4 13.6H.6z" fill="currentColor"/><path d="M8 6v4M8 12v.6" class="cut"/>',
    "inconclusive": '<circle cx="8" cy="8" r="6.7" class="ring" stroke-dasharray="3.2 1.6"/>'
    '<path d="M5.9 6.3c0-2.7 4.3-2.7 4.3 0 0 1.6-2.1 1.5-2.1 3.3M8.1 11.6v.6" class="line"/>',
    "pass": '<circle cx="8" cy="8" r="7.4" fill="currentColor"/><path d="M4.6 8.3l2.4 2.4 4.5-5.1" class="cut"/>',
    "info": '<rect x="1.2" y="1.2" width="13.6" height="13.6" rx="3" class="ring"/>'
    '<path d="M8 7.2v4.2M8 4.4v.6" class="line"/>',
    "not_applicable": '<circle cx="8" cy="8" r="6.8" class="ring"/><path d="M4.8 8h6.4" class="line"/>',
}
_DEFINED = "".join(f'<symbol id="i-{name}" viewBox="0 0 16 16">{shape}</symbol>' for name, shape in _SHAPES.items())
SYMBOLS = f'<svg width="0" height="0" class="defs" aria-hidden="true"><defs>{_DEFINED}</defs></svg>'


def look_of(verdict: str) -> str:
    """The one of the six looks that a verdict of an audit or of a check wears."""
    base = verdict.split("(")[0].strip()
    look = _LOOKS.get(base, base)
    return look if look in WORDS and look not in _LOOKS else "info"


def icon(verdict: str) -> str:
    look = look_of(verdict)
    return (
        f'<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><use href="#i-{look}"/></svg>'
    )


def word_of(finding: Mapping[str, Any]) -> str:
    """The verdict in words; of a difference, whether it is better or worse, with an arrow up or down."""
    verdict = verdict_of(finding)
    if not str(finding.get("metric") or "").startswith("difference."):
        return WORDS[verdict]
    value = number(finding.get("value"))
    arrow = "" if verdict == "inconclusive" or not value else " ↑" if value > 0 else " ↓"
    return f"{COMPARED.get(verdict, WORDS[verdict])}{arrow}"


def badge(verdict: str, word: str | None = None) -> str:
    """Icon and word in the verdict's colour."""
    word = WORDS.get(verdict, verdict) if word is None else word
    return f'<span class="badge v-{look_of(verdict)}">{icon(verdict)}<span>{escape(word)}</span></span>'
