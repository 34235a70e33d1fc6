"""The terms of VICReg as parts of other objectives: under bfloat16 autocast with their gradient, and against collapse."""

import torch

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.objectives.functional import covariance_loss, variance_loss
from erlangen.recipes.simsiam_variance import Siamese


def test_the_module_under_bfloat16_autocast_has_the_float32_statistics_of_its_input():
    torch.manual_seed(0)
    objective = objectives.build("vicreg", layers=0)
    encoder = torch.nn.Linear(8, 6)
    batch = PairBatch(torch.randn(32, 8), torch.randn(32, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z1, z2 = encoder(batch.x), encoder(batch.x2)
        terms = objective(encoder, batch)
    assert z1.dtype == torch.bfloat16 and all(term.dtype == torch.float32 for term in terms.values())
    exact = objective.loss(z1.float(), z2.float())
    for name in terms:
        assert torch.allclose(terms[name], exact[name], rtol=1e-6), name
    terms.total.backward()
    assert torch.isfinite(encoder.weight.grad).all() and encoder.weight.grad.abs().sum() > 0


def test_large_half_precision_embeddings_do_not_overflow_alone_either():
    z = (300 * torch.randn(16, 64)).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(covariance_loss(z)) and torch.isfinite(variance_loss(z))
        assert torch.allclose(covariance_loss(z), covariance_loss(z.float()))


def test_the_variance_term_keeps_a_siamese_network_without_stop_gradient_from_collapsing():
    spread = {}
    for std in (0.0, 1.0):
        torch.manual_seed(0)
        encoder = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
        objective = Siamese(stop_gradient=False, std=std)
        objective.setup(embedding_dim=8)
        optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=0.01)
        for _ in range(120):
            x = torch.randn(64, 8)
            terms = objective(encoder, PairBatch(x, x + 0.3 * torch.randn(64, 8)))
            optimizer.zero_grad()
            terms.total.backward()
            optimizer.step()
        spread[std] = float(terms["spread"].detach())
        assert (objective.alarm({"spread": spread[std]}) is None) == (std == 1.0)
    assert spread[0.0] < 0.2 < spread[1.0] and spread[1.0] > 3 * spread[0.0]
