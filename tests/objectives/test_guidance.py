"""Layers that follow those of a frozen guide."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from erlangen import train
from erlangen.data import ArrayDataset, PairBatch
from erlangen.nn import MLP
from erlangen.objectives import Guidance
from erlangen.objectives.guidance import alignment, even_match
from erlangen.stats import cka

seeds = st.integers(0, 10_000)


def draw(seed, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def loop_hsic(k, l):
    """The definition as an average over quadruples of different samples."""
    n = len(k)
    total, count = 0.0, 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i][j] * (l[i][j] + l[q][r] - 2 * l[i][q])
                        count += 1
    return total / count


@given(seeds, st.integers(5, 6))
def test_the_unbiased_form_is_an_average_over_quadruples(seed, n):
    x, y = draw(seed, n, 3), draw(seed + 1, n, 4)
    k, l = (x @ x.T).tolist(), (y @ y.T).tolist()
    kk, ll = loop_hsic(k, k), loop_hsic(l, l)
    if kk > 1e-3 and ll > 1e-3:
        assert float(alignment(x, y)) == pytest.approx(loop_hsic(k, l) / (kk * ll) ** 0.5, rel=1e-8, abs=1e-10)


@given(seeds, st.sampled_from([torch.float64, torch.float32]), st.booleans())
def test_a_rotation_a_scale_and_a_shift_change_nothing(seed, dtype, unbiased):
    x, y = draw(seed, 12, 5, dtype=dtype), draw(seed + 1, 12, 7, dtype=dtype)
    q = torch.linalg.qr(draw(seed + 2, 5, 5))[0].to(dtype)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    found = alignment(x, y, unbiased=unbiased)
    assert torch.allclose(found, alignment(3 * x @ q + 2, y, unbiased=unbiased), atol=tolerance)
    assert torch.allclose(found, alignment(y, x, unbiased=unbiased), atol=tolerance)
    assert float(alignment(x, x, unbiased=unbiased)) == pytest.approx(1, abs=tolerance)
    assert torch.allclose(found, cka(x, y, debiased=unbiased), atol=tolerance)
    if not unbiased:
        assert 0 <= float(found) <= 1 + tolerance


def test_a_general_linear_map_changes_it():
    x = draw(0, 20, 3)
    assert float(alignment(x, x * torch.tensor([1.0, 5.0, 25.0]))) < 0.9


def test_unrelated_wide_features_score_zero_only_without_bias():
    found = [float(alignment(draw(2 * s, 32, 512), draw(2 * s + 1, 32, 512))) for s in range(200)]
    assert abs(sum(found) / 200) < 0.02
    assert float(alignment(draw(1, 32, 2048), draw(2, 32, 2048), unbiased=False)) > 0.95


def test_it_differentiates_and_constant_features_give_zero():
    x = draw(0, 6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: alignment(a, draw(1, 6, 4)), x)
    for same in (torch.zeros(6, 3), torch.full((6, 3), 0.1)):
        assert float(alignment(same, draw(1, 6, 4, dtype=torch.float32))) == 0
    assert float(alignment(1e-20 * x, x).detach()) == pytest.approx(1, abs=1e-9)
    assert bool(torch.isnan(alignment(torch.full((6, 2), torch.nan), torch.randn(6, 2))))


def test_layers_are_matched_evenly_with_the_last_to_the_last():
    assert even_match(list("abcdef"), list("xy")) == [("c", "x"), ("f", "y")]
    assert even_match(list("ab"), list("wxyz")) == [("a", "x"), ("b", "z")]


def made(**arguments):
    torch.manual_seed(0)
    encoder, objective = MLP(16, in_features=6, embedding_dim=4), Guidance(**arguments)
    x = draw(0, 40, 6, dtype=torch.float32)
    objective.setup(embedding_dim=4, num_classes=3)
    objective.attach(encoder, x[:2])
    return encoder, objective.train(), PairBatch(x, label=torch.arange(40) % 3)


def test_the_guide_gets_no_gradient_the_encoder_does_and_follows():
    encoder, objective, batch = made()
    before = {n: p.clone() for n, p in objective.guide.state_dict().items()}
    optimiser = torch.optim.Adam(list(encoder.parameters()), lr=0.01)
    first = None
    for _ in range(60):
        terms = objective(encoder, batch)
        optimiser.zero_grad()
        terms["misalignment"].backward()
        optimiser.step()
        first = first or float(terms["misalignment"].detach())
    assert float(terms["misalignment"].detach()) < 0.5 * first
    assert all(torch.equal(p, before[n]) for n, p in objective.guide.state_dict().items())
    assert all(p.grad is None for p in objective.guide.parameters())
    similar = [float(v) for k, v in objective.metrics(encoder, batch).items() if k.startswith("cka/")]
    assert len(similar) == len(objective.pairs) and max(similar) <= 1 + 1e-6


def test_guidance_ends_and_is_not_asked_in_evaluation():
    encoder, objective, batch = made(until_step=2)
    assert set(objective(encoder, batch)) == {"cross_entropy", "misalignment"}
    objective.after_step(encoder, step=2, total_steps=9)
    assert set(objective(encoder, batch)) == {"cross_entropy"}
    again = Guidance(until_step=2)
    again.setup(embedding_dim=4, num_classes=3)
    again.attach(encoder, batch.x)
    again.load_state_dict(objective.state_dict())
    assert not again.guiding
    encoder, objective, batch = made()
    assert set(objective.eval()(encoder, batch)) == {"cross_entropy"}


def test_a_dead_layer_is_told_once(caplog):
    encoder, objective, batch = made(layer_map=[("hidden.0", "hidden.0")])
    with torch.no_grad():
        encoder.hidden[0][0].weight.zero_()
        encoder.hidden[0][0].bias.fill_(-1)
        encoder.eval()
    with caplog.at_level(logging.WARNING):
        objective(encoder, batch)
        objective(encoder, batch)
    assert [r.message.startswith("layer hidden.0") for r in caplog.records] == [True]


def test_a_run_with_it_resumes_to_the_same_weights(tmp_path):
    x = draw(3, 64, 6, dtype=torch.float32)
    samples = ArrayDataset(x, (x[:, 0] > 0).long(), kind="vector", splits={})

    def run(out, **more):
        torch.manual_seed(0)
        return train.fit(
            "mlp", samples, objective="guidance", epochs=2, batch_size=32, out=out, quiet=True, val_fraction=0.0, **more
        )

    whole = run(tmp_path / "a")
    again = train.load(tmp_path / "a")
    assert torch.equal(whole.encoder(x), again.encoder(x))
    assert "train/misalignment" in whole.history[-1]


def test_bad_input_is_named():
    with pytest.raises((ValueError, TypeError), match="samples"):
        alignment(torch.zeros(4, 2), torch.zeros(5, 2))
    with pytest.raises(ValueError, match="at least 4"):
        alignment(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"layers: unknown 'hidden.9'.*hidden.0"):
        made(layer_map=[("hidden.9", "hidden.0")])
    with pytest.raises(ValueError, match="weight"):
        Guidance(weight=-1.0)
    with pytest.raises(RuntimeError, match="setup"):
        Guidance().train().misalignment({}, torch.zeros(4, 2))
    assert isinstance(Guidance(guide=nn.Linear(2, 2)).guide, nn.Linear)
