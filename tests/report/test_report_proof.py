"""The proof panel: what it shows of a real check, and that nothing in it can raise or run."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry
from erlangen.report import render_html
from erlangen.report.lanes import exact_limit, zone
from erlangen.report.pictures import is_png
from erlangen.report.proof import proof_section
from erlangen.report.snapshots import check_record, film
from erlangen.testing import check


def stretched(x: Tensor) -> Tensor:
    return x * torch.tensor([1.0, 1.0, 3.0]).to(x)


def card(model: object, symmetry: Symmetry, inputs: object) -> tuple[dict, str]:
    record = check_record(check(model, symmetry, inputs))
    return record, proof_section([record])


def test_a_broken_image_model_shows_its_worst_case_moved() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 1, 8, 8)
    model = nn.Conv2d(1, 1, 3, padding=1)
    result = check(model, Symmetry("C4", "image", "image"), x)
    record = check_record(result)
    before, after = np.array(record["worst"]["before"]), np.array(record["worst"]["after"])
    assert before.shape == (8, 8)
    turned = [np.rot90(before, k) for k in range(1, 4)]
    assert any(np.array_equal(after, t) for t in turned), "a quarter turn moves pixels and changes none"
    page = proof_section([record])
    assert "broken" in page and "the input, and moved" in page and "g·x" in page
    assert all(is_png(uri) for uri in re.findall(r'src="([^"]+)"', page))


def test_points_keep_their_distances_in_the_picture() -> None:
    torch.manual_seed(0)
    record, page = card(stretched, Symmetry("SO(3)", "points", "points"), torch.randn(7, 3))
    clouds = [np.array(record["worst"][name]["points"]) for name in ("before", "after")]
    distances = [np.linalg.norm(c[:, None] - c[None], axis=-1) for c in clouds]
    assert np.allclose(distances[0], distances[1], atol=5e-3), "both clouds are drawn to one scale"
    assert page.count('class="cloud"') >= 2 and page.count("atom first") >= 2


def test_the_due_and_the_given_output_are_shown_where_they_are_kept() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    symmetry = Symmetry("SO(2)", "points", "points")
    result = check(lambda p: p * torch.tensor([1.0, 2.0]).to(p), symmetry, x)
    assert result.worst is not None
    worst = result.worst
    moved = worst.gx * torch.tensor([1.0, 2.0]).to(worst.gx)
    if not hasattr(worst, "moved_output"):
        object.__setattr__(worst, "moved_output", moved)
    record = check_record(result)
    wanted, got = (np.array(record["worst"][name]["points"]) for name in ("wanted", "got"))
    assert not np.allclose(wanted, got, atol=1e-2), "a broken model gives something else than is due"


@pytest.mark.parametrize(
    ("model", "symmetry", "inputs"),
    [
        (lambda x: x.sum(-2), Symmetry("S(n)", "rows", "invariant"), torch.randn(5, 4)),
        (lambda x: x.sum(), Symmetry("S(n)", "mask", "invariant"), torch.randn(6)),
        (lambda p, h: h, Symmetry("E(3)", ("points", "scalars"), "scalars"), (torch.randn(5, 3), torch.randn(5, 2))),
        (
            lambda pos: pos - pos.mean(-2, keepdim=True),
            Symmetry("E(3)", {"pos": "points"}, "vectors"),
            {"pos": torch.randn(5, 3)},
        ),
        (
            lambda x: x.flip(-1),
            Symmetry.from_functions(lambda g, d: 1, lambda g, a: (a[0].roll(g, -1),), lambda g, o: o.roll(g, -1)),
            torch.rand(3, 8, 8),
        ),
    ],
)
def test_every_kind_of_input_has_a_picture(model: object, symmetry: Symmetry, inputs: object) -> None:
    record, page = card(model, symmetry, inputs)
    assert {"before", "after"} <= set(record["worst"])
    assert 'class="film"' in page and "no picture" not in page


def test_a_vacuous_model_gets_no_row_of_green_marks() -> None:
    _, page = card(lambda x: torch.ones(3, dtype=x.dtype), Symmetry("E(3)", "points", "invariant"), torch.randn(5, 3))
    assert "vacuous" in page and "the same for every input" in page
    assert "lanes" not in page and 'class="good"' not in page


def test_single_precision_has_its_own_limit() -> None:
    assert exact_limit("far from the origin, float32") > exact_limit("float64")
    assert [zone(1e-6, n) for n in ("float32", "float64")] == ["good", "middle"]
    assert zone(math.inf, "float64") == zone(math.nan, "x") == "bad"


def test_risks_carry_the_verdict_they_lead_to() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval()
    _, page = card(model, Symmetry("S(n)", "rows", "rows"), torch.randn(5, 4))
    risks = page[page.index('class="risks"') :]
    assert "train mode" in risks and "broken" in risks[: risks.index("</ul>")]


NUMBERS = st.floats() | st.none() | st.text(max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.recursive(NUMBERS, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=4), s, max_size=3)))
def test_any_junk_is_drawn_or_left_out(junk: object) -> None:
    for kind in ("cloud", "arrows", "other"):
        page = film({"before": {"kind": kind, "points": junk, "origin": junk}, "after": junk, "got": [junk, junk]})
        assert "<script" not in page
    fields = ("verdict", "error", "parts", "curve", "risks", "causes", "scenarios", "worst", "notes", "seconds")
    for name in fields:
        assert proof_section([{name: junk}]).startswith('<div class="proofs">')


def test_a_curve_is_dots_under_a_line_that_never_falls() -> None:
    record = {"verdict": "broken", "curve": [[0.1, 0.3], [0.5, 0.1], [0.5, 0.2], [1.0, 0.4]]}
    page = proof_section([record])
    line = re.findall(r'class="curve s0" points="([^"]+)"', page)
    heights = [float(p.split(",")[1]) for p in line[0].split()]
    assert heights == sorted(heights, reverse=True), "y runs downwards on a screen"
    assert page.count('class="point s1"') == 4 and 'class="curve s1"' not in page


def test_a_check_result_goes_straight_into_the_page() -> None:
    result = check(stretched, Symmetry("SO(3)", "points", "points"), torch.randn(7, 3))
    page = render_html({"findings": []}, [result])
    assert 'id="proof"' in page and 'class="cloud"' in page
