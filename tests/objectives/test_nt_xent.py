"""NT-Xent: the equation by loops, its exact properties, its gradient, and where it stands at collapse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.objectives.contrastive import nt_xent


def pair(n, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, d, dtype=dtype, generator=generator) for _ in range(2))


def by_loops(z1, z2, temperature):
    views = [row.tolist() for row in (*z1, *z2)]
    n = len(z1)

    def cosine(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))

    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = sum(math.exp(cosine(views[i], views[j]) / temperature) for j in range(2 * n) if j != i)
        total -= math.log(math.exp(cosine(views[i], views[partner]) / temperature) / others)
    return total / (2 * n)


def masked(z1, z2, temperature):
    """Autograd over a full matrix with a mask: cross-entropy towards the partner."""
    n = len(z1)
    u = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    logits = (u @ u.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(2 * n).roll(n))


@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 6), d=st.integers(1, 5), t=st.sampled_from([0.02, 0.1, 0.5, 2.0]), seed=st.integers(0, 99))
def test_agrees_with_loops_over_the_equation(n, d, t, seed):
    z1, z2 = pair(n, d, seed)
    assert float(nt_xent(z1, z2, temperature=t).total) == pytest.approx(by_loops(z1, z2, t), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("t", [0.01, 0.1, 0.5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.float64, 1e-11)])
def test_value_and_gradient_agree_with_autograd_over_the_masked_matrix(t, dtype, tolerance):
    ours = [z.requires_grad_() for z in pair(16, 8, dtype=dtype)]
    theirs = [z.detach().clone().requires_grad_() for z in ours]
    value, expected = nt_xent(*ours, temperature=t).total, masked(*theirs, t)
    assert torch.allclose(value, expected, rtol=tolerance)
    value.backward()
    expected.backward()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=tolerance, atol=tolerance * float(b.grad.abs().max()))


def test_gradcheck():
    z1, z2 = (z.requires_grad_() for z in pair(4, 3))
    for t in (0.02, 0.5):
        assert torch.autograd.gradcheck(lambda a, b, t=t: nt_xent(a, b, temperature=t).total, (z1, z2))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99))
def test_blind_to_scale_rotation_order_and_the_swap_of_views(seed):
    z1, z2 = pair(6, 4, seed)
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator)).Q
    rows = torch.randperm(6, generator=generator)
    scale = 0.1 + torch.rand(6, 1, dtype=torch.float64, generator=generator)
    base = nt_xent(z1, z2).total
    for a, b in ((z2, z1), (z1 * scale, z2), (z1 @ q, z2 @ q), (z1[rows], z2[rows])):
        assert torch.allclose(nt_xent(a, b).total, base, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 9])
def test_a_collapsed_batch_has_the_loss_of_guessing(n):
    z = torch.ones(n, 3, dtype=torch.float64)
    terms = nt_xent(z, z, temperature=0.3)
    assert float(terms["alignment"]) == pytest.approx(0, abs=1e-12)
    assert float(terms["spread"]) == pytest.approx(math.log(2 * n - 1), rel=1e-12)


def test_the_gathered_form_is_the_local_one():
    z1, z2 = pair(6, 4)
    whole = nt_xent(z1, z2).total
    parts = [nt_xent(z1[s], z2[s], everyone=(z1, z2, s.start)).total for s in (slice(0, 2), slice(2, 6))]
    assert torch.allclose((2 * parts[0] + 4 * parts[1]) / 6, whole, rtol=1e-12)


def test_half_precision_under_autocast():
    z1, z2 = pair(16, 32, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = nt_xent(z1.bfloat16(), z2.bfloat16(), temperature=0.05).total
    assert low.dtype == torch.float32 and torch.allclose(low, nt_xent(z1, z2, temperature=0.05).total, rtol=0.02)


def test_bad_input_is_named():
    z1, z2 = pair(4, 3)
    with pytest.raises(ValueError, match="z2: shape"):
        nt_xent(z1, z2[:3])
    with pytest.raises(ValueError, match="z1: a batch of 1"):
        nt_xent(z1[:1], z2[:1])
    with pytest.raises(ValueError, match="temperature: 0"):
        nt_xent(z1, z2, temperature=0.0)
    assert torch.isnan(nt_xent(z1 * float("nan"), z2).total)
    with pytest.raises(ValueError, match="no second view"):
        objectives.build("nt_xent", project=False)(torch.nn.Identity(), PairBatch(z1))


def values(objective, batch):
    return {name: float(value) for name, value in objective.metrics(torch.nn.Identity(), batch).items()}


def test_the_module_projects_and_knows_its_collapse():
    torch.manual_seed(0)
    objective = objectives.build("nt_xent", width=8)
    objective.setup(embedding_dim=5)
    batch = PairBatch(*pair(12, 5, dtype=torch.float32))
    terms = objective(torch.nn.Identity(), batch)
    assert list(terms) == list(objective.healthy) and objective.alarm(values(objective, batch)) is None
    same = PairBatch(torch.ones(12, 5), torch.ones(12, 5))
    plain = objectives.build("nt_xent", project=False)
    assert "strangers have cosine 1.000" in plain.alarm(values(plain, same))


@pytest.mark.parametrize("n", [64, 127, 128, 129, 300])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_batches_of_more_than_one_block_of_powers_have_the_same_value_and_gradient(n, dtype):
    g = torch.Generator().manual_seed(n)
    ours = [torch.randn(n, 12, generator=g, dtype=dtype).requires_grad_() for _ in range(2)]
    theirs = [z.detach().double().requires_grad_() for z in ours]
    terms = nt_xent(*ours, temperature=0.2)
    (3 * terms["alignment"] + 0.5 * terms["spread"]).backward()
    u = torch.nn.functional.normalize(torch.cat(theirs), dim=1)
    alignment = (1 - (u[:n] * u[n:]).sum(1).mean()) / 0.2
    (3 * alignment + 0.5 * (masked(*theirs, 0.2) - alignment)).backward()
    close = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-6}
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, **close)
