"""Neighbours against brute force, estimators against known dimensions and the published formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from torch import Tensor

from erlangen.stats.intrinsic_dimension import (
    METHODS,
    calibration,
    estimate,
    local_abid,
    local_mle,
    local_pca,
    mle,
    read_off,
    two_nn,
)
from erlangen.stats.neighbor_distances import neighbor_distances


def rows(n: int, d: int, seed: int = 0, cube: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand if cube else torch.randn)(n, d, generator=generator, dtype=torch.float64)


@settings(max_examples=15)
@given(st.integers(30, 900), st.integers(1, 40), st.integers(1, 12), st.integers(0, 5), st.floats(0, 1e6))
def test_neighbours_are_those_of_brute_force(n: int, d: int, k: int, copies: int, offset: float) -> None:
    x = rows(n, d, seed=n + d, cube=False) + offset
    x[: 2 * copies : 2] = x[1 : 2 * copies : 2]
    distance = torch.cdist(x - offset, x - offset, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(math.inf)
    expected = distance.topk(k, largest=False).values
    found, near = neighbor_distances(x, k)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(distance.gather(1, near), found, rtol=1e-8, atol=1e-9)
    assert not bool((near == torch.arange(n).unsqueeze(1)).any())
    if copies:
        assert not found[: 2 * copies, 0].any()


def test_rows_that_float32_cannot_tell_apart_are_searched_in_float64() -> None:
    x = rows(1500, 8, cube=False)
    x = torch.cat([x, x + 1e-6 * rows(1500, 8, seed=1, cube=False)])
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(math.inf)
    found, _ = neighbor_distances(x, 2)
    torch.testing.assert_close(found, distance.topk(2, largest=False).values, rtol=1e-9, atol=0)
    torch.testing.assert_close(neighbor_distances(x * 1e-30, 2)[0], found * 1e-30, rtol=1e-9, atol=0)


def test_two_nn_is_the_regression_of_its_paper() -> None:
    distances = neighbor_distances(rows(500, 4), 2)[0]
    ratio = (distances[:, 1] / distances[:, 0]).sort().values[:450]
    y = -torch.log(1 - torch.arange(1, 451, dtype=torch.float64) / 500)
    line = LinearRegression(fit_intercept=False).fit(ratio.log()[:, None].numpy(), y.numpy())
    # least squares of y on ln mu; ours has d in the same equation
    assert two_nn(distances) == pytest.approx(float(line.coef_[0]), rel=1e-12)
    assert two_nn(distances, fit="mle") == pytest.approx(499 / float((distances[:, 1] / distances[:, 0]).log().sum()))


@pytest.mark.parametrize(
    ("d", "twonn", "levina"), [(2, 2.00, 1.97), (5, 4.83, 4.45), (10, 8.54, 8.05), (20, 16.0, 14.3)]
)
def test_known_readings_on_cubes(d: int, twonn: float, levina: float) -> None:
    x = rows(2000, d)
    assert estimate(x, "twonn") == pytest.approx(twonn, rel=0.08)
    assert estimate(x, "mle") == pytest.approx(levina, rel=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_a_surface_has_its_own_dimension(method) -> None:
    """A plane bent into twenty dimensions."""
    plane = rows(1500, 2)
    angle = 2 * math.pi * rows(1, 20, seed=1)
    curved = torch.cos(plane @ rows(2, 20, seed=2) * 2 + angle)
    assert estimate(curved, method) == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=5)
@given(st.integers(0, 100), st.floats(0.01, 100))
def test_estimates_do_not_depend_on_the_frame(method, seed: int, scale: float) -> None:
    x = rows(300, 5, seed=seed)
    turn = torch.linalg.qr(rows(8, 8, seed=seed + 1, cube=False))[0]
    padded = torch.nn.functional.pad(x, (0, 3))
    before = estimate(x, method, k=10)
    assert estimate(padded, method, k=10) == pytest.approx(before, rel=1e-6)
    assert estimate(scale * (padded @ turn) + 7.0, method, k=10) == pytest.approx(before, rel=1e-4)


def test_local_quantities_have_their_means() -> None:
    """Exactly uniform directions have squared cosine 1/d; Pareto ratios have mean logarithm 1/d."""
    generator = torch.Generator().manual_seed(0)
    radius = torch.rand(4000, 30, generator=generator, dtype=torch.float64).sort(1).values ** (1 / 6)
    assert mle(radius) == pytest.approx(6.0, rel=0.03)
    assert float(local_mle(radius).mean()) == pytest.approx(1 / 6, rel=0.03)
    x = torch.cat([torch.zeros(1, 6, dtype=torch.float64), rows(400, 6, cube=False)])
    near = torch.arange(1, 401).unsqueeze(0)
    assert float(local_abid(x[:401], near.expand(401, -1))[0]) == pytest.approx(1 / 6, rel=0.1)
    assert float(local_pca(x[:401], near.expand(401, -1))[0]) == 6.0


def test_rows_with_a_copy_are_left_out() -> None:
    x = rows(400, 3)
    doubled = torch.cat([x, x[:1]])
    distances = neighbor_distances(doubled, 20)[0]
    assert int(local_mle(distances).isnan().sum()) == 2
    assert math.isfinite(mle(distances)) and math.isfinite(two_nn(distances))


def test_the_calibration_curve_is_read_backwards() -> None:
    curve = calibration(500, [2, 5, 10, 20], "mle", k=10)
    assert list(curve) == [2, 5, 10, 20] and curve[20] < 15
    assert read_off(curve, curve[10]) == pytest.approx(10)
    assert read_off(curve, estimate(rows(500, 7, seed=3), "mle", k=10)) == pytest.approx(7, abs=0.6)
    assert math.isnan(read_off(curve, 100.0))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="k: "):
        neighbor_distances(rows(5, 2), 5)
    with pytest.raises(ValueError, match="NaN"):
        neighbor_distances(torch.full((5, 2), math.nan), 1)
    with pytest.raises(ValueError, match="at least 3"):
        two_nn(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="discard"):
        two_nn(torch.ones(5, 2), discard=1.0)
