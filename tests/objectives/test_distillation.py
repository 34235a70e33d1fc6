"""One network from several."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from erlangen.data import PairBatch
from erlangen.objectives import MultiTeacherDistillation
from erlangen.objectives.distillation import distillation


class Counting(nn.Module):
    def __init__(self, seed, dim):
        super().__init__()
        torch.manual_seed(seed)
        self.linear, self.samples = nn.Linear(4, dim), 0

    def forward(self, x):
        self.samples += len(x)
        return self.linear(x)


@given(st.integers(0, 10_000), st.floats(0.5, 5.0))
def test_the_equations_against_a_loop(seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    s, t = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    cosine = divergence = 0.0
    for a, b in zip(s.tolist(), t.tolist(), strict=True):
        norm = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
        cosine += (1 - sum(u * v for u, v in zip(a, b, strict=True)) / norm) / 5
        p, q = ([math.exp(v / temperature) for v in row] for row in (b, a))
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        divergence += temperature**2 * sum(u * math.log(u / v) for u, v in zip(p, q, strict=True)) / 5
    assert float(distillation(s, t)) == pytest.approx(cosine, rel=1e-10)
    found = distillation(s, t, mode="logits", temperature=temperature)
    assert float(found) == pytest.approx(divergence, rel=1e-9, abs=1e-14)
    assert float(distillation(7 * t, t)) == pytest.approx(0, abs=1e-12)
    assert float(distillation(t + 2, t, mode="logits")) == pytest.approx(0, abs=1e-12)


def test_teachers_are_asked_once_a_sample_and_never_move():
    teachers = [Counting(0, 3), Counting(1, 5)]
    before = [p.clone() for t in teachers for p in t.parameters()]
    torch.manual_seed(2)
    encoder = nn.Linear(4, 6)
    objective = MultiTeacherDistillation(teachers, cache=True)
    x = torch.randn(30, 4)
    objective.setup(embedding_dim=6)
    objective.attach(encoder, x[:2])
    start = teachers[0].samples
    optimiser = torch.optim.Adam([*encoder.parameters(), *objective.heads.parameters()], lr=0.05)
    objective.train()
    losses = []
    for step in range(200):
        index = torch.randperm(30, generator=torch.Generator().manual_seed(step))[:10]
        terms = objective(encoder, PairBatch(x[index], index=index))
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
        losses.append(float(terms.total.detach()))
    assert teachers[0].samples - start <= 31 and losses[-1] < 0.02 * losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, [p for t in teachers for p in t.parameters()], strict=True))
    whole = PairBatch(x, index=torch.arange(30))
    cached, objective.cache = objective(encoder, whole).total, False
    assert torch.allclose(cached, objective(encoder, whole).total, atol=1e-6)
    each = objective.metrics(encoder, whole)
    assert torch.allclose(torch.stack(list(each.values())).mean(), cached, atol=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="teachers"):
        MultiTeacherDistillation([])
    with pytest.raises(ValueError, match="temperature"):
        MultiTeacherDistillation([nn.Linear(2, 2)], temperature=0.0)
    objective = MultiTeacherDistillation([nn.Linear(2, 2)])
    with pytest.raises(RuntimeError, match="setup"):
        objective(nn.Identity(), PairBatch(torch.zeros(2, 2)))
