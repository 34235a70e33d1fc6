"""Named terms, cross-entropy, and the registry."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.objectives import CrossEntropy, LossTerms
from erlangen.objectives.functional import cross_entropy

numbers = st.floats(-10, 10)


@given(a=numbers, b=numbers, wa=numbers, wb=numbers, factor=numbers)
def test_total_is_the_weighted_sum_and_scales(a, b, wa, wb, factor):
    terms = LossTerms({"a": (torch.tensor(a).double(), wa), "b": (torch.tensor(b).double(), wb)})
    assert float(terms.total) == pytest.approx(wa * float(terms["a"]) + wb * float(terms["b"]), abs=1e-9)
    assert float((factor * terms).total) == pytest.approx(factor * float(terms.total), abs=1e-6)
    assert float((terms + terms).total) == pytest.approx(2 * float(terms.total), abs=1e-9)


def test_joins_logs_detaches_and_names_what_is_not_finite():
    x = torch.tensor(2.0, requires_grad=True)
    terms = LossTerms({"a": x * 3}) + LossTerms({"b": (x / 0, 0.5)})
    assert terms.not_finite() == ["b"]
    assert not terms.detach().total.requires_grad and list(terms.as_dict("val/")) == ["val/a", "val/b", "val/total"]
    one, two = LossTerms({"a": torch.tensor(1.0)}), LossTerms({"a": torch.tensor(3.0)})
    assert float(LossTerms.mean([one, two]).total) == 2.0
    with pytest.raises(ValueError, match="'a' has weight"):
        one + 2 * two
    with pytest.raises(ValueError, match="'a' has shape"):
        LossTerms({"a": torch.zeros(2)})


@given(n=st.integers(1, 8), classes=st.integers(2, 6), seed=st.integers(0, 99))
def test_cross_entropy_is_minus_the_mean_log_probability(n, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, dtype=torch.float64, generator=generator)
    label = torch.randint(classes, (n,), generator=generator)
    rows = logits.tolist()
    expected = sum(math.log(sum(map(math.exp, row))) - row[y] for row, y in zip(rows, label.tolist(), strict=True))
    assert float(cross_entropy(logits, label).total) == pytest.approx(expected / n, rel=1e-12)


@pytest.mark.parametrize(
    ("label", "message"),
    [([0, 3], "label: 3 is out of range for 3 classes"), ([-1, 0], "label: 1 of 2 samples have none"), ([-5, 0], "-5")],
)
def test_labels_out_of_range_are_named(label, message):
    with pytest.raises(ValueError, match=message):
        cross_entropy(torch.zeros(2, 3), torch.tensor(label))


def test_one_class_and_no_labels_say_what_to_do():
    with pytest.raises(ValueError, match="two classes or more and the data have 1; try"):
        CrossEntropy().setup(embedding_dim=4, num_classes=1)
    with pytest.raises(ValueError, match="needs labels and the data have none"):
        CrossEntropy().setup(embedding_dim=4, num_classes=None)
    objective = CrossEntropy()
    objective.setup(embedding_dim=4, num_classes=2)
    with pytest.raises(ValueError, match="label: the batch has none"):
        objective(torch.nn.Identity(), PairBatch(torch.zeros(2, 4)))


def test_accuracy_counts_what_predict_gets_right():
    objective = CrossEntropy()
    objective.setup(embedding_dim=4, num_classes=3)
    x = torch.randn(30, 4)
    label = objective.predict(x).argmax(-1)
    label[:10] = (label[:10] + 1) % 3
    assert float(objective.metrics(torch.nn.Identity(), PairBatch(x, label=label))["accuracy"]) == pytest.approx(2 / 3)


def test_names_are_known_and_a_typo_is_answered():
    assert {"cross_entropy", "vicreg", "rotnet"} <= set(objectives.names())
    with pytest.raises(ValueError, match="did you mean 'vicreg'"):
        objectives.build("vicregg")
    assert objectives.VICRegLoss is objectives.VICReg
