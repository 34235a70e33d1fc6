"""Triplets: the equation by loops, mining that never takes a relative, and the switch from random to hard."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.objectives import triplet
from erlangen.objectives.triplet import mine, triplet_loss


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 5), k=st.integers(1, 4), margin=st.sampled_from([0.1, 0.5, 2.0]), seed=st.integers(0, 99))
def test_the_equation_by_loops(n, k, margin, seed):
    a, p, neg = random(n, 3, seed=seed), random(n, 3, seed=seed + 1), random(n, k, 3, seed=seed + 2)
    out = triplet_loss(a, p, neg, margin=margin)
    for i in range(n):
        for j in range(k):
            near, far = 1 - cosine(a[i].tolist(), p[i].tolist()), 1 - cosine(a[i].tolist(), neg[i, j].tolist())
            assert float(out[i, j]) == pytest.approx(max(0.0, near - far + margin), abs=1e-12)


def test_it_is_zero_where_the_margin_is_kept_and_the_margin_at_collapse():
    a, opposite = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]])
    assert float(triplet_loss(a, 3 * a, opposite, margin=1.0)) == 0.0
    assert float(triplet_loss(a, a, a[:, None], margin=0.5)) == 0.5
    x = [z.requires_grad_() for z in (random(3, 4), random(3, 4, seed=1), random(3, 2, 4, seed=2))]
    assert torch.autograd.gradcheck(lambda *z: triplet_loss(*z, margin=2.0), x)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 8), m=st.integers(1, 9), k=st.integers(1, 4), seed=st.integers(0, 99), hard=st.booleans())
def test_mining_takes_the_nearest_strangers_and_no_relative(n, m, k, seed, hard):
    a, c = random(n, 3, seed=seed), random(m, 3, seed=seed + 1)
    generator = torch.Generator().manual_seed(seed)
    of_a, of_c = torch.randint(3, (n,), generator=generator), torch.randint(3, (m,), generator=generator)
    chunk, triplet.CHUNK = triplet.CHUNK, 2 * m
    try:
        chosen, counts = mine(a, c, of_a, of_c, k=k, hard=hard)
    finally:
        triplet.CHUNK = chunk
    for i in range(n):
        strangers = [j for j in range(m) if of_c[j] != of_a[i]]
        taken = chosen[i][counts[i] > 0].tolist()
        assert set(taken) <= set(strangers) and len(taken) == min(k, len(strangers)) == len(set(taken))
        if hard:
            best = sorted(strangers, key=lambda j: -cosine(a[i].tolist(), c[j].tolist()))[:k]
            assert set(taken) == set(best)


def test_the_loss_averages_over_anchors_with_a_negative():
    z1, z2 = random(4, 3), random(4, 3, seed=1)
    component = torch.tensor([0, 0, 0, 1])
    objective = objectives.build("triplet", mining="hard", top_k=2)
    value = float(objective.loss(z1, z2, component).total)
    far = [[3], [3], [3], [0, 1, 2]]
    total = 0.0
    for i, strangers in enumerate(far):
        similar = sorted((cosine(z1[i].tolist(), z2[j].tolist()) for j in strangers), reverse=True)[:2]
        hinges = [max(0.0, s - cosine(z1[i].tolist(), z2[i].tolist()) + 0.5) for s in similar]
        total += sum(hinges) / len(hinges) / 4
    assert value == pytest.approx(total, rel=1e-10)


def test_random_comes_before_hard_and_the_state_says_so():
    objective = objectives.build("triplet")
    encoder = torch.nn.Identity()
    objective.setup(embedding_dim=3)
    batch = PairBatch(random(6, 3, dtype=torch.float32), random(6, 3, seed=1, dtype=torch.float32))
    torch.manual_seed(0)
    first = {float(objective(encoder, batch).total) for _ in range(5)}
    assert len(first) > 1
    objective.after_step(encoder, step=4, total_steps=12)
    assert bool(objective.state_dict()["is_hard"])
    numbers = {k: float(v) for k, v in objective.metrics(encoder, batch).items()}
    assert objective.alarm(numbers) is None and "collapse" in objective.alarm({"stranger_cosine": 0.99})


def test_components_of_a_graph_are_looked_up_by_index():
    z1, z2 = random(3, 4), random(3, 4, seed=1)
    known = objectives.build("triplet", mining="hard", components=[5, 5, 5, 2, 9])
    plain = objectives.build("triplet", mining="hard")
    index = torch.tensor([0, 1, 3])
    expected = plain.loss(z1, z2, torch.tensor([5, 5, 2])).total
    assert torch.equal(known(torch.nn.Identity(), PairBatch(z1, z2, index=index)).total, expected)
    with pytest.raises(ValueError, match="batch: all its samples are of one component"):
        known(torch.nn.Identity(), PairBatch(z1[:2], z2[:2], index=index[:2]))
    assert float(known.eval()(torch.nn.Identity(), PairBatch(z1[:2], z2[:2], index=index[:2])).total) == 0.0
    with pytest.raises(ValueError, match="batch: it has no index"):
        known(torch.nn.Identity(), PairBatch(z1, z2))


def test_bad_input_is_named():
    for arguments, words in (({"margin": 3.0}, "margin: 3"), ({"top_k": 0}, "top_k: 0")):
        with pytest.raises(ValueError, match=words):
            objectives.build("triplet", **arguments)
    objective = objectives.build("triplet")
    with pytest.raises(ValueError, match="no second view"):
        objective(torch.nn.Identity(), PairBatch(random(3, 2)))
    with pytest.raises(ValueError, match="z1, z2, component: shapes"):
        objective.loss(random(3, 2), random(3, 2), torch.zeros(2, dtype=torch.int64))
    assert torch.isnan(objective.loss(random(3, 2) * torch.nan, random(3, 2), torch.arange(3)).total)
