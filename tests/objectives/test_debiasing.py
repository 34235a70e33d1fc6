"""Biased digits, exact recolouring, and the losses against bias."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.data import ArrayDataset, PairBatch
from erlangen.data.biased_digits import BIASES, Recolor, biased_digits, give_attribute, palette
from erlangen.objectives import BiasContrast, GroupDRO, LearningFromFailure
from erlangen.objectives.generalized_cross_entropy import generalized_cross_entropy
from erlangen.objectives.learning_from_failure import relative_difficulty
from erlangen.stats import clopper_pearson

seeds = st.integers(0, 10_000)


def grey(n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 8, 8, generator=generator)
    return ArrayDataset(
        x, torch.arange(n) % 10, splits={"train": torch.arange(n - 40), "test": torch.arange(n - 40, n)}
    )


@given(seeds, st.floats(0.05, 1.0), st.sampled_from([torch.float64, torch.float32]))
def test_generalised_cross_entropy_against_a_loop_and_its_two_ends(seed, q, dtype):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64).to(dtype)
    label = torch.randint(4, (6,), generator=generator)
    p = [math.exp(row[c]) / sum(map(math.exp, row)) for row, c in zip(logits.tolist(), label.tolist(), strict=True)]
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    found = float(generalized_cross_entropy(logits, label, q=q))
    assert found == pytest.approx(sum((1 - v**q) / q for v in p) / 6, rel=tolerance)
    assert float(generalized_cross_entropy(logits, label, q=1)) == pytest.approx(
        sum(1 - v for v in p) / 6, rel=tolerance
    )
    plain = torch.nn.functional.cross_entropy(logits, label)
    assert torch.allclose(generalized_cross_entropy(logits, label, q=1e-7), plain, rtol=1e-4)
    assert torch.allclose(generalized_cross_entropy(logits, label, q=0), plain)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("ratio", [0.0, 0.1])
def test_the_share_of_counter_examples_is_the_one_asked_for(bias, ratio):
    biased = biased_digits(grey(2_000), bias=bias, conflict_ratio=ratio, seed=1)
    count = round(biased.conflicting * 1_960)
    low, high = clopper_pearson(count, 1_960)[:2]
    assert low <= ratio <= high
    test = biased.dataset.splits["test"]
    assert (biased.attribute[test] != biased.dataset.label[test]).any()
    images = give_attribute(torch.zeros(10, 1, 16, 16), torch.arange(10), bias=bias)
    distinct = {tuple(image.flatten().tolist()) for image in images}
    assert len(distinct) == (1 if bias == "color" else 10)  # black has no colour


@given(seeds)
def test_recolouring_is_exact_and_never_the_same_colour(seed):
    generator = torch.Generator().manual_seed(seed)
    shape, colour = torch.rand(12, 1, 6, 6, generator=generator), torch.randint(10, (12,), generator=generator)
    x = give_attribute(shape, colour)
    same, other, _ = Recolor()(x, generator)
    assert same is x and torch.allclose(other.amax(1, keepdim=True), shape)
    found = (other.flatten(2).sum(2) @ palette(10).T / palette(10).norm(dim=1)).argmax(1)
    assert not bool((found == colour).any())
    assert torch.allclose(other, give_attribute(shape, found))
    assert torch.equal(Recolor(keep=True)(x, generator)[1], x)


def test_features_that_ignore_the_colour_are_where_the_contrast_is_best_and_training_goes_there():
    torch.manual_seed(0)
    biased = biased_digits(grey(160), seed=0)
    x, label = biased.dataset.train.tensors()
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    objective = BiasContrast(0.2, 0.0, project=False)
    objective.setup(embedding_dim=16, num_classes=10)
    views, generator = Recolor(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=0.01)

    def moved():
        _, other, _ = views(x, torch.Generator().manual_seed(5))
        z, z2 = encoder(x).detach(), encoder(other).detach()
        return float((z - z2).norm() / (z - z.mean(0)).norm())

    before = moved()
    for _ in range(80):
        _, other, _ = views(x, generator)
        optimiser.zero_grad()
        objective(encoder, PairBatch(x, other, label=label)).total.backward()
        optimiser.step()
    assert moved() < 0.5 * before


def test_swapping_the_views_changes_nothing():
    torch.manual_seed(0)
    objective = BiasContrast(project=False).double()
    objective.setup(embedding_dim=5, num_classes=3)
    objective.double()
    x, x2 = torch.randn(2, 8, 5, dtype=torch.float64)
    label = torch.arange(8) % 3
    pairs = [PairBatch(x, x2, label=label), PairBatch(x2, x, label=label)]
    one, two = (objective(torch.nn.Identity(), pair).total for pair in pairs)
    assert torch.allclose(one, two, rtol=1e-12)
    assert set(objective(torch.nn.Identity(), pairs[0])) == {"cross_entropy", "alignment", "spread"}


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="conflict_ratio"):
        biased_digits(grey(), conflict_ratio=1.5)
    with pytest.raises(ValueError, match="digits"):
        biased_digits(ArrayDataset(torch.zeros(4, 3, 4, 4), torch.arange(4) % 2))
    with pytest.raises(ValueError, match="count"):
        Recolor(1)
    with pytest.raises(ValueError, match="x:"):
        Recolor()(torch.zeros(2, 1, 4, 4), torch.Generator())
    with pytest.raises(ValueError, match="q:"):
        generalized_cross_entropy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), q=2)
    with pytest.raises(ValueError, match="ce_weight"):
        BiasContrast(0.5, -1.0)
    with pytest.raises(ValueError, match="two classes"):
        BiasContrast().setup(embedding_dim=4, num_classes=1)
    with pytest.raises(ValueError, match="x2"):
        BiasContrast()(torch.nn.Identity(), PairBatch(torch.zeros(2, 2)))


def losses(seed, n=12, classes=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=generator, dtype=torch.float64)
    label = torch.randint(classes, (n,), generator=generator)
    each = [
        -math.log(math.exp(row[y]) / sum(map(math.exp, row))) for row, y in zip(logits.tolist(), label, strict=True)
    ]
    return logits, label, each


class Told(torch.nn.Module):
    """A head that hands over what it is given."""

    def forward(self, z):
        return z


@given(seeds)
def test_learning_from_failure_is_its_equation(seed):
    logits, label, own = losses(seed)
    theirs = logits.flip(0)
    objective = LearningFromFailure(q=0.7)
    objective.setup(embedding_dim=3, num_classes=3)
    objective.attach(torch.nn.Identity(), logits)
    objective.head, objective.biased_head = Told(), Told()
    objective.biased = torch.nn.Linear(3, 3)
    objective.biased.forward = lambda x: theirs
    terms = objective(torch.nn.Identity(), PairBatch(logits, label=label))
    biased = [
        -math.log(math.exp(row[y]) / sum(map(math.exp, row))) for row, y in zip(theirs.tolist(), label, strict=True)
    ]
    weighted = sum(b / (b + o) * o for b, o in zip(biased, own, strict=True)) / 12
    assert float(terms["weighted"]) == pytest.approx(weighted, rel=1e-10)
    greedy = sum((1 - math.exp(-0.7 * b)) / 0.7 for b in biased) / 12
    assert float(terms["biased"]) == pytest.approx(greedy, rel=1e-10)


def test_the_biased_network_learns_by_its_own_loss_alone():
    torch.manual_seed(0)
    encoder = torch.nn.Linear(4, 5)
    objective = LearningFromFailure()
    objective.setup(embedding_dim=5, num_classes=3)
    objective.attach(encoder, torch.zeros(2, 4))
    batch = PairBatch(torch.randn(6, 4), label=torch.arange(6) % 3)
    objective(encoder, batch)["weighted"].backward()
    assert encoder.weight.grad is not None and objective.biased.weight.grad is None
    encoder.zero_grad(), objective.zero_grad()
    objective(encoder, batch)["biased"].backward()
    assert objective.biased.weight.grad is not None
    assert encoder.weight.grad is None or not bool(encoder.weight.grad.any())
    assert torch.equal(
        relative_difficulty(torch.tensor([0.0, 2.0, 1.0]), torch.tensor([0.0, 0.0, 3.0])), torch.tensor([0.5, 1, 0.25])
    )


@given(seeds, st.floats(0.01, 2.0))
def test_group_weights_rise_with_the_loss_of_their_group(seed, step_size):
    logits, label, each = losses(seed)
    attribute = torch.randint(2, (12,), generator=torch.Generator().manual_seed(seed)).tolist()
    objective = GroupDRO(step_size, attribute=[*attribute, 1])
    objective.setup(embedding_dim=3, num_classes=3)
    objective.double().head = Told()
    found = objective(torch.nn.Identity(), PairBatch(logits, label=label, index=torch.arange(12)))["robust"]
    means = []
    for group in range(6):
        mine = [v for v, y, a in zip(each, label.tolist(), attribute, strict=True) if 2 * y + a == group]
        means.append(sum(mine) / len(mine) if mine else 0.0)
    share = [math.exp(step_size * m) for m in means]
    wanted = sum(s * m for s, m in zip(share, means, strict=True)) / sum(share)
    assert float(found) == pytest.approx(wanted, rel=1e-6)
    assert objective.share.tolist() == pytest.approx([s / sum(share) for s in share], rel=1e-5)
    before = objective.share.clone()
    plain = objective.eval()(torch.nn.Identity(), PairBatch(logits, label=label))["robust"]
    per_class = [[v for v, y in zip(each, label.tolist(), strict=True) if y == c] for c in range(3)]
    assert float(plain) == pytest.approx(
        sum(sum(c) / len(c) for c in per_class if c) / sum(map(bool, per_class)), rel=1e-10
    )
    assert torch.equal(objective.share, before)


def test_robust_training_refuses_what_it_cannot_look_up():
    with pytest.raises(ValueError, match="attribute: numbers"):
        GroupDRO(attribute=[0, -1])
    with pytest.raises(ValueError, match="step_size"):
        GroupDRO(0.0)
    objective = GroupDRO(attribute=[0, 1])
    objective.setup(embedding_dim=2, num_classes=2)
    with pytest.raises(ValueError, match="attribute: 2 given"):
        objective(
            torch.nn.Identity(), PairBatch(torch.zeros(1, 2), label=torch.zeros(1).long(), index=torch.tensor([5]))
        )
    with pytest.raises(ValueError, match="q:"):
        LearningFromFailure(2)
