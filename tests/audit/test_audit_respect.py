"""The usual moves: planted invariances are found, what is not invariant is not, and every preset is registered."""

import math

import pytest
import torch
from audit_models import Collapsed, Encoder, Flat, blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform
from torch import Tensor, nn

import erlangen as er
from erlangen.audit.probes.respect import turned, usual_moves
from erlangen.report.formulas import METHODS


class Functional(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def errors_of(function, x: Tensor) -> dict[str, float]:
    report = er.audit(Functional(function), x, probes="respect", layers=None, reference=None)
    found = report["respect", "embedding"]
    return dict(zip(found.details["elements"], found.details["errors"], strict=True))


def test_planted_invariances_of_images_are_found_and_no_others() -> None:
    x = torch.rand(64, 3, 9, 9, generator=torch.Generator().manual_seed(0))

    def mirrored(z: Tensor) -> Tensor:
        return (z + z.flip(-1)).flatten(1)

    def without_colour_order(z: Tensor) -> Tensor:
        return z.sum(1).flatten(1)

    def direction(z: Tensor) -> Tensor:
        return nn.functional.normalize(z.flatten(1))

    for function, respected in ((mirrored, "mirror"), (without_colour_order, "colours"), (direction, "dimmer")):
        errors = errors_of(function, x)
        assert errors.pop(respected) < 1e-5
        assert min(errors.values()) > 0.01


def test_planted_invariances_of_points_and_vectors_are_found() -> None:
    x = torch.randn(64, 12, 3, generator=torch.Generator().manual_seed(0))
    errors = errors_of(lambda z: torch.cdist(z, z).flatten(1).sort(1).values, x)
    assert all(errors[m] < 1e-3 for m in ("order", "shift", "rotation", "mirror")) and errors["×1.15"] > 0.1
    assert errors_of(lambda z: z.mean(1), x)["order"] < 1e-5
    errors = errors_of(lambda z: z.square(), x[:, 0])
    assert errors["sign"] < 1e-6 and errors["×1.15"] > 0.05


def test_what_ignores_its_input_is_not_praised_and_other_shapes_say_so() -> None:
    report = er.audit(Collapsed(), blobs(), probes="respect", layers=None)
    assert report["respect"].verdict == "not_applicable" and "depends on the input" in report["respect"].meaning
    report = er.audit(Flat(), torch.rand(20, 3, 4, 5, 6), probes="respect", layers=None)
    assert report["respect"].verdict == "not_applicable" and "(3, 4, 5, 6)" in report["respect"].meaning


@settings(max_examples=10, deadline=None)
@given(angle=st.floats(-3, 3), scale=st.floats(0.5, 2), h=st.integers(6, 12), w=st.integers(6, 12))
def test_turning_agrees_with_scipy(angle: float, scale: float, h: int, w: int) -> None:
    x = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(h * w), dtype=torch.float64)
    c, s = math.cos(angle) / scale, math.sin(angle) / scale
    # output (row, column), rows downwards, counter-clockwise on the page
    matrix = [[c, s], [-s, c]]
    centre = torch.tensor([(h - 1) / 2, (w - 1) / 2], dtype=torch.float64)
    offset = centre - torch.tensor(matrix, dtype=torch.float64) @ centre
    wanted = affine_transform(x[0, 0].numpy(), matrix, offset.numpy(), order=1, mode="constant")
    inside = (
        affine_transform(torch.ones(h, w).double().numpy(), matrix, offset.numpy(), order=1, mode="constant") > 0.999
    )
    got = turned(x, angle, scale)[0, 0].numpy()
    assert abs((got - wanted)[inside]).max(initial=0.0) < 1e-9


def test_a_turn_goes_the_way_that_rot90_does() -> None:
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned(x, math.pi / 2), x.rot90(1, (-2, -1)), atol=1e-5, rtol=0)


def test_the_matrix_is_in_the_report_with_and_without_a_group() -> None:
    report = er.audit(Encoder(), blobs(), probes=["respect", "knn"])
    assert "least by" in report.sentences()[0]
    page = report.to_html()
    assert (
        "What does it respect?" in page
        and "turn 15°" in page
        and "The usual moves, relative to the untrained twin" in page
    )
    shapes = [usual_moves(torch.rand(s), seed=0) for s in ((4, 3, 8, 9), (4, 7, 3), (4, 6))]
    assert [len(m) for m in shapes] == [9, 5, 3]


@pytest.mark.parametrize("preset", er.audit.PRESETS)
def test_every_name_in_a_preset_is_registered(preset: str) -> None:
    assert [n for n in er.audit.PRESETS[preset] if n not in er.audit.probes] == []


def test_every_probe_has_a_formula_and_words_on_why() -> None:
    built_in = [e.name for e in er.audit.probes if e.room.startswith("audit")]
    assert [n for n in built_in if n not in METHODS] == []
