"""VICReg's terms: exact properties, an independent loop, and what the released code computes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.objectives import VICReg
from erlangen.objectives.functional import covariance_loss, invariance_loss, variance_loss, vicreg
from erlangen.objectives.offdiagonal import gram_parts


def pair(n, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, d, dtype=dtype, generator=generator) for _ in range(2))


def by_loops(z1, z2, gamma=1.0, eps=1e-4):
    """The three terms number by number, from the equations."""
    n, d = z1.shape
    one, two = z1.tolist(), z2.tolist()
    invariance = sum((one[i][j] - two[i][j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    variance = covariance = 0.0
    for z in (one, two):
        mean = [sum(row[j] for row in z) / n for j in range(d)]
        c = [[sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in z) / (n - 1) for j in range(d)] for i in range(d)]
        variance += sum(max(0.0, gamma - (c[j][j] + eps) ** 0.5) for j in range(d)) / d / 2
        covariance += sum(c[i][j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    return invariance, variance, covariance


def masked_port(z1, z2, eps=1e-4):
    """The formula as pytorch-metric-learning and lightly write it: cov matrix, boolean mask, hinge on the root."""
    d = z1.shape[1]
    std = [torch.sqrt(z.var(dim=0) + eps) for z in (z1, z2)]
    v = sum(torch.relu(1 - s).mean() for s in std) / 2
    off = ~torch.eye(d, dtype=torch.bool)
    c = sum(torch.cov(z.T)[off].pow(2).sum() / d for z in (z1, z2))
    return 25 * torch.nn.functional.mse_loss(z1, z2) + 25 * v + c


@given(n=st.integers(2, 7), d=st.integers(2, 7), seed=st.integers(0, 999))
def test_agrees_with_loops_over_the_equations(n, d, seed):
    z1, z2 = pair(n, d, seed)
    terms = vicreg(z1, z2)
    for name, expected in zip(("invariance", "variance", "covariance"), by_loops(z1, z2), strict=True):
        assert float(terms[name]) == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize(("n", "d"), [(64, 16), (16, 64), (32, 32)])
def test_value_and_gradient_agree_with_the_masked_formula_of_the_peers(n, d):
    ours = [z.requires_grad_() for z in pair(n, d)]
    theirs = [z.detach().clone().requires_grad_() for z in ours]
    total, expected = vicreg(*ours).total, masked_port(*theirs)
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-14)
    total.backward()
    expected.backward()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad, other.grad, rtol=1e-11, atol=1e-14)


@given(seed=st.integers(0, 99))
def test_symmetric_in_the_views_and_blind_to_translations_and_permutations(seed):
    z1, z2 = pair(6, 4, seed)
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randn(4, dtype=torch.float64, generator=generator)
    rows, columns = torch.randperm(6, generator=generator), torch.randperm(4, generator=generator)
    base = vicreg(z1, z2).total
    for moved in (
        (z2, z1),
        (z1 + shift, z2 + shift),
        (z1[rows], z2[rows]),
        (z1[:, columns], z2[:, columns]),
        (z1 * torch.tensor([1.0, -1, 1, -1]).double(), z2 * torch.tensor([1.0, -1, 1, -1]).double()),
    ):
        assert torch.allclose(vicreg(*moved).total, base, rtol=1e-12)


@given(seed=st.integers(0, 99))
def test_rotating_the_space_keeps_the_invariance_term_and_no_other(seed):
    z1, z2 = pair(8, 5, seed)
    z1, z2 = z1 * torch.arange(1, 6) / 3, z2 * torch.arange(1, 6) / 3
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=generator)).Q
    before, after = vicreg(z1, z2), vicreg(z1 @ q, z2 @ q)
    assert torch.allclose(before["invariance"], after["invariance"], rtol=1e-12)
    assert not torch.allclose(before["covariance"], after["covariance"], rtol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(10, 4), (4, 10)])
def test_a_collapsed_batch_has_variance_099_and_nothing_else(n, d):
    z = torch.full((n, d), 0.7, dtype=torch.float64)
    terms = vicreg(z, z)
    assert float(terms["variance"]) == pytest.approx(0.99, abs=1e-12)
    assert float(terms["covariance"]) == pytest.approx(0.0, abs=1e-24) and float(terms["invariance"]) == 0.0


def test_orthogonal_columns_cost_nothing():
    generator = torch.Generator().manual_seed(0)
    m = torch.randn(12, 5, dtype=torch.float64, generator=generator)
    q = torch.linalg.qr(m - m.mean(0)).Q * 11**0.5
    assert float(covariance_loss(q)) < 1e-28
    assert float(variance_loss(q)) == 0.0


def test_without_the_regularisers_it_is_the_mean_squared_error():
    z1, z2 = pair(6, 3)
    assert torch.equal(vicreg(z1, z2, sim=1.0, std=0.0, cov=0.0).total, torch.nn.functional.mse_loss(z1, z2))
    assert torch.allclose(invariance_loss(z1, z2, reduction="sum"), 3 * invariance_loss(z1, z2))


@pytest.mark.parametrize(("n", "d"), [(5, 3), (3, 5)])
def test_gradients_of_first_and_second_order(n, d):
    z1, z2 = (z.requires_grad_() for z in pair(n, d))
    assert torch.autograd.gradcheck(lambda a, b: vicreg(a, b).total, (z1, z2))
    assert torch.autograd.gradgradcheck(covariance_loss, (z1,))


def test_the_gradient_at_collapse_is_finite():
    z = torch.zeros(4, 3, requires_grad=True)
    variance_loss(z).backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize(("n", "d"), [(32, 100), (100, 32)])
@pytest.mark.parametrize("stray", [1e-2, 1e-3, 0.0])
def test_nearly_decorrelated_columns_in_float32_keep_their_digits(n, d, stray):
    """A huge first column beside small ones: subtracting the diagonal from the whole would lose all digits."""
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(0)) * stray
    z[:, 0] = torch.randn(n, generator=torch.Generator().manual_seed(1))
    single, double = z.clone().requires_grad_(), z.double().requires_grad_()
    gram = double.T @ double
    exact = (gram - gram.diagonal().diag()).square().sum()
    value = gram_parts(single)[1]
    assert float(value.detach()) == pytest.approx(float(exact.detach()), rel=1e-4, abs=1e-12)
    value.backward()
    exact.backward()
    assert torch.allclose(
        single.grad.double(), double.grad, rtol=1e-3, atol=1e-13 + 1e-5 * float(double.grad.abs().max())
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_statistics_do_not_overflow_in_half_precision(dtype):
    z1, z2 = (300 * z for z in pair(16, 64, dtype=torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = vicreg(z1.to(dtype), z2.to(dtype))
    high = vicreg(z1, z2)
    assert low.total.dtype == torch.float32 and torch.isfinite(low.total)
    assert torch.allclose(low.total, high.total, rtol=0.05)


def test_bad_input_is_named():
    z1, z2 = pair(4, 3)
    poisoned = z2.clone()
    poisoned[1, 2] = float("nan")
    with pytest.raises(ValueError, match="z2: 1 of 12 values are NaN"):
        vicreg(z1, poisoned)
    assert torch.isnan(vicreg(z1, poisoned, check_finite=False).total)
    with pytest.raises(ValueError, match=r"z2: shape \(4, 2\), z1 has \(4, 3\)"):
        vicreg(z1, z2[:, :2])
    with pytest.raises(ValueError, match="z1: a batch of 1"):
        vicreg(z1[:1], z2[:1])
    assert float(covariance_loss(z1[:, :1])) == 0.0
    with pytest.raises(ValueError, match="batch: it has no second view"):
        VICReg()(torch.nn.Identity(), PairBatch(z1))
    with pytest.raises(ValueError, match="std: -1"):
        VICReg(std=-1.0)


def test_the_variance_term_is_what_prevents_collapse():
    """Train a small net on noise views with and without it and look at the spread of the embedding."""
    spread = {}
    for std in (25.0, 0.0):
        torch.manual_seed(0)
        encoder = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
        objective = VICReg(std=std, layers=0)
        objective.setup(embedding_dim=8)
        optimizer = torch.optim.Adam(encoder.parameters(), lr=0.01)
        for _ in range(150):
            x = torch.randn(64, 8)
            batch = PairBatch(x + 0.1 * torch.randn(64, 8), x + 0.1 * torch.randn(64, 8))
            optimizer.zero_grad()
            objective(encoder, batch).total.backward()
            optimizer.step()
        spread[std] = float(objective.metrics(encoder, PairBatch(torch.randn(256, 8)))["embedding_std"].detach())
    assert spread[25.0] > 0.7 and spread[0.0] < 0.2


def test_the_module_expands_by_name_and_refuses_a_second_size():
    objective = objectives.build("vicreg", width=32, layers=2)
    with pytest.raises(RuntimeError, match="call setup"):
        objective(torch.nn.Identity(), PairBatch(torch.zeros(4, 6), torch.zeros(4, 6)))
    objective.setup(embedding_dim=6)
    weights = [p.clone() for p in objective.parameters()]
    objective.setup(embedding_dim=6)
    assert all(torch.equal(a, b) for a, b in zip(weights, objective.parameters(), strict=True))
    terms = objective(torch.nn.Identity(), PairBatch(torch.randn(8, 6), torch.randn(8, 6)))
    assert list(terms) == ["invariance", "variance", "covariance"] == list(objective.healthy)
    with pytest.raises(ValueError, match="setup: called with"):
        objective.setup(embedding_dim=7)
