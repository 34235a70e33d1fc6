"""Stationary representations and equiangular vectors: equations by loops, the masks, and what training leaves alone."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.nn.prototypes import coherence, simplex_prototypes
from erlangen.objectives.higher_order_compatibility import higher_order_compatibility


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return sum(u * v for u, v in zip(a, b, strict=True)) / (sum(u * u for u in a) * sum(v * v for v in b)) ** 0.5


def by_loops(new, old, label, mu, mask):
    total, new, old = 0.0, new.tolist(), old.tolist()
    for i in range(len(new)):
        terms = []
        for j in range(len(new)):
            if label[j] != label[i]:
                terms.append(math.exp(mu * cosine(old[i], new[j])))
            elif mask == "zero":
                terms.append(1.0)
        total += -mu * cosine(new[i], old[i]) + (math.log(sum(terms)) if terms else 0.0)
    return total / len(new)


@pytest.mark.parametrize("mask", ["exclude", "zero"])
@given(n=st.integers(1, 8), classes=st.integers(1, 4), seed=st.integers(0, 999), mu=st.sampled_from([1.0, 10.0]))
def test_compatibility_agrees_with_loops_over_the_equation(mask, n, classes, seed, mu):
    new, old = draw(n, 5, seed=seed), draw(n, 5, seed=seed + 1)
    label = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    value = higher_order_compatibility(new, old, label, mu=mu, mask=mask)
    assert float(value) == pytest.approx(by_loops(new, old, label.tolist(), mu, mask), rel=1e-11, abs=1e-11)


def test_one_class_has_no_sum_to_take_the_logarithm_of():
    new, label = draw(4, 3).requires_grad_(), torch.zeros(4, dtype=torch.int64)
    value = higher_order_compatibility(new, new.detach(), label)
    assert float(value.detach()) == pytest.approx(-10.0)
    assert float(higher_order_compatibility(new.detach(), new.detach(), label, mask="zero")) == pytest.approx(
        math.log(4) - 10
    )
    value.backward()
    assert torch.isfinite(new.grad).all()


def test_the_masks_differ_as_much_as_the_released_code_does():
    """With random features and 128 samples: 0.40 for 2 classes, 0.05 for 10, 0.01 for 100."""
    for classes, gap in ((2, 0.40), (10, 0.05), (100, 0.01)):
        found = []
        for seed in range(8):
            new, old = draw(128, 64, seed=seed), draw(128, 64, seed=seed + 50)
            label = torch.randint(classes, (128,), generator=torch.Generator().manual_seed(seed))
            values = [higher_order_compatibility(new, old, label, mask=m) for m in ("zero", "exclude")]
            found.append(abs(float(values[0] - values[1])))
        assert sum(found) / len(found) == pytest.approx(gap, rel=0.6)


def test_gradients():
    label = torch.tensor([0, 1, 0, 2])
    inputs = (draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_())
    for mask in ("exclude", "zero"):
        assert torch.autograd.gradcheck(lambda a, b, m=mask: higher_order_compatibility(a, b, label, mask=m), inputs)


def ready(name, d=6, classes=4, **arguments):
    torch.manual_seed(0)
    objective = objectives.build(name, **arguments)
    objective.setup(embedding_dim=d, num_classes=classes)
    objective.attach(torch.nn.Identity(), torch.zeros(2, d))
    return objective


def batch_of(n=8, d=6, classes=4, seed=0):
    return PairBatch(draw(n, d, seed=seed).float(), label=torch.arange(n) % classes)


def test_without_an_old_model_or_with_all_weight_on_it_the_loss_is_cross_entropy_on_the_simplex():
    batch, expected = batch_of(), None
    logits = batch.x @ simplex_prototypes(7).T
    expected = torch.nn.functional.cross_entropy(logits, batch.label)
    assert torch.allclose(ready("stationary")(torch.nn.Identity(), batch).total, expected)
    everything = ready("stationary", lam=1.0, old="start")(torch.nn.Identity(), batch)
    assert torch.allclose(everything.total, expected) and set(everything) == {"cross_entropy", "compatibility"}
    mixed = ready("stationary", old="start")(torch.nn.Identity(), batch)
    hoc = higher_order_compatibility(batch.x, batch.x, batch.label)
    assert torch.allclose(mixed.total, 0.1 * expected + 0.9 * hoc)
    assert set(ready("stationary").healthy) == set(mixed)


def test_the_old_model_is_frozen_and_never_in_training_mode():
    encoder = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.BatchNorm1d(6))
    objective = objectives.build("stationary", old=encoder)
    objective.setup(embedding_dim=6, num_classes=4)
    objective.attach(encoder, torch.zeros(2, 6))
    before = {k: v.clone() for k, v in objective.old.state_dict().items()}
    optimizer = torch.optim.SGD([*encoder.parameters(), *objective.parameters()], lr=0.1, weight_decay=0.5)
    for seed in range(3):
        optimizer.zero_grad()
        objective.train()(encoder, batch_of(seed=seed)).total.backward()
        optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in objective.old.state_dict().items())
    assert not torch.equal(encoder[0].weight, objective.old[0].weight) and not objective.old.training
    assert 0 < float(objective.metrics(encoder, batch_of())["cosine_to_old"].detach()) < 1


def test_equiangular_loss_is_that_of_the_fixed_directions():
    objective, batch = ready("equiangular", d=6, classes=4), batch_of()
    w = objective.classifier.prototypes
    assert coherence(w) < 1e-6
    logits = torch.nn.functional.normalize(batch.x, dim=1) @ w.T / 0.07
    expected = torch.nn.functional.cross_entropy(logits, batch.label, label_smoothing=0.1)
    assert torch.allclose(objective(torch.nn.Identity(), batch).total, expected, rtol=1e-5)
    assert torch.equal(ready("equiangular", d=6, classes=4).classifier.prototypes, w)
    assert list(objective.parameters()) == [] and set(objective.healthy) == {"cross_entropy"}
    assert torch.equal(objective.predict(3 * batch.x).argmax(1), objective.predict(batch.x).argmax(1))


@pytest.mark.parametrize("name", ["stationary", "equiangular"])
def test_collapse_shows(name):
    objective = ready(name)
    gone = objective.metrics(torch.nn.Identity(), PairBatch(torch.ones(8, 6), label=torch.arange(8) % 4))
    well = objective.metrics(torch.nn.Identity(), batch_of())
    assert float(gone["embedding_std"]) < 1e-6 < 0.1 < float(well["embedding_std"])
    assert float(gone["effective_rank"]) < 1.01 < float(well["effective_rank"])


@pytest.mark.parametrize(
    ("name", "arguments", "sizes", "word"),
    [
        ("stationary", {"vertices": 10}, (6, 4), "use embedding_dim=9"),
        ("stationary", {}, (6, 8), "8 classes and 7 vertices"),
        ("stationary", {}, (6, None), "needs labels"),
        ("stationary", {"lam": 1.5}, (6, 4), "lam: 1.5"),
        ("stationary", {"old": torch.nn.Linear(6, 5)}, (6, 4), "old: gives"),
        ("equiangular", {}, (6, None), "needs labels"),
        ("equiangular", {"temperature": 0.0}, (6, 4), "temperature"),
        ("equiangular", {"alpha": 0.01}, (6, 60), "Welch"),
    ],
)
def test_bad_arguments_are_named(name, arguments, sizes, word):
    with pytest.raises(ValueError, match=word):
        objective = objectives.build(name, **arguments)
        objective.setup(embedding_dim=sizes[0], num_classes=sizes[1])
        objective.attach(torch.nn.Identity(), torch.zeros(2, 6))
