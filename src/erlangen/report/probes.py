"""One picture a probe, with the sentence it stands for: for every probe that the big figures do not show already."""

from collections.abc import Mapping
from typing import Any

from erlangen.report.chart import chart
from erlangen.report.figures import is_respect
from erlangen.report.heat import heat_table
from erlangen.report.marks import badge, word_of
from erlangen.report.pictures import before_after
from erlangen.report.plain import grouped, key_of, mapping, sequence, verdict_of
from erlangen.report.wording import escape, prose, slug, title_of

MOST_IMAGES = 6
MOST_FIGURES = 2
SHOWN_ELSEWHERE = ("equivariance", "respect", "cka", "training")
OF_THE_DATA = ("duplicates", "contradictory_labels", "data_dimension", "label_sharpness", "scaling_law", "dataset")


def is_data(finding: Mapping[str, Any]) -> bool:
    """Whether a finding speaks of the data, not of the model."""
    return str(finding.get("probe")) in OF_THE_DATA


def data_section(record: Mapping[str, Any], *, most: int) -> str:
    """Duplicates, contradictions, dimension with its calibration, predicted loss: what the data alone say."""
    return _cards([f for f in record["findings"] if is_data(f)], most=most, figures=4)


def picture_section(record: Mapping[str, Any], *, most: int) -> str:
    """The first pictures of every other probe."""
    told = [f for f in record["findings"] if not is_data(f) and f.get("probe") not in SHOWN_ELSEWHERE]
    return _cards(told, most=most, figures=MOST_FIGURES)


def _cards(findings: list[dict[str, Any]], *, most: int, figures: int) -> str:
    parts = []
    for name, group in grouped(findings, "probe").items():
        drawn: list[str] = []
        for finding in group:
            spec = mapping(finding.get("figure"))
            if spec and len(drawn) < figures and not (spec.get("kind") == "curve" and is_respect(key_of(finding))):
                drawn.append(_figure(spec, most=most))
        drawn = [d for d in drawn if d]
        if drawn:
            wide = " wide" if len(drawn) > 1 or any('class="wide"' in d for d in drawn) else ""
            parts.append(
                f'<article class="probe{wide}"><h3><a href="#m-{slug(name)}">{escape(title_of(name))}</a></h3>'
                f'{_words(group)}<div class="grid">{"".join(drawn)}</div></article>'
            )
    return f'<div class="cards">{"".join(parts)}</div>' if parts else ""


def _words(group: list[dict[str, Any]]) -> str:
    """The verdict and the sentence of the finding that has the picture."""
    lead = next((f for f in group if f.get("figure")), group[0])
    return f'<p class="told">{badge(verdict_of(lead), word_of(lead))} {prose(lead.get("meaning") or "")}</p>'


def _figure(spec: Mapping[str, Any], *, most: int) -> str:
    kind = spec.get("kind")
    if kind in ("curve", "bars"):
        return chart(spec, width=350, height=215)
    if kind == "matrix":
        return f'<div class="wide">{heat_table(spec, palette="similarity")}</div>'
    if kind == "images":
        pairs = [mapping(p) for p in sequence(spec.get("images"))]
        shown = "".join(before_after(p) for p in pairs[: min(most, MOST_IMAGES)])
        caption = escape(spec.get("title") or "")
        return (
            f'<div class="wide"><p class="quiet">{caption}</p><div class="pairs">{shown}</div></div>' if shown else ""
        )
    return ""
