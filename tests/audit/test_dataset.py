"""Data sets with a planted dimension, planted enemies, copies and contradictions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from erlangen.audit.dataset import (
    dataset_report,
    duplicates,
    intrinsic_dimension,
    label_sharpness,
    nearest_enemies,
    scaling_law,
)


def rows(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(n: int, d: int, features: int = 24, seed: int = 0) -> Tensor:
    """Points of a known dimension, bent smoothly into many features."""
    cube = torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.sin(cube @ rows(d, features, seed + 1) / math.sqrt(d) + rows(1, features, seed + 2))


# --- dimension


@pytest.mark.parametrize("method", ["twonn", "mle"])
@pytest.mark.parametrize("d", [2, 6, 12])
def test_a_planted_dimension_is_found(method, d: int) -> None:
    found = intrinsic_dimension(planted(1500, d), method)
    assert found.calibrated == pytest.approx(d, rel=0.2)
    assert found.low < found.value < found.high
    if d == 12:
        assert found.value < 0.95 * d  # what the calibration is for


def test_copies_are_counted_and_change_nothing() -> None:
    x = rows(600, 5)
    alone = intrinsic_dimension(x, "mle", calibrate=False)
    doubled = intrinsic_dimension(torch.cat([x, x[:50], x[:10]]), "mle", calibrate=False)
    assert doubled.duplicates == 60 and doubled.value == pytest.approx(alone.value, rel=1e-12)


def test_integer_images_are_taken() -> None:
    images = torch.randint(0, 255, (100, 1, 4, 4), dtype=torch.uint8)
    assert intrinsic_dimension(images, "twonn", calibrate=False).n == 100


def test_intervals_cover_at_their_level() -> None:
    """200 data sets of one distribution: their intervals hold the mean reading about as often as they say."""
    runs = [
        intrinsic_dimension(rows(100, 2, seed), "twonn", calibrate=False, resamples=10, level=0.9)
        for seed in range(200)
    ]
    mean = sum(r.value for r in runs) / len(runs)
    covered = sum(r.low <= mean <= r.high for r in runs) / len(runs)
    assert 0.8 <= covered <= 0.98


def test_bad_dimensions_are_named() -> None:
    with pytest.raises(ValueError, match="at least 20"):
        intrinsic_dimension(torch.ones(50, 3))
    with pytest.raises(ValueError, match="ten points a neighbour"):
        intrinsic_dimension(rows(150, 3), "mle", k=20)
    with pytest.raises(ValueError, match="NaN"):
        intrinsic_dimension(torch.full((50, 3), math.nan))
    with pytest.raises(ValueError, match="it must be"):
        intrinsic_dimension(torch.zeros(5))


# --- sharpness


def brute_force(x: Tensor, y: Tensor) -> float:
    best = 0.0
    for i in range(len(x)):
        for j in range(i):
            gap = float(y[i] != y[j]) if not y.is_floating_point() else abs(float(y[i] - y[j]))
            best = max(best, gap / float((x[i] - x[j]).norm()))
    return best


@settings(max_examples=10)
@given(st.integers(5, 25), st.integers(1, 6), st.integers(0, 1000), st.booleans(), st.floats(0.1, 10))
def test_sharpness_is_the_maximum_over_pairs_and_scales(n: int, d: int, seed: int, classes: bool, c: float) -> None:
    x = rows(n, d, seed)
    y = torch.arange(n) % 3 if classes else rows(n, 1, seed + 1)[:, 0]
    found = label_sharpness(x, y)
    assert found.value == pytest.approx(brute_force(x, y), rel=1e-9)
    assert label_sharpness(c * x, y).value == pytest.approx(found.value / c, rel=1e-9)
    i, j = found.pairs[0]
    gap = 1.0 if classes else float((y[i] - y[j]).abs())
    assert gap / float((x[i] - x[j]).norm()) == pytest.approx(found.value)


def test_friends_further_away_change_nothing() -> None:
    x, y = torch.cat([rows(40, 3), rows(40, 3, 1) + 4]), torch.arange(80) // 40
    far = torch.cat([x, x[y == 0][:5] - 50])
    labels = torch.cat([y, torch.zeros(5, dtype=torch.int64)])
    assert label_sharpness(far, labels).value == pytest.approx(label_sharpness(x, y).value)


def test_digits_have_the_sharpness_that_was_measured_elsewhere() -> None:
    from erlangen import data

    digits = data.load("digits")
    assert label_sharpness(digits.x, digits.label, samples=None).value == pytest.approx(0.848, abs=5e-4)


def test_one_label_contradictions_and_quantiles() -> None:
    x = rows(100, 3)
    assert label_sharpness(x, torch.zeros(100, dtype=torch.int64)).value == 0.0
    y = torch.arange(100) % 2
    x[7] = x[2]
    found = label_sharpness(x, y, quantiles=(0.0, 0.05, 0.5))
    assert found.value == math.inf and sorted(found.contradictory) == [2, 7] and "contradictory" in str(found)
    assert math.inf > found.quantiles[0.05] >= found.quantiles[0.5] > 0
    sharp, enemy = nearest_enemies(x, y)
    assert int(enemy[7]) == 2 and float(sharp[7]) == math.inf


def test_bad_labels_are_named() -> None:
    with pytest.raises(ValueError, match="y: "):
        label_sharpness(rows(5, 2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 2"):
        label_sharpness(rows(1, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="NaN"):
        label_sharpness(torch.full((5, 2), math.nan), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="quantiles"):
        label_sharpness(rows(5, 2), torch.zeros(5, dtype=torch.int64), quantiles=(2.0,))


# --- copies


def test_planted_copies_are_found_and_nothing_else() -> None:
    x, y = rows(300, 12), torch.arange(300) % 3
    found = duplicates(x, y)
    assert (found.exact, found.near, found.extra, found.contradictory) == ([], [], 0, [])
    x[10] = x[250] = x[3]
    x[20] = x[21] + 1e-3
    found = duplicates(x, y)
    assert found.exact == [[3, 10, 250]] and found.near == [(20, 21)] and found.extra == 2
    assert found.contradictory == [[3, 10, 250], [20, 21]]


def test_random_data_have_no_near_copies() -> None:
    """200 data sets with nothing planted."""
    assert sum(bool(duplicates(rows(60, 8, seed)).near) for seed in range(200)) <= 10


def test_bad_copies_are_named() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        duplicates(rows(5, 2), tolerance=-1.0)
    with pytest.raises(ValueError, match="y: "):
        duplicates(rows(5, 2), torch.zeros(4))


# --- scaling


@given(st.floats(0.05, 2.0), st.floats(0.1, 10.0))
def test_a_power_law_is_read_back(rate: float, factor: float) -> None:
    sizes = [100.0, 200.0, 500.0, 1000.0]
    law = scaling_law([factor * n**-rate for n in sizes], sizes, dims=1 / rate)
    assert law.rate == pytest.approx(rate, rel=1e-6) and law.coefficient == pytest.approx(1.0, rel=1e-6)
    assert law(300) == pytest.approx(factor * 300**-rate, rel=1e-6)
    assert law.needed(law(3000)) == pytest.approx(3000, rel=1e-4)


def test_the_rate_of_noise_is_covered_at_its_level() -> None:
    sizes = torch.tensor([100.0, 200.0, 400.0, 800.0, 1600.0])
    noise = 0.2 * rows(200, 5)
    laws = [scaling_law(list((sizes.log() * -0.3 + e).exp().tolist()), sizes.tolist()) for e in noise]
    assert 0.9 <= sum(law.low <= 0.3 <= law.high for law in laws) / 200 <= 0.99


def test_bad_losses_are_named() -> None:
    with pytest.raises(ValueError, match="losses"):
        scaling_law([1.0, -1.0, 1.0], [1, 2, 3])
    with pytest.raises(ValueError, match="sizes"):
        scaling_law([1.0, 1.0, 1.0], [5, 5, 5])
    with pytest.raises(ValueError, match="dims"):
        scaling_law([1.0, 1.0, 1.0], [5, 6, 7], dims=[1.0, 2.0])


def test_one_call_for_a_data_set() -> None:
    found = dataset_report((rows(300, 4), torch.arange(300) % 2), calibrate=False)
    assert found.sharpness is not None and "K_F" in str(found) and found.predicted_rate == pytest.approx(0.25, abs=0.1)
    assert dataset_report(rows(300, 4), calibrate=False).sharpness is None
    with pytest.raises(ValueError, match="at least 200"):
        dataset_report(rows(30, 4))
