"""The adversarial pair that learns binary codes: its equations, its generator, and what it does to a batch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import data
from erlangen.data import ArrayDataset
from erlangen.nn.images import ClassGenerator, PlainCNN
from erlangen.objectives.ac_gan import ac_gan_critic, ac_gan_generator, labelled_cross_entropy
from erlangen.train import HashGAN

seeds = st.integers(0, 999)


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds)
def test_both_losses_are_those_of_a_loop(seed: int) -> None:
    real, fake, logits, others = (
        drawn(5, seed=seed),
        drawn(4, seed=seed + 1),
        drawn(5, 3, seed=seed),
        drawn(4, 3, seed=7),
    )
    label, told = torch.tensor([0, -1, 2, 1, -1]), torch.tensor([2, 2, 0, 1])

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    def entropy(rows: torch.Tensor, classes: torch.Tensor) -> float:
        found = []
        for row, c in zip(rows.tolist(), classes.tolist(), strict=True):
            if c >= 0:
                found.append(-math.log(math.exp(row[c]) / sum(math.exp(v) for v in row)))
        return sum(found) / len(found)

    critic = ac_gan_critic(real, fake, logits, label, others, told, class_weight=0.5)
    source = -sum(math.log(sigmoid(r)) for r in real.tolist()) / 5
    source -= sum(math.log(1 - sigmoid(f)) for f in fake.tolist()) / 4
    assert float(critic["source"]) == pytest.approx(source, rel=1e-10)
    assert float(critic["class"]) == pytest.approx(entropy(logits, label) + entropy(others, told), rel=1e-10)
    assert float(critic.total) == pytest.approx(source + 0.5 * float(critic["class"]), rel=1e-10)
    generator = ac_gan_generator(fake, others, told)
    assert float(generator["fooling"]) == pytest.approx(
        -sum(math.log(sigmoid(f)) for f in fake.tolist()) / 4, rel=1e-10
    )
    assert float(generator["class"]) == pytest.approx(entropy(others, told), rel=1e-10)


def test_without_a_label_there_is_no_class_term_and_no_nan() -> None:
    logits = drawn(3, 4, seed=0).requires_grad_()
    value = labelled_cross_entropy(logits, torch.full((3,), -1))
    value.backward()
    assert float(value) == 0 and not bool(logits.grad.any())


def test_a_critic_that_knows_nothing_is_at_the_known_value() -> None:
    nothing, label = torch.zeros(6), torch.arange(6) % 3
    terms = ac_gan_critic(nothing, nothing, torch.zeros(6, 3), label, torch.zeros(6, 3), label)
    assert float(terms["source"]) == pytest.approx(2 * math.log(2), rel=1e-6)  # the equilibrium of the game
    assert float(terms["class"]) == pytest.approx(2 * math.log(3), rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (2, 13, 10), (1, 1, 1)])
def test_a_generator_draws_images_of_any_size_within_its_range(shape: tuple[int, int, int]) -> None:
    made = ClassGenerator(4, shape, noise=5, width=2, low=-2.0, high=3.0)
    images = made.sample(torch.tensor([0, 3, 3]), generator=torch.Generator().manual_seed(0))
    assert images.shape == (3, *shape) and float(images.min()) >= -2 and float(images.max()) <= 3
    again = made.sample(torch.tensor([0, 3, 3]), generator=torch.Generator().manual_seed(0))
    assert torch.equal(images, again)
    with pytest.raises(ValueError, match=r"label: allowed are the classes 0 \.\. 3"):
        made.sample(torch.tensor([4]))
    with pytest.raises(ValueError, match="classes, shape"):
        ClassGenerator(4, (1, 0, 8))


def few_labels(hide: bool = True) -> ArrayDataset:
    digits = data.load("digits")
    x, label = digits.train.tensors()
    hidden = torch.where(torch.arange(300) < 100, label[:300], -1) if hide else torch.zeros(300, dtype=torch.int64)
    return ArrayDataset(x[:300], hidden, num_classes=10, splits={})


def encoder(seed: int = 0) -> PlainCNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PlainCNN(4, in_channels=1, embedding_dim=16)


def test_the_same_seed_gives_the_same_codes_and_images_and_leaves_the_random_state() -> None:
    part, state = few_labels(), torch.get_rng_state()
    one, two = (HashGAN(8, 6, batch_size=16, width=4).fit(encoder(), part, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    x = part.tensors()[0]
    assert torch.equal(one.codes(x), two.codes(x)) and one.codes(x).shape == (300, 8)
    assert torch.equal(one.sample(torch.arange(10)), two.sample(torch.arange(10)))
    assert set(one.history[0]) == {
        "triplet", "quantization", "variance", "covariance", "source", "class", "synthetic_triplet",
        "generator fooling", "generator class",
    }  # fmt: skip
    assert not any(p.requires_grad for p in one.parameters()) and not one.training


def test_codes_learned_from_few_labels_rank_by_class_with_and_without_a_generator() -> None:
    part, test = few_labels(), data.load("digits").test
    x, label = test.tensors()
    for synthetic in (True, False):
        model = HashGAN(16, 60, batch_size=32, lr=5e-3, width=4, synthetic=synthetic).fit(encoder(), part, seed=0)
        codes = model.codes(x)
        distance = (codes[:, None] != codes).double().sum(-1)
        same = label[:, None] == label
        own = torch.eye(len(x), dtype=torch.bool)
        assert float(distance[same & ~own].mean()) < 0.7 * float(distance[~same].mean())
        assert (model.generator is not None) == synthetic


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="bits, steps"):
        HashGAN(0)
    with pytest.raises(ValueError, match="margin: 2"):
        HashGAN(8, margin=2.0)
    with pytest.raises(ValueError, match="balance: -1"):
        HashGAN(8, balance=-1)
    with pytest.raises(ValueError, match="data: class 1 has no label"):
        HashGAN(8).fit(encoder(), few_labels(hide=False))
    with pytest.raises(ValueError, match="classes; images of two or more"):
        HashGAN(8).fit(
            encoder(), ArrayDataset(torch.rand(20, 4), torch.arange(20) % 2, kind="vector", num_classes=2, splits={})
        )
    with pytest.raises(RuntimeError, match="not fitted"):
        HashGAN(8).codes(torch.rand(2, 1, 8, 8))
