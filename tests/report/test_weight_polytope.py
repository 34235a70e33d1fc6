"""The picture of a weight polytope: dots where the weights are, a symmetric hull, and refusals."""

import numpy as np
import pytest

from erlangen.groups.highest_weight import HighestWeightModule
from erlangen.report.weight_polytope import plot_weight_polytope


def _dots(figure):
    (dots,) = figure.axes[0].collections
    return np.asarray(dots.get_offsets())


@pytest.mark.parametrize("name", ["A2", "B2", "G2"])
def test_a_plane_picture_is_symmetric_under_the_weyl_group(name):
    """All weights of an orbit are equally far from the centre, and every dot has its reflections."""
    module = HighestWeightModule(name, (1, 1))
    dots = _dots(plot_weight_polytope(module))
    assert len(dots) == len(module.weights())
    radii = np.linalg.norm(dots, axis=1)
    vertices = module.f_vector()[0]
    assert np.allclose(np.sort(radii)[-vertices:], radii.max())


def test_edges_of_a_space_picture(tmp_path):
    file = tmp_path / "polytope.svg"
    module = HighestWeightModule("A3", (1, 0, 1))
    figure = plot_weight_polytope(module, file)
    assert len(figure.axes[0].lines) == module.f_vector()[1]
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<?xml") and "<svg" in text


def test_an_infinite_module_is_cut():
    figure = plot_weight_polytope(HighestWeightModule("A2", (1, 1), integrable=(0,)), depth=5)
    assert len(_dots(figure)) == len(HighestWeightModule("A2", (1, 1), integrable=(0,)).weights(5))


@pytest.mark.parametrize(("name", "weight"), [("A1", (1,)), ("A4", (1, 1, 1, 1)), ("A1~", (1, 0))])
def test_no_picture_without_a_plane_or_a_form(name, weight):
    with pytest.raises(ValueError, match="module"):
        plot_weight_polytope(HighestWeightModule(name, weight))
