"""Bags of words, the head made of words, and the objective that predicts the one by the other."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import Crops, PairBatch
from erlangen.nn.hyper import DynamicHead
from erlangen.nn.images import GroupCNN, PlainCNN
from erlangen.objectives import BoWTargets, OBoW, bow_targets
from erlangen.objectives.bow_targets import bag_of_words, perplexity, word_prediction


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_loops(features, words, sharpness):
    """Bags and mean smallest distance number by number: `features` [batch, dim, positions]."""
    bags, nearest = [], []
    for image in features.transpose(1, 2).tolist():
        held = [0.0] * len(words)
        for u in image:
            distances = [sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) for v in words.tolist()]
            nearest.append(min(distances))
            powers = [math.exp(-sharpness * (d - min(distances))) for d in distances]
            held = [max(h, p / sum(powers)) for h, p in zip(held, powers, strict=True)]
        bags.append([h / sum(held) for h in held])
    return torch.tensor(bags, dtype=torch.float64), sum(nearest) / len(nearest)


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 4),
    dim=st.integers(1, 5),
    positions=st.integers(1, 6),
    words=st.integers(2, 7),
    seed=st.integers(0, 99),
)
def test_bags_agree_with_loops_whatever_the_chunk(batch, dim, positions, words, seed):
    features, vocabulary = random(batch, dim, positions, seed=seed), random(words, dim, seed=seed + 1)
    expected, distance = by_loops(features, vocabulary, 0.7)
    bags, nearest = bag_of_words(features, vocabulary, 0.7)
    assert torch.allclose(bags, expected, rtol=1e-9, atol=1e-12)
    assert float(nearest) == pytest.approx(distance, rel=1e-9)
    chunk, bow_targets.CHUNK = bow_targets.CHUNK, 1
    try:
        assert torch.allclose(bag_of_words(features, vocabulary, 0.7)[0], bags, rtol=1e-12)
    finally:
        bow_targets.CHUNK = chunk


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_bags_are_probabilities_and_forget_where_things_were(seed, dtype):
    targets = BoWTargets(9, 4).to(dtype).eval()
    features = random(3, 4, 7, 7, seed=seed, dtype=dtype)
    bags = targets(features)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert bool((bags >= 0).all()) and torch.allclose(bags.sum(1), torch.ones(3, dtype=dtype), atol=tolerance)
    for moved in (features.rot90(1, (-2, -1)), features.flip(-1)):
        assert torch.allclose(targets(moved), bags, atol=tolerance)
    twice = targets(torch.cat([features[:1], features[:1]]))
    assert torch.equal(twice[0], twice[1])


def test_a_sharp_assignment_is_a_count_of_which_words_are_nearest():
    features, words = random(2, 3, 8), random(5, 3, seed=1)
    bags, _ = bag_of_words(features, words, 1e6)
    for bag, image in zip(bags, features, strict=True):
        used = torch.cdist(image.T, words).argmin(1).unique()
        expected = torch.zeros(5, dtype=torch.float64)
        expected[used] = 1 / len(used)
        assert torch.allclose(bag, expected, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), training=st.booleans())
def test_permuting_the_words_permutes_bags_and_logits_and_keeps_the_loss(seed, training):
    torch.manual_seed(seed)
    head = DynamicHead(6, 4).double().train(training)
    words, x, features = random(8, 4, seed=seed), random(5, 6, seed=seed), random(5, 4, 9, seed=seed)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    bags, moved = bag_of_words(features, words, 1.0)[0], bag_of_words(features, words[order], 1.0)[0]
    assert torch.allclose(moved, bags[:, order], rtol=1e-10)
    logits = head(x, words)
    assert torch.allclose(head(x, words[order]), logits[:, order], rtol=1e-10, atol=1e-12)
    first, second = word_prediction(logits, bags).total, word_prediction(logits[:, order], moved).total
    assert torch.allclose(first, second, rtol=1e-10)
    by_hand = -sum(
        float(y) * math.log(math.exp(a) / sum(math.exp(b) for b in row))
        for row, bag in zip(logits.tolist(), bags, strict=True)
        for a, y in zip(row, bag, strict=True)
    )
    assert float(first.detach()) == pytest.approx(by_hand / 5, rel=1e-10)


def test_the_head_scales_with_kappa_and_its_weights_are_unit():
    torch.manual_seed(0)
    head = DynamicHead(6, 4, kappa=3.0).double().eval()
    words, x = random(8, 4), random(2, 6)
    weights = head.weights(words)
    assert torch.allclose(weights.norm(dim=1), torch.ones(8, dtype=torch.float64))
    assert torch.allclose(head(x, words), 3 * x @ weights.T)
    assert torch.allclose(head.weights(5 * words), weights), "a word's length does not matter"


def test_the_vocabulary_takes_one_inner_average_an_image_after_the_bags():
    targets = BoWTargets(6, 2, inv_delta=4.0).double()
    before = targets.words
    features = random(4, 2, 5, 5)
    bags = targets(features)
    expected, nearest = by_loops(features[..., 1:-1, 1:-1].flatten(2), before, 4.0 / 0.5)
    assert torch.allclose(bags, expected, rtol=1e-9)
    new = features[..., 1:-1, 1:-1].mean((-2, -1))
    assert torch.allclose(targets.words[:4], new) and torch.equal(targets.words[4:], before[4:])
    assert float(targets.mean_distance) == pytest.approx(0.99 * 0.5 + 0.01 * nearest)
    targets(random(3, 2, 5, 5, seed=5))  # 7 of 6: wraps around
    assert torch.allclose(targets.words[1:4], new[1:])
    fixed = BoWTargets(6, 2, update="none").double()
    start = fixed.words
    fixed(features)
    assert torch.equal(fixed.words, start)


def test_evaluation_changes_nothing_and_poison_is_refused():
    targets = BoWTargets(6, 2).eval()
    state = {name: value.clone() for name, value in targets.state_dict().items()}
    targets(torch.randn(3, 2, 6, 6))
    poisoned = torch.randn(3, 2, 6, 6)
    poisoned[1, 0, 2, 2] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity; the vocabulary keeps"):
        targets.train()(poisoned)
    assert all(torch.equal(value, state[name]) for name, value in targets.state_dict().items())


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="conv4: a map of 4 x 4 with border=1"):
        BoWTargets(8, 2, level="conv4")(torch.zeros(2, 2, 4, 4))
    with pytest.raises(ValueError, match="num_words: 4 for batches of 5"):
        BoWTargets(4, 2)(torch.zeros(5, 2, 5, 5))
    for arguments, words in (({"num_words": 1}, "num_words"), ({"border": -1}, "border"), ({"alpha": 2.0}, "alpha")):
        with pytest.raises(ValueError, match=words):
            OBoW(**arguments)
    objective = OBoW(8)
    objective.setup(embedding_dim=16)
    with pytest.raises(ValueError, match="layers: no feature map of at least 5 x 5"):
        objective.attach(PlainCNN(4, in_channels=1, embedding_dim=16), torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match="words: shape"):
        DynamicHead(3, 4)(torch.zeros(2, 3), torch.zeros(5, 3))


def test_perplexities_of_one_word_and_of_all():
    one, all_alike = torch.eye(4), torch.full((3, 4), 0.25)
    assert [float(v) for v in perplexity(one)] == pytest.approx([1.0, 4.0])
    assert [float(v) for v in perplexity(all_alike)] == pytest.approx([4.0, 4.0])
    same = {"perplexity_image": 4.0, "perplexity_batch": 4.0}
    assert "one bag of words" in OBoW(8).alarm(same) and OBoW(8).alarm({**same, "perplexity_batch": 9.0}) is None


@pytest.mark.parametrize("encoder", ["plain", "group"])
def test_steps_move_student_teacher_and_words_and_lower_the_loss(encoder):
    torch.manual_seed(0)
    made = {"plain": PlainCNN, "group": partial(GroupCNN, "C4")}[encoder]
    model = made(width=4, in_channels=1, embedding_dim=8, stages=2)
    objective = objectives.build("obow", num_words=24)
    x = torch.rand(12, 1, 12, 12)
    with torch.no_grad():
        model(x)
    objective.setup(embedding_dim=8)
    objective.attach(model, x[:2])
    objective.attach(model, x[:2])  # nothing happens
    assert len(objective.levels) == 1 and objective.levels[0].startswith("stages")
    optimizer = torch.optim.Adam(
        [p for p in (*model.parameters(), *objective.parameters()) if p.requires_grad], lr=0.01
    )
    views, generator = Crops(8, first="whole", crops=2), torch.Generator().manual_seed(0)
    losses, words = [], objective.targets[0].words
    for step in range(25):
        batch = PairBatch(*views(x, generator)[:2])
        optimizer.zero_grad()
        total = objective(model, batch).total
        total.backward()
        optimizer.step()
        objective.after_step(model, step=step + 1, total_steps=25)
        losses.append(float(total.detach()))
    assert sum(losses[-5:]) < sum(losses[:5]) and not torch.equal(words, objective.targets[0].words)
    assert objective.teacher.current_alpha == 1.0 and not any(p.requires_grad for p in objective.teacher.parameters())
    numbers = objective.eval().metrics(model.eval(), batch)
    assert 1 <= numbers["perplexity_image"] <= numbers["perplexity_batch"] <= 24
