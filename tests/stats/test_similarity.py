"""What similarity must not see (rotation, scale), what it must (everything else), and what it says of noise."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.stats import cka, cosine, procrustes


def rotation(d: int, generator: torch.Generator) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 100), debiased=st.booleans())
def test_rotation_scale_and_shift_do_not_change_similarity(seed: int, scale: float, debiased: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    y = x[:, :4] + torch.randn(30, 4, generator=generator, dtype=torch.float64)
    moved = scale * x @ rotation(6, generator) + 3
    torch.testing.assert_close(cka(moved, y, debiased=debiased), cka(x, y, debiased=debiased))
    torch.testing.assert_close(procrustes(moved, y), procrustes(x, y))
    assert float(cka(x, moved, debiased=debiased)) == pytest.approx(1, abs=1e-9)
    assert float(procrustes(x, moved)) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(cka(x, y, debiased=debiased), cka(y, x, debiased=debiased))


def test_debiasing_takes_noise_to_zero_where_plain_cka_says_it_is_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 1000, generator=generator), torch.randn(50, 1000, generator=generator)
    assert float(cka(x, y, debiased=False)) > 0.9
    assert abs(float(cka(x, y))) < 0.05


def test_debiased_cka_is_the_definition_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 3, generator=generator), torch.randn(9, 4, generator=generator)

    def hsic(a: torch.Tensor, b: torch.Tensor) -> float:  # the U-statistic as a sum over distinct quadruples
        k, l = (a @ a.T).double(), (b @ b.T).double()
        total, n = 0.0, len(k)
        for i in range(n):
            for j in range(n):
                for q in range(n):
                    for r in range(n):
                        if len({i, j, q, r}) == 4:
                            total += float(k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]))
        return total / math.perm(n, 4)

    expected = hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))
    assert float(cka(x, y)) == pytest.approx(expected, abs=1e-6)


def test_angular_procrustes_obeys_the_triangle_inequality() -> None:
    for seed in range(20):
        a, b, c = torch.randn(3, 20, 5, generator=torch.Generator().manual_seed(seed))
        assert float(procrustes(a, c)) <= float(procrustes(a, b)) + float(procrustes(b, c)) + 1e-9


def test_undefined_is_nan_and_too_few_samples_an_error() -> None:
    assert math.isnan(float(cka(torch.ones(10, 3), torch.randn(10, 3))))
    assert math.isnan(float(cosine(torch.zeros(3), torch.ones(3))))
    with pytest.raises(ValueError, match="at least 4"):
        cka(torch.randn(3, 2), torch.randn(3, 2))
