"""Biased digits, exact recolouring, and the losses against bias."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.data import ArrayDataset, PairBatch
from erlangen.data.biased_digits import BIASES, Recolor, biased_digits, give_attribute, palette
from erlangen.objectives import BiasContrast
from erlangen.objectives.generalized_cross_entropy import generalized_cross_entropy
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
