"""The one-file HTML report: no network, no script, at most two megabytes."""

import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

from erlangen.report.embedded import ELEMENT, embed_json, read_html
from erlangen.report.gallery import search_section
from erlangen.report.marks import SYMBOLS
from erlangen.report.methods import method_section
from erlangen.report.opening import header_card, three_sentences
from erlangen.report.panels import profile_section, similarity_section, worst_section
from erlangen.report.plain import as_record, mapping
from erlangen.report.probes import data_section, picture_section
from erlangen.report.proof import proof_section
from erlangen.report.respect import respect_section
from erlangen.report.snapshots import check_record
from erlangen.report.training import training_section
from erlangen.report.verdicts import verdict_section
from erlangen.report.wording import escape

__all__ = ["MAX_BYTES", "read_html", "render_html"]

MAX_BYTES = 2_000_000
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_ICON = "data:,"  # an empty icon, so that no browser asks for one


def render_html(report: Any, proof: Sequence[Any] | None = None, gallery: Sequence[Any] | None = None) -> str:
    """The report as one HTML page that needs nothing else.

    - `report`: a `Report`, or the dict of `Report.to_dict()`.
    - `proof`: check results, shown as the proof panel with pictures of their worst case; or their `to_dict()`, where
      `name` and, in `worst`, the pictures `before`, `after`, `wanted` and `got` are shown if they are there.
    - `gallery`: rows of a query and its neighbours, shown as the search panel (`gallery.search_section` has the form).

    The same input gives the same bytes. A page that would exceed two megabytes shows fewer pictures, then leaves
    pictures, figures and at last details out of the embedded numbers, and says so; if that is not enough: `ValueError`.
    """
    record = as_record(report)
    record["findings"] = [dict(f) for f in record["findings"] if isinstance(f, Mapping)]
    checks = [check_record(r) for r in proof or []]
    size = 0
    for keep, most_pictures in (
        ("all", (24, 8)),
        ("no pictures", (8,)),
        ("no figures", (4,)),
        ("no figures and no details", (2,)),
    ):
        numbers = embed_json(_kept(record, keep), ELEMENT)
        size = len(numbers)
        if size > MAX_BYTES:
            continue
        for most in most_pictures:
            page = _page(record, checks, list(gallery or []), most=most, keep=keep, numbers=numbers)
            size = len(page.encode("utf-8"))
            if size <= MAX_BYTES:
                return page
    raise ValueError(
        f"report: {len(record['findings'])} findings make {size:,} bytes of HTML, over {MAX_BYTES:,}; "
        "use Report.to_json, or audit fewer layers"
    )


def _page(
    record: dict[str, Any], checks: list[dict[str, Any]], gallery: list[Any], *, most: int, keep: str, numbers: str
) -> str:
    header = mapping(record.get("header"))
    sections = [
        (
            "verdicts",
            "Verdicts",
            "Every finding is decided from its interval, never from its point.",
            verdict_section(record["findings"]),
        ),
        (
            "respect",
            "What does it respect?",
            "Rows are layers, columns elements of the group: the lower the number, the less the element matters.",
            respect_section(record),
        ),
        (
            "proof",
            "Proof",
            "Move the input by an element g of the group: does the answer f move along? The numbers are "
            "‖f(g·x) − g·f(x)‖ / ‖g·f(x)‖ for the worst g that was drawn: 0.1 is an answer that is off by 10 % of its "
            "size.",
            proof_section(checks) if checks else "",
        ),
        (
            "profile",
            "Through the layers",
            "One chart a metric, in the order of the layers; the reference in grey.",
            profile_section(record),
        ),
        (
            "training",
            "Training",
            "Every term of the loss over the epochs, with what a healthy one looks like, and what was seen of the embedding "
            "after each epoch.",
            training_section(record),
        ),
        ("similarity", "Similarity of layers", "Which layers hold the same geometry.", similarity_section(record)),
        (
            "pictures",
            "In pictures",
            "One picture a probe; its name leads to how it was made.",
            picture_section(record, most=most),
        ),
        ("data", "The data", "What the data say without any model.", data_section(record, most=most)),
        (
            "worst",
            "Worst cases",
            "The inputs on which it went wrong most: on the left as given, on the right moved by an element of the group.",
            worst_section(record, most=most),
        ),
        (
            "search",
            "Search",
            "A query and what lies nearest to it in the embedding. Under each picture its class and how similar it is to "
            "the query (1: as similar as can be); a dashed frame marks another class than the query's.",
            search_section(gallery, most=most),
        ),
        (
            "methods",
            "Methods and numbers",
            "How each number was made, and the number itself: open a line for the formula, the rule behind the verdict, "
            "what it assumes and where it comes from.",
            method_section(record["findings"]),
        ),
    ]
    shown = [s for s in sections if s[3]]
    links = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title, _, _ in shown)
    main = "".join(
        f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{escape(title)}</h2>'
        f'<p class="lead">{escape(lead)}</p>{body}</section>'
        for name, title, lead, body in shown
    )
    about = header.get("data") if header.get("model") == "no model" else header.get("model")
    title = escape(f"{about or 'model'} · erlangen audit")
    style = importlib.resources.files("erlangen.report").joinpath("assets/style.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta name="referrer" content="no-referrer"><link rel="icon" href="{_ICON}">'
        f"<style>{style}</style></head><body>"
        f'<a class="skip" href="#content">Skip to the findings</a>{SYMBOLS}'
        f'<div class="frame"><nav aria-label="Sections"><a class="home" href="#top">erlangen</a><ol>{links}</ol></nav>'
        f'<main id="content">{header_card(record)}{three_sentences(record)}{main}{_footer(keep)}</main></div>'
        f"{numbers}</body></html>\n"
    )


def _kept(record: dict[str, Any], keep: str) -> dict[str, Any]:
    """The record for the embedded JSON, without what did not fit."""
    if keep == "all":
        return record
    gone = ("images",) if keep == "no pictures" else ("images", "curve", "bars", "matrix")

    def without(figure: Any) -> bool:
        return mapping(figure).get("kind") in gone

    findings = [{**f, "figure": None} if without(f.get("figure")) else f for f in record["findings"]]
    if keep == "no figures and no details":
        findings = [{**f, "details": {}} for f in findings]
    panels = {name: panel for name, panel in mapping(record.get("panels")).items() if not without(panel)}
    return {**record, "findings": findings, "panels": panels}


def _footer(keep: str) -> str:
    missing = "" if keep == "all" else f" To stay under two megabytes they hold {keep}."
    return (
        "<footer><p>This file holds its own numbers as JSON: <code>Report.from_html(path)</code> reads them back."
        f"{missing} It loads nothing from the network and runs no script.</p></footer>"
    )
