"""Procrustes and adapters: closed forms, guaranteed distortion, and what mixing Matryoshka blocks destroys."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from erlangen.deploy.compat import Adapter, procrustes
from erlangen.objectives.lambda_orthogonality import lambda_orthogonality


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def rotation(d, seed=0):
    return torch.linalg.qr(draw(d, d, seed=seed)).Q


@given(d=st.integers(2, 8), seed=st.integers(0, 999), moved=st.booleans())
def test_procrustes_recovers_a_rotation_a_scale_and_a_shift(d, seed, moved):
    x, q = draw(30, d, seed=seed), rotation(d, seed + 1)
    y = 2.5 * x @ q + (3.0 if moved else 0.0)
    found = procrustes(x, y, scale=True, center=moved)
    assert torch.allclose(found.weight, q, atol=1e-10)
    assert float(found.scale) == pytest.approx(2.5, rel=1e-10)
    assert torch.allclose(found(x), y, atol=1e-9)


@given(seed=st.integers(0, 999))
def test_procrustes_is_scipys(seed):
    x, y = draw(20, 5, seed=seed), draw(20, 5, seed=seed + 1)
    expected, _ = orthogonal_procrustes(x.numpy(), y.numpy())
    np.testing.assert_allclose(procrustes(x, y, center=False).weight.numpy(), expected, atol=1e-10)


def test_unlike_sizes_give_orthonormal_rows_or_columns():
    up, down = procrustes(draw(40, 3), draw(40, 5)).weight, procrustes(draw(40, 5), draw(40, 3)).weight
    assert torch.allclose(up @ up.T, torch.eye(3).double()) and torch.allclose(down.T @ down, torch.eye(3).double())


@given(seed=st.integers(0, 999))
def test_only_a_blockwise_map_keeps_the_geometry_of_every_prefix(seed):
    dims = (2, 5, 8)
    x, y = draw(30, 8, seed=seed), draw(30, 8, seed=seed + 1)
    blockwise, mixing = procrustes(x, y, center=False, blocks=dims), procrustes(x, y, center=False)
    for m in dims:
        gram = x[:, :m] @ x[:, :m].T
        assert torch.allclose(blockwise(x)[:, :m] @ blockwise(x)[:, :m].T, gram, atol=1e-10)
    two = mixing(x)[:, :2]
    assert float((two @ two.T - x[:, :2] @ x[:, :2].T).norm() / (x[:, :2] @ x[:, :2].T).norm()) > 0.1
    assert torch.allclose(mixing(x) @ mixing(x).T, x @ x.T, atol=1e-10)


def test_a_rotation_inside_the_blocks_is_recovered():
    q = torch.block_diag(rotation(2), rotation(3, 1))
    x = draw(30, 5)
    assert torch.allclose(procrustes(x, x @ q, blocks=(2, 5)).weight, q, atol=1e-10)


def test_what_procrustes_refuses_and_warns_of():
    x = draw(6, 4)
    with pytest.raises(ValueError, match="old: 5 rows for 6 of new"):
        Adapter(4, 4, lam=1.0).fit(x.float(), x[:5].float())
    with pytest.raises(ValueError, match="target: 1 of 24 values"):
        procrustes(x, torch.where(x == x[1, 2], torch.nan, x))
    with pytest.raises(ValueError, match="all rows are equal"), pytest.warns(RuntimeWarning):
        procrustes(torch.ones_like(x), x, scale=True)
    with pytest.warns(RuntimeWarning, match="3 pairs leave 1 of 4 directions open"):
        found = procrustes(x[:3], x[:3], center=False)
    assert torch.allclose(found.weight @ found.weight.T, torch.eye(4).double())
    with pytest.raises(ValueError, match="blocks"):
        procrustes(x, x[:, :3], blocks=(2, 4))


@given(d=st.integers(1, 6), c=st.floats(0.1, 3.0), lam=st.floats(0, 3))
def test_the_penalty_of_a_multiple_of_the_identity(d, c, lam):
    expected = max(0.0, abs(c * c - 1) * math.sqrt(d) - lam)
    assert float(lambda_orthogonality(c * torch.eye(d).double(), lam)) == pytest.approx(expected, abs=1e-12)
    squared = lambda_orthogonality(c * torch.eye(d).double(), lam, p=2.0)
    assert float(squared) == pytest.approx(expected**2, abs=1e-12)
    scaled = lambda_orthogonality(c * torch.eye(d).double(), lam, per_sqrt_dim=True)
    assert float(scaled) == pytest.approx(max(0.0, (abs(c * c - 1) - lam) * math.sqrt(d)), abs=1e-12)


@given(rows=st.integers(2, 6), columns=st.integers(2, 6), seed=st.integers(0, 999))
def test_the_penalty_is_blind_to_rotations_on_either_side_and_agrees_with_loops(rows, columns, seed):
    w = draw(rows, columns, seed=seed)
    value = lambda_orthogonality(w, 0.5)
    assert torch.allclose(lambda_orthogonality(rotation(rows, seed) @ w @ rotation(columns, seed), 0.5), value)
    m = (w if rows >= columns else w.T).tolist()
    n = len(m[0])
    gap = sum((sum(r[i] * r[j] for r in m) - (i == j)) ** 2 for i in range(n) for j in range(n)) ** 0.5
    assert float(value) == pytest.approx(max(0.0, gap - 0.5), rel=1e-12)
    semi = torch.linalg.svd(w, full_matrices=False)
    assert float(lambda_orthogonality(semi.U @ semi.Vh, 0.0)) < 1e-12


def test_the_penalty_at_an_orthogonal_map_has_a_finite_gradient():
    w = torch.eye(3, requires_grad=True)
    lambda_orthogonality(w, 0.0).backward()
    assert torch.isfinite(w.grad).all()
    assert float(lambda_orthogonality(5 * torch.eye(3), math.inf)) == 0.0
    smooth = lambda_orthogonality(2 * torch.eye(3).double(), 0.0, gate="smooth", beta=50.0)
    assert float(smooth) == pytest.approx(3 * math.sqrt(3))


@pytest.mark.parametrize(("d_in", "d_out"), [(6, 6), (4, 6), (6, 4)])
@given(seed=st.integers(0, 99), lam=st.sampled_from([0.05, 0.4, 0.9]))
def test_the_bound_on_distances_and_cosines_holds_for_any_vectors(d_in, d_out, seed, lam):
    adapter = Adapter(d_in, d_out, lam=lam).double()
    with torch.no_grad():
        adapter.weight.copy_(draw(d_out, d_in, seed=seed))
    adapter.project()
    stated = adapter.distortion()
    assert stated.frobenius <= lam + 1e-9
    x = draw(30, d_in, seed=seed + 1)
    mapped = adapter(x).detach()
    factor = (torch.pdist(mapped) / torch.pdist(x)).square()
    low, high = stated.distance_factors
    assert low - 1e-9 <= float(factor.min()) and float(factor.max()) <= high + 1e-9
    if d_in <= d_out:
        assert 1 - lam - 1e-9 <= low and high <= 1 + lam + 1e-9
        cosines = [
            torch.nn.functional.normalize(v, dim=1) @ torch.nn.functional.normalize(v, dim=1).T
            for v in (x, mapped - adapter.bias.detach())
        ]
        assert float((cosines[0] - cosines[1]).abs().max()) <= stated.cosine + 1e-9


def test_projection_leaves_what_satisfies_the_constraint_alone():
    adapter = Adapter(4, 4, lam=1.0)
    before = adapter.weight.detach().clone()
    assert torch.equal(adapter.project().weight, before)


@pytest.mark.parametrize("with_labels", [False, True])
def test_an_orthogonal_adapter_keeps_every_cosine(with_labels):
    new, old = draw(60, 6, dtype=torch.float32), draw(60, 6, seed=1, dtype=torch.float32)
    labels = torch.arange(60) % 4 if with_labels else None
    adapter = Adapter(6, 6, constraint="orthogonal").fit(new, old, labels, steps=20)
    before, after = (torch.nn.functional.normalize(v, dim=1) for v in (new, adapter(new).detach()))
    assert torch.allclose(before @ before.T, after @ after.T, atol=3e-6)
    if not with_labels:
        expected, _ = orthogonal_procrustes(new.numpy(), old.numpy())
        np.testing.assert_allclose(adapter.weight.detach().numpy().T, expected, atol=1e-5)


def test_more_freedom_aligns_better_and_distorts_more():
    new = draw(200, 6, dtype=torch.float32)
    old = new @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.3, 0.1])) @ rotation(6).float()
    reached, gaps = [], []
    for options in ({"constraint": "orthogonal"}, {"lam": 1.0}, {"constraint": "none"}):
        torch.manual_seed(0)
        adapter = Adapter(6, 6, **options).fit(new, old, lr=0.02, generator=torch.Generator().manual_seed(0))
        mapped = adapter(new).detach()
        reached.append(float(torch.nn.functional.cosine_similarity(mapped, old, dim=1).mean()))
        gaps.append(adapter.distortion().frobenius)
    assert reached[0] < reached[1] < reached[2] and gaps[0] < 1e-5 and gaps[1] <= 1.0 + 1e-5 < gaps[2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"constraint": "lambda"}, "lam: None"),
        ({"constraint": "none", "lam": 1.0}, "lam: 1.0"),
        ({"lam": -1.0}, "lam: -1.0"),
    ],
)
def test_bad_adapters_are_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        Adapter(3, 3, **arguments)
    with pytest.raises(ValueError, match="made for 3 -> 3"):
        Adapter(3, 3, lam=1.0).fit(torch.randn(5, 2), torch.randn(5, 3))
