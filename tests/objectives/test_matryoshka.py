"""Matryoshka: any loss on every prefix, its tied head in one pass, and what stays of the embedding's symmetry."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.nn.matryoshka_head import MatryoshkaHead, default_dims
from erlangen.objectives import VICReg
from erlangen.objectives.functional import vicreg
from erlangen.objectives.matryoshka import matryoshka

DIMS = (2, 3, 7)


def batch_of(n=6, d=7, classes=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x, x2 = (torch.randn(n, d, dtype=dtype, generator=generator) for _ in range(2))
    return PairBatch(x, x2, label=torch.randint(classes, (n,), generator=generator))


def ready(*, classes=4, d=7, **kwargs):
    torch.manual_seed(0)
    objective = objectives.build("matryoshka", **kwargs)
    objective.setup(embedding_dim=d, num_classes=classes)
    objective.attach(torch.nn.Identity(), torch.randn(2, d))
    return objective.double()


def by_loops(z, label, head, dims, weights, tied):
    """`sum_m c_m` of the cross-entropy of every prefix, number by number."""
    total = 0.0
    for k, (m, c) in enumerate(zip(dims, weights, strict=True)):
        layer = head.heads[0] if tied else head.heads[k]
        w, b = layer.weight.tolist(), layer.bias.tolist()
        for row, y in zip(z.tolist(), label.tolist(), strict=True):
            logits = [sum(w[i][j] * row[j] for j in range(m)) + b[i] for i in range(len(b))]
            total += c * (math.log(sum(math.exp(v) for v in logits)) - logits[y]) / len(z)
    return total


@pytest.mark.parametrize("tied", [True, False])
@given(seed=st.integers(0, 999))
def test_value_agrees_with_loops_over_the_equation(tied, seed):
    weights = (0.5, 2.0, 1.0)
    objective, batch = ready(dims=DIMS, weights=weights, tied=tied), batch_of(seed=seed)
    expected = by_loops(batch.x, batch.label, objective.head, DIMS, weights, tied)
    assert float(objective(torch.nn.Identity(), batch).total.detach()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seed=st.integers(0, 999))
def test_the_tied_head_is_the_cut_matrix_at_every_length(dtype, seed):
    torch.manual_seed(seed)
    head = MatryoshkaHead(DIMS, 4, tied=True).to(dtype)
    z = torch.randn(5, 7, dtype=dtype)
    out, tolerance = head(z), 1e-12 if dtype == torch.float64 else 1e-5
    layer = head.heads[0]
    for k, m in enumerate(DIMS):
        assert torch.allclose(out[:, k], z[:, :m] @ layer.weight[:, :m].T + layer.bias, atol=tolerance)
        assert torch.allclose(out[:, k], head.at(z[:, :m], m), atol=tolerance)
    assert head.at(z, 5).shape == (5, 4)  # a tied head answers lengths between the trained ones too


def test_the_gradient_of_the_one_pass_is_right():
    head = MatryoshkaHead(DIMS, 3, tied=True).double()
    z = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    parameters = tuple(head.parameters())

    def run(z, weight, bias):
        return torch.func.functional_call(head, {"heads.0.weight": weight, "heads.0.bias": bias}, (z,))

    assert torch.autograd.gradcheck(run, (z, *parameters))


def test_the_gradient_of_a_coordinate_comes_from_the_lengths_that_hold_it():
    objective, batch = ready(dims=DIMS), batch_of()
    z = batch.x.clone().requires_grad_()
    terms = objective(torch.nn.Identity(), PairBatch(z, label=batch.label))
    for m in DIMS:
        (gradient,) = torch.autograd.grad(terms[f"cross_entropy@{m}"], z, retain_graph=True)
        assert bool((gradient[:, :m].abs().sum(0) > 0).all()) and not bool(gradient[:, m:].any())


@pytest.mark.parametrize("tied", [True, False])
def test_one_length_is_the_base_bitwise(tied):
    batch, base = batch_of(), objectives.build("cross_entropy", label_smoothing=0.1)
    base.setup(embedding_dim=7, num_classes=4)
    base.double()
    objective = ready(dims=[7], tied=tied, base_arguments={"label_smoothing": 0.1})
    objective.head.heads[0].load_state_dict(base.head.state_dict())
    assert torch.equal(objective(torch.nn.Identity(), batch).total, base(torch.nn.Identity(), batch).total)
    pair = ready(base="vicreg", dims=[7], base_arguments={"layers": 0})
    assert torch.equal(pair(torch.nn.Identity(), batch).total, vicreg(batch.x, batch.x2).total)


def test_it_adds_over_the_lengths_for_any_base_and_runs_the_encoder_once():
    calls = []

    class Encoder(torch.nn.Module):
        def forward(self, x):
            calls.append(len(x))
            return torch.tanh(x)

    batch = batch_of()
    objective = ready(base=VICReg(layers=0), dims=DIMS, weights=[1.0, 0.5, 2.0])
    total = objective(Encoder(), batch).total
    assert len(calls) == 2
    expected = sum(
        w * vicreg(torch.tanh(batch.x)[:, :m], torch.tanh(batch.x2)[:, :m]).total
        for m, w in zip(DIMS, (1.0, 0.5, 2.0), strict=True)
    )
    assert torch.allclose(total, expected, rtol=1e-14)
    pure = matryoshka(vicreg, torch.tanh(batch.x), torch.tanh(batch.x2), dims=DIMS, weights=[1.0, 0.5, 2.0])
    assert torch.allclose(pure.total, expected, rtol=1e-14)
    assert objective.views == "pair" and set(objective.healthy) == set(pure) and objective.init_arguments["base"]


def test_regression_targets_are_cut_with_the_embedding():
    z, target = batch_of().x, batch_of(seed=1).x
    terms = matryoshka(torch.nn.functional.mse_loss, z, target, dims=DIMS)
    for m in DIMS:
        assert torch.equal(terms[f"loss@{m}"], torch.nn.functional.mse_loss(z[:, :m], target[:, :m]))


def test_unit_vectors_are_made_unit_again_after_the_cut():
    class Unit(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.normalize(x, dim=1)

    objective = ready(dims=DIMS)
    assert not objective.normalizes
    objective.attach(Unit(), torch.randn(3, 7, dtype=torch.float64))
    assert objective.normalizes
    batch = batch_of()
    logits = objective._logits(Unit()(batch.x))
    cut = torch.nn.functional.normalize(batch.x[:, :3], dim=1)
    assert torch.allclose(logits[:, 1], objective.head.at(cut, 3))
    with pytest.raises(ValueError, match="prefix of 2 components is zero"):
        matryoshka(lambda z: z.sum(), torch.tensor([[0.0, 0.0, 1.0]]), dims=[2, 3], normalize=True)


def test_collapse_shows_in_the_metrics_of_every_prefix():
    objective = ready(dims=DIMS)
    batch = batch_of(n=20)
    numbers = objective.metrics(torch.nn.Identity(), batch)
    assert all(float(numbers[f"embedding_std@{m}"]) > 0.5 for m in DIMS) and float(numbers["effective_rank@7"]) > 4
    gone = objective.metrics(torch.nn.Identity(), PairBatch(torch.ones_like(batch.x), label=batch.label))
    assert all(float(gone[f"embedding_std@{m}"]) == 0 and float(gone[f"effective_rank@{m}"]) < 1.01 for m in DIMS)
    assert objective.predict(batch.x).shape == (20, 4)


def test_default_lengths():
    assert default_dims(64) == (8, 16, 32, 64) and default_dims(10) == (10,) and default_dims(2048)[0] == 8


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"dims": [4, 2, 7]}, "dims: 2 after 4"),
        ({"dims": [2, 2, 7]}, "dims: 2 after 2"),
        ({"dims": [2, 9]}, "dims: 9 is longer"),
        ({"dims": [2, 4]}, "add 7"),
        ({"dims": [0, 7]}, "dims: 0"),
        ({"dims": []}, "dims: empty"),
        ({"dims": [2, 7], "weights": [1.0]}, "weights"),
        ({"dims": [2, 7], "weights": [1.0, -1.0]}, "weights"),
        ({"base": "vicreg", "tied": True}, "tied"),
        ({"base": "nothing"}, "unknown 'nothing'"),
    ],
)
def test_bad_arguments_are_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        ready(**arguments)
    with pytest.raises(ValueError, match=r"cross_entropy.* needs labels"):
        objectives.build("matryoshka").setup(embedding_dim=8)
    with pytest.raises(ValueError, match="z: 3 dimensions"):
        MatryoshkaHead([2, 4], 3)(torch.randn(2, 3))
