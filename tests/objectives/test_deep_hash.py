"""Binary codes: distances, triplets, and the terms that make bits useful."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.data import PairBatch
from erlangen.nn.hash_head import HashHead
from erlangen.objectives import DeepHash
from erlangen.objectives.deep_hash import code_distance, mix_within_classes, quantization_loss, triplet_ranking

seeds = st.integers(0, 10_000)


def draw(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@given(seeds, st.integers(1, 20), st.sampled_from([torch.float64, torch.float32]))
def test_distance_of_signs_is_the_share_of_differing_bits(seed, bits, dtype):
    a, b = draw(seed, 5, bits, dtype=dtype).sign(), draw(seed + 1, 4, bits, dtype=dtype).sign()
    found = code_distance(a, b)
    assert torch.allclose(found, (a[:, None] != b).to(dtype).mean(-1), atol=1e-6)
    order = torch.randperm(bits, generator=torch.Generator().manual_seed(seed))
    flip = draw(seed + 2, bits, dtype=dtype).sign()
    assert torch.allclose(found, code_distance(a[:, order] * flip, b[:, order] * flip), atol=1e-6)


@given(seeds, st.booleans())
def test_the_triplet_loss_against_three_loops(seed, same):
    n, bits, margin = 7, 6, 0.3
    h, s = draw(seed, n, bits).tanh(), draw(seed + 1, n, bits).tanh()
    s = h if same else s
    label = torch.randint(-1, 3, (n,), generator=torch.Generator().manual_seed(seed))
    total, count = 0.0, 0
    for i in range(n):
        for p in range(n):
            for m in range(n):
                a, b, c = (int(label[j]) for j in (i, p, m))
                if min(a, b, c) < 0 or a != b or a == c or (same and i == p):
                    continue
                near = sum(float(u - v) ** 2 for u, v in zip(h[i], s[p], strict=True)) / (4 * bits)
                far = sum(float(u - v) ** 2 for u, v in zip(h[i], s[m], strict=True)) / (4 * bits)
                total, count = total + max(0.0, margin + near - far), count + 1
    found = triplet_ranking(h, s, label, label, margin=margin, same=same)
    assert float(found) == pytest.approx(total / max(1, count), rel=1e-9, abs=1e-12)


def test_codes_that_keep_the_margin_cost_nothing():
    h = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [-1, -1, -1, -1]])
    label = torch.tensor([0, 0, 1])
    assert float(triplet_ranking(h, h, label, label, same=True)) == 0
    assert float(quantization_loss(h)) == 0
    assert float(triplet_ranking(h[:1].expand(3, -1), h[:1].expand(3, -1), label, label, same=True)) == 0.25


@given(seeds)
def test_mixtures_lie_between_samples_of_one_class(seed):
    x = draw(seed, 12, 3)
    label = torch.randint(-1, 3, (12,), generator=torch.Generator().manual_seed(seed))
    mixed = mix_within_classes(x, label, torch.Generator().manual_seed(seed))
    for i in range(12):
        mates = [j for j in range(12) if j != i and label[j] == label[i] >= 0]
        off = [float(torch.linalg.matrix_rank(torch.stack([mixed[i] - x[i], x[j] - x[i]]), tol=1e-9)) for j in mates]
        assert (min(off) <= 1) if mates else torch.allclose(mixed[i], x[i])


def test_it_learns_codes_that_part_the_classes():
    torch.manual_seed(0)
    label = torch.arange(60) % 3
    x = 3 * torch.eye(3)[label] + 0.3 * draw(0, 60, 3, dtype=torch.float32)
    encoder, objective = torch.nn.Linear(3, 8), DeepHash(12, mixing=True)
    objective.setup(embedding_dim=8, num_classes=3)
    optimiser = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=0.02)
    batch = PairBatch(x, label=torch.where(torch.arange(60) < 45, label, -1))
    for _ in range(60):
        optimiser.zero_grad()
        objective(encoder, batch).total.backward()
        optimiser.step()
    codes = objective.codes(encoder(x))
    distance = (codes[:, None] != codes).float().mean(-1)
    same = label[:, None] == label
    assert float(distance[same].max()) < float(distance[~same].min())
    assert set(objective.metrics(encoder, batch)) == {"bit_imbalance", "undecided"}
    assert "mixed_triplet" not in objective.eval()(encoder, batch)


def test_bad_input_is_named():
    for wrong in ({"bits": 0}, {"margin": 0.0}, {"balance": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DeepHash(**wrong)
    with pytest.raises(ValueError, match="bits"):
        HashHead(4, 0)
    with pytest.raises(ValueError, match="two classes"):
        DeepHash().setup(embedding_dim=4, num_classes=1)
    with pytest.raises(RuntimeError, match="setup"):
        DeepHash()(torch.nn.Identity(), PairBatch(torch.zeros(2, 2), label=torch.zeros(2, dtype=torch.int64)))
