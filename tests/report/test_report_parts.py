"""Axes, words, pictures, the twin-relative matrix and the terminal table."""

import base64
import io
import math

import numpy as np
import pytest
from example_report import example_report, finding
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from erlangen.report import terminal_table
from erlangen.report.pictures import png_uri
from erlangen.report.respect import relative_to_twin
from erlangen.report.scales import fit_scale
from erlangen.report.wording import escape, figure_text, size_text, slug, title_of


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_scale_holds_its_values_in_order(values: list[float]) -> None:
    scale = fit_scale(values, 0.0, 100.0)
    at = [scale(v) for v in sorted(values)]
    assert at == sorted(at) and all(0 <= a <= 100 for a in at)
    assert all(scale.low <= t <= scale.high * (1 + 1e-9) + 1e-9 for t in scale.ticks())


def test_decades_make_a_logarithmic_scale_and_shares_run_to_one() -> None:
    scale = fit_scale([1e-7, 1e-1], 0.0, 60.0)
    assert scale.log and scale(1e-4) == pytest.approx(30.0)
    assert (fit_scale([0.2, 0.9], 0, 1).low, fit_scale([0.2, 0.9], 0, 1).high) == (0.0, 1.0)


@given(st.integers(1, 70), st.integers(1, 70), st.booleans(), st.randoms())
def test_pictures_come_back_as_they_were(height: int, width: int, colour: bool, random: object) -> None:
    shape = (height, width, 3) if colour else (height, width)
    array = np.random.default_rng(height * 71 + width).integers(0, 256, shape, dtype=np.uint8)
    uri = png_uri(array.tolist())
    assert uri is not None
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert max(image.size) <= 64
    if max(height, width) <= 64:
        assert np.array_equal(np.asarray(image), array)


def test_what_is_no_picture_is_none() -> None:
    assert [png_uri(v) for v in ("https://elsewhere/x.png", [[1], [1, 2]], [], 7, [["a"]])] == [None] * 5


def test_numbers_and_names_as_people_read_them() -> None:
    assert figure_text(0.03124) == "0.0312" and figure_text(1797) == "1,797" and figure_text(3.1e-7) == "3.1 × 10⁻⁷"
    assert figure_text(-3.12) == "−3.12" and figure_text(math.nan) == "–" and size_text(214_000_000) == "204 MiB"
    assert title_of("knn.accuracy") == "kNN · accuracy" and title_of("orbit_accuracy.orbit") == "Orbit accuracy · orbit"


@given(st.text(), st.text())
def test_slugs_are_safe_and_escaped_text_is_inert(a: str, b: str) -> None:
    assert all(c.isascii() and (c.isalnum() or c == "-") for c in slug(a))
    assert not set("<>\"'") & set(escape(b))


def test_the_matrix_is_zero_at_the_floor_and_one_at_the_twin() -> None:
    details = {"elements": ["a", "b", "c", "d"], "errors": [0.1, 0.6, 0.35, 0.2], "twin": [0.6, 0.6, 0.6, 0.11]}
    spec = relative_to_twin([finding("equivariance", "e", 0.0, layer="l", details={**details, "floors": [0.1] * 4})])
    assert spec is not None
    assert spec["values"][0][:3] == pytest.approx([0.0, 1.0, 0.5]) and math.isnan(spec["values"][0][3])


def test_the_terminal_table_has_every_finding_and_no_control_characters() -> None:
    report = example_report()
    report["header"]["model"] = "\x1b[31mred\x07"
    text = terminal_table(report)
    assert "\x1b" not in text and "\x07" not in text
    lines = text.splitlines()
    for record in report["findings"]:
        assert any(record["metric"] in line and record["layer"] in line for line in lines)
    assert text.index("✗ fail") < text.index("? inconclusive") < text.index("✓ pass")
    assert max(map(len, lines)) <= 120 and "\x1b[" in terminal_table(example_report(), color=True)
