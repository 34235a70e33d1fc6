"""The translator moves the attribute that goes with the labels and keeps the drawing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import erlangen.data
from erlangen.data import ArrayDataset
from erlangen.data.biased_digits import biased_digits, give_attribute, palette
from erlangen.nn.images import DomainCritic, ImageTranslator
from erlangen.objectives.bias_translation import critic_terms, translator_terms
from erlangen.train import BiasTranslator, NotFittedError
from erlangen.train.bias_translator import other_domain


@pytest.fixture(scope="module")
def fitted():
    digits = erlangen.data.load("digits")
    x, label = digits.tensors(torch.arange(600))
    three = label < 3
    few = ArrayDataset(x[three], label[three], name="three digits")
    biased = biased_digits(few, seed=0)
    return biased, BiasTranslator(12, epochs=25, batch_size=32, lr=4e-3).fit(biased.dataset, seed=1)


def test_translations_have_the_colour_of_the_class_asked_for_and_the_old_drawing(fitted):
    biased, translator = fitted
    part = biased.dataset.splits["test"]
    x, own = biased.dataset.test.tensors()[0], biased.attribute[part]
    target = (own + 1) % 3
    moved = translator.transform(x, target)
    hues = palette(3)
    seen = (moved.clamp_min(0).flatten(2).sum(2) @ hues.T / hues.norm(dim=1)).argmax(1)
    assert float((seen == target).double().mean()) > 0.9
    exact = give_attribute(x.amax(1, keepdim=True), target, count=3)
    assert float((moved - exact).abs().mean()) < float((x - exact).abs().mean()) / 2
    assert float((translator.bias_of(x) == own).double().mean()) > 0.9  # told labels, it sees colours
    quality = translator.quality(x)
    assert quality["moved"] > 0.9 and quality["kept"] > 0.8
    assert set(translator.history[-1]) == {"adversary", "domain", "fooling", "moving", "cycle"}


def test_views_hold_two_biases_and_depend_on_the_generator_alone(fitted):
    biased, translator = fitted
    x = biased.dataset.test.tensors()[0]
    views = translator.views()
    one, two, _ = views(x, torch.Generator().manual_seed(3))
    again = views(x, torch.Generator().manual_seed(3))
    assert torch.equal(one, again[0]) and torch.equal(two, again[1])
    whole = (one == x).flatten(1).all(1)
    assert 0.4 < float(whole.double().mean()) < 1  # two thirds, and where both draws agree
    biases = translator.bias_of(one), translator.bias_of(two)
    assert float((biases[0] != biases[1]).double().mean()) > 0.9
    assert "epochs=25" in repr(views)


def test_the_same_seed_gives_the_same_translator_and_leaves_the_random_state(fitted):
    biased, _ = fitted
    torch.manual_seed(5)
    before = torch.get_rng_state()
    short = [BiasTranslator(4, epochs=1).fit(biased.dataset, seed=s).state_dict() for s in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(short[0][k], short[1][k]) for k in short[0])
    assert not all(torch.equal(short[0][k], short[2][k]) for k in short[0])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.integers(2, 6))
def test_another_domain_is_never_the_own_one_and_every_other_comes(seed, count):
    own = torch.arange(count).repeat(200)
    other = other_domain(own, count, torch.Generator().manual_seed(seed))
    assert not bool((own == other).any())
    assert len({*zip(own.tolist(), other.tolist(), strict=True)}) == count * (count - 1)


def test_the_losses_are_those_of_loops():
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    logits, domain = torch.randn(3, 4, generator=generator, dtype=torch.float64), torch.tensor([2, 0, 3])
    x, back = (torch.randn(3, 1, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    p = [math.exp(r[c]) / sum(map(math.exp, r)) for r, c in zip(logits.tolist(), domain.tolist(), strict=True)]
    cost = critic_terms(real, fake, logits, domain, q=0.7, domain_weight=2)
    squares = sum((v - 1) ** 2 for v in real.flatten().tolist()) / 12 + sum(v**2 for v in fake.flatten().tolist()) / 12
    assert float(cost["adversary"]) == pytest.approx(squares, rel=1e-10)
    assert float(cost["domain"]) == pytest.approx(sum((1 - v**0.7) / 0.7 for v in p) / 3, rel=1e-10)
    assert cost.weights["domain"] == 2
    gain = translator_terms(x, back, fake, logits, domain, cycle_weight=5)
    assert float(gain["fooling"]) == pytest.approx(sum((v - 1) ** 2 for v in fake.flatten().tolist()) / 12, rel=1e-10)
    assert float(gain["moving"]) == pytest.approx(-sum(map(math.log, p)) / 3, rel=1e-10)
    assert float(gain["cycle"]) == pytest.approx(float((x - back).abs().mean()), rel=1e-12)
    assert gain.weights == {"fooling": 1.0, "moving": 1.0, "cycle": 5.0}


def test_bad_input_is_named(fitted):
    _, translator = fitted
    with pytest.raises(NotFittedError, match="call fit"):
        BiasTranslator().transform(torch.zeros(1, 3, 8, 8), torch.zeros(1).long())
    with pytest.raises(NotFittedError, match="call fit"):
        BiasTranslator().views()
    with pytest.raises(ValueError, match="target"):
        translator.transform(torch.zeros(1, 3, 8, 8), torch.tensor([3]))
    with pytest.raises(ValueError, match="data: 'one' has 1 classes"):
        BiasTranslator().fit(ArrayDataset(torch.zeros(4, 3, 8, 8), torch.zeros(4).long(), name="one"))
    with pytest.raises(ValueError, match="epochs"):
        BiasTranslator(epochs=0)
    with pytest.raises(ValueError, match="odd kernel_size"):
        ImageTranslator(3, kernel_size=2)
    with pytest.raises(ValueError, match="domains"):
        DomainCritic(1)
