"""Class vectors with the angles they promise, and a classifier that never changes them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.nn import prototypes
from erlangen.nn.fixed_classifier import FixedClassifier
from erlangen.nn.prototypes import (
    coherence,
    equiangular_prototypes,
    orthonormal_prototypes,
    simplex_logits,
    simplex_prototypes,
    welch_bound,
)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40))
def test_a_simplex_has_the_gram_matrix_of_one(k: int) -> None:
    w = simplex_prototypes(k, dtype=torch.float64)
    gram = k / (k - 1) * torch.eye(k, dtype=torch.float64) - 1 / (k - 1)
    torch.testing.assert_close(w @ w.T, gram, rtol=0, atol=1e-12)
    torch.testing.assert_close(w.sum(0), torch.zeros(k - 1, dtype=torch.float64), rtol=0, atol=1e-12)
    order = torch.randperm(k)
    moved = torch.linalg.lstsq(w, w[order]).solution  # the map that permutes the vertices
    torch.testing.assert_close(w @ moved, w[order], rtol=0, atol=1e-10)
    torch.testing.assert_close(moved.T @ moved, torch.eye(k - 1, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("k", [2, 3, 17, 1024])
def test_simplex_logits_equal_the_dense_product(k: int) -> None:
    h = torch.randn(3, k - 1, dtype=torch.float64)
    torch.testing.assert_close(simplex_logits(h), h @ simplex_prototypes(k, dtype=torch.float64).T, rtol=0, atol=1e-12)


def test_small_simplices_are_the_known_ones() -> None:
    assert sorted(simplex_prototypes(2).flatten().tolist()) == [-1.0, 1.0]
    triangle = simplex_prototypes(3, dtype=torch.float64)
    torch.testing.assert_close(torch.pdist(triangle), torch.full((3,), math.sqrt(3), dtype=torch.float64))


def test_the_welch_bound_of_the_paper_sizes() -> None:
    for sizes, value in (((1000, 100), 0.0949), ((1000, 200), 0.0633), ((1000, 500), 0.0316), ((10000, 1000), 0.0300)):
        assert welch_bound(*sizes) == pytest.approx(value, abs=5e-5)
    assert welch_bound(8, 8) == 0 and welch_bound(9, 8) == pytest.approx(1 / 8)


@settings(max_examples=6, deadline=None)
@given(st.integers(4, 12), st.integers(1, 30), st.integers(0, 9))
def test_coherence_stays_between_the_bound_and_what_was_asked(dim: int, extra: int, seed: int) -> None:
    count, alpha = dim + extra, min(1.0, 1.6 * welch_bound(dim + extra, dim))
    generator = torch.Generator().manual_seed(seed)
    w = equiangular_prototypes(count, dim, alpha, generator=generator, dtype=torch.float64)
    assert welch_bound(count, dim) - 1e-9 <= coherence(w) <= alpha + 1e-3
    torch.testing.assert_close(w.norm(dim=1), torch.ones(count, dtype=torch.float64))
    again = equiangular_prototypes(count, dim, alpha, generator=generator.manual_seed(seed), dtype=torch.float64)
    assert torch.equal(w, again)


def test_no_more_classes_than_dimensions_are_orthonormal() -> None:
    w = equiangular_prototypes(5, 9, dtype=torch.float64)
    torch.testing.assert_close(w @ w.T, torch.eye(5, dtype=torch.float64))
    assert coherence(equiangular_prototypes(10, 9)) == pytest.approx(1 / 9, abs=1e-6)
    logits = FixedClassifier(orthonormal_prototypes(6, 6), temperature=0.07)
    loss = torch.nn.functional.cross_entropy(logits(logits.prototypes), torch.arange(6))
    assert float(loss) == pytest.approx(math.log1p(5 * math.exp(-1 / 0.07)), abs=1e-6)


def test_the_pilot_sizes_come_near_the_welch_bound() -> None:
    """100 vectors in 32 dimensions: 0.182 by Adam on the squared hinge, 0.72 by plain SGD; the bound is 0.147."""
    w = equiangular_prototypes(100, 32, generator=torch.Generator().manual_seed(0), max_steps=1500)
    assert coherence(w) < 1.2 * welch_bound(100, 32)


def test_rows_in_blocks_give_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.nn.functional.normalize(torch.randn(30, 7, dtype=torch.float64), dim=1)
    whole, worst = prototypes._norm_gradient(rows, 12.0, coherence(rows))
    cosines = (rows @ rows.T).fill_diagonal_(0).requires_grad_()
    (expected,) = torch.autograd.grad(cosines.abs().pow(12).sum(), cosines)
    expected = expected @ rows
    torch.testing.assert_close(whole / whole.norm(), expected / expected.norm())
    monkeypatch.setattr(prototypes, "ROWS", 8)
    torch.testing.assert_close(prototypes._norm_gradient(rows, 12.0, worst)[0], whole)
    assert worst == pytest.approx(coherence(rows))


def test_what_cannot_be_reached_is_said() -> None:
    with pytest.raises(ValueError, match="Welch"):
        equiangular_prototypes(100, 10, 0.01)
    with pytest.warns(RuntimeWarning, match="reached coherence"):
        equiangular_prototypes(64, 8, 1.0001 * welch_bound(64, 8), max_steps=3)
    with pytest.raises(ValueError, match="GiB"):
        simplex_prototypes(65_536)


@pytest.mark.parametrize("kind", ["simplex", "equiangular", "orthonormal"])
def test_training_never_moves_the_prototypes(kind: str) -> None:
    torch.manual_seed(0)
    head = FixedClassifier(kind, 6, in_features=4)
    before = head.prototypes.clone()
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(torch.randn(8, 4)), torch.randint(6, (8,))).backward()
        optimizer.step()
    assert torch.equal(head.prototypes, before)
    assert [name for name, _ in head.named_parameters()] == ["embed.weight"]


def test_normalised_features_give_bounded_logits_and_ignore_scale() -> None:
    head = FixedClassifier("equiangular", 12, dim=8, temperature=0.07)
    z = torch.randn(5, 8)
    assert bool((head(z).abs() <= 1 / 0.07 + 1e-4).all())
    torch.testing.assert_close(head(3 * z), head(z))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"prototypes": "simplex", "num_classes": 1}, "num_classes"),
        ({"prototypes": "simplex", "num_classes": 4, "dim": 4}, "dim"),
        ({"prototypes": torch.ones(3, 3)}, "prototypes"),
        ({"prototypes": "simplex", "num_classes": 4, "temperature": 0.0}, "temperature"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        FixedClassifier(**arguments)  # type: ignore[arg-type]


def test_features_of_another_size_are_named() -> None:
    with pytest.raises(ValueError, match="in_features=5"):
        FixedClassifier("simplex", 4)(torch.randn(2, 5))
