"""What the HTML report promises of every report, friendly or hostile."""

import html.parser
import json
import math
import re
import time
from typing import Any

import pytest
from example_report import digit, example_gallery, example_proof, example_report, finding
from hypothesis import given
from hypothesis import strategies as st

from erlangen.report import read_html, render_html
from erlangen.report.page import MAX_BYTES

HOSTILE = "</script><img src=x onerror=alert(1)><!-- \" ' & \x00 javascript:"


class Page(html.parser.HTMLParser):
    """Elements, attributes and text of a page, with a check that tags are balanced."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(example_report(), example_proof(), example_gallery())


def test_every_finding_is_named_and_the_page_is_well_formed(page: str) -> None:
    words = Page(page).words
    for record in example_report()["findings"]:
        key = record["metric"] + (f"@{record['layer']}" if record["layer"] else "")
        assert key in words


def test_it_reads_back_what_was_written(page: str, tmp_path: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    assert read_html(path) == example_report()


def test_it_asks_for_nothing_and_runs_nothing(page: str) -> None:
    parsed = Page(page)
    for tag, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert tag != "script" or attributes["type"] == "application/json"
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policy = next(a["content"] for t, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy)


def test_same_input_same_bytes(page: str) -> None:
    assert render_html(example_report(), example_proof(), example_gallery()) == page


def test_anchors_lead_somewhere_and_ids_are_unique(page: str) -> None:
    elements = Page(page).elements
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for _, a in elements if (a.get("href") or "").startswith("#")}  # type: ignore[index]
    assert targets <= set(ids)


def poisoned(value: Any) -> Any:
    """The same structure with every string, and every name that is free, replaced by a hostile one."""
    if isinstance(value, dict):
        return {k: v if k in ("kind", "verdict", "schema", "low", "high") else poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v) for v in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_text_is_inert(tmp_path: Any) -> None:
    report = poisoned(example_report())
    report["panels"] = {HOSTILE + name: panel for name, panel in report["panels"].items()}
    page = render_html(report, poisoned(example_proof()), poisoned(example_gallery()))
    for tag, attributes in Page(page).elements:
        assert "onerror" not in attributes
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
        assert tag != "script" or attributes["type"] == "application/json"
    path = tmp_path / "hostile.html"
    path.write_text(page, encoding="utf-8")
    assert read_html(path) == report


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda s: st.lists(s, max_size=3)))
def test_any_value_in_any_field_renders(junk: Any) -> None:
    fields = ("value", "layer", "ci", "reference", "meaning", "figure", "warnings", "cost", "needs_samples", "details")
    records = [{**finding("knn", "knn.accuracy", 0.5), name: junk} for name in fields]
    Page(render_html({"findings": records, "header": {"model": junk, "seconds": junk}, "sentences": junk}))


def test_an_empty_report_still_renders() -> None:
    assert "No findings" in render_html({"findings": []})


def test_what_is_no_report_is_refused(tmp_path: Any) -> None:
    with pytest.raises(TypeError, match="report: got int"):
        render_html(3)
    with pytest.raises(ValueError, match="findings"):
        render_html({"header": {}})
    path = tmp_path / "other.html"
    path.write_text("<p>not ours</p>")
    with pytest.raises(ValueError, match="holds no erlangen report"):
        read_html(path)


def test_infinities_and_nan_become_null(tmp_path: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_html({"findings": [finding("a", "a.b", math.nan, threshold=math.inf)]}), encoding="utf-8")
    read = read_html(path)["findings"][0]
    assert read["value"] is None and read["threshold"] is None


def test_too_many_pictures_are_left_out_and_said_so() -> None:
    report = example_report()
    pictures = [{"before": digit(i, 64).tolist(), "after": digit(i + 1, 64).tolist(), "caption": ""} for i in range(90)]
    report["panels"]["worst"] = {"kind": "images", "title": "Worst", "images": pictures}
    page = render_html(report)
    assert len(page.encode()) <= MAX_BYTES
    assert "no pictures" in page and "more are left out" in page


def test_fails_come_first_then_inconclusive(page: str) -> None:
    order = re.findall(r'<tr id="f-[^"]*" data-v="([^"]*)"', page)
    ranks = ["fail", "inconclusive", "warn", "pass", "info", "not_applicable"]
    assert [ranks.index(v) for v in order] == sorted(ranks.index(v) for v in order)
    assert "needs about <b>4,300</b> samples" in page


def test_eighty_findings_stay_small() -> None:
    report = example_report()
    report["findings"] = [{**f, "metric": f"{f['metric']}.{i}"} for i in range(3) for f in report["findings"]][:90]
    started = time.perf_counter()
    page = render_html(report)
    assert len(page.encode()) < MAX_BYTES and time.perf_counter() - started < 30
    assert len(json.loads(re.findall(r'id="erlangen-report">(.*?)</script>', page)[0])["findings"]) == 90
