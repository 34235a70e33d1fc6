"""Every objective in mixed precision: finite, and what is computed over the batch is computed in float32."""

import copy
from collections.abc import Mapping

import pytest
import torch
from distributed_cases import CASES, DIM, whole_batch

from erlangen import objectives
from erlangen.data import PairBatch

BARE = {  # no head of their own between embedding and loss, or one that can be left out
    "nt_xent": {"project": False},
    "vicreg": {"layers": 0},
    "sie": {"layers": 0, "split": 0, "equi": 0.0},
    "triplet": {"mining": "hard", "top_k": 3},
}


def single(value):
    """Floats in single precision, everything else as it is."""
    if isinstance(value, tuple):
        return tuple(single(v) for v in value)
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def prepared(name):
    torch.manual_seed(0)
    case, batch = CASES[name], whole_batch(name)
    encoder, objective = case.encoder(), objectives.build(name, **copy.deepcopy(case.arguments))
    objective.setup(embedding_dim=DIM, num_classes=3)
    objective.attach(encoder, batch.x[:2])
    case.finish(objective)
    fields = {field: single(getattr(batch, field)) for field in ("x", "x2", "g", "label", "index")}
    return encoder.float(), objective.float().train(), PairBatch(**fields)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_loss_is_finite_in_single_precision_and_near_the_exact_one(name):
    encoder, objective, batch = prepared(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        exact = objective(encoder, batch).detach()
    encoder, objective, batch = prepared(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(1)
        terms = objective(encoder, batch)
        total = terms.total
    assert isinstance(terms, Mapping) and not terms.not_finite()
    for term, value in terms.items():
        assert value.dtype == torch.float32, term
        assert float(value.detach()) == pytest.approx(float(exact[term]), rel=0.1, abs=0.03), term
    total.backward()
    gradients = [p.grad for p in (*encoder.parameters(), *objective.parameters()) if p.grad is not None]
    assert gradients and all(bool(torch.isfinite(g).all()) for g in gradients)


class Rounded(torch.nn.Module):
    """What a network under autocast hands over: numbers in bfloat16."""

    def forward(self, x):
        return x.bfloat16()


@pytest.mark.parametrize("name", sorted(BARE))
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_statistics_of_rounded_embeddings_are_those_of_single_precision(name, scale):
    """In bfloat16 a sum over 64 samples would be off in the second digit."""
    objective = objectives.build(name, **BARE[name]).eval()
    objective.setup(embedding_dim=24)
    generator = torch.Generator().manual_seed(0)
    z1 = (scale * torch.randn(64, 24, generator=generator)).bfloat16()
    z2 = (z1.float() + 0.1 * scale * torch.randn(64, 24, generator=generator)).bfloat16()
    batch = whole_batch(name)
    g = None if batch.g is None else torch.eye(2).expand(64, 2, 2).contiguous()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(Rounded(), PairBatch(z1, z2, g=g))
    wanted = objective(torch.nn.Identity(), PairBatch(z1.float(), z2.float(), g=g))
    for term, value in found.items():
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(float(wanted[term]), rel=1e-5, abs=1e-6), term
