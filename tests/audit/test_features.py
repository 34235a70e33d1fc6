"""Variance that features explain: planted shares, invariances, chance, scikit-learn, a probe."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.audit import audit
from erlangen.audit.features import feature_bias_report, variance_explained
from erlangen.audit.preserve import fingerprint
from erlangen.audit.probes.feature_bias import FeatureBias
from erlangen.data.composed_features import RULES, ComposedFeatures


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(n: int = 4000, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Two independent signs with amplitudes 3 and 1 in different directions, unit noise in a third."""
    draw = generator(seed)
    a, b = torch.randint(2, (2, n), generator=draw)
    h = torch.stack([3.0 * (2 * a - 1), 1.0 * (2 * b - 1), torch.randn(n, generator=draw)], 1).double()
    return h, {"a": a, "b": b}


def test_planted_shares_are_found() -> None:
    h, labels = planted()
    found = variance_explained(h, labels)
    assert found.explained["a"] == pytest.approx(9 / 11, abs=0.02)
    assert found.explained["b"] == pytest.approx(1 / 11, abs=0.02)
    assert found.joint == pytest.approx(10 / 11, abs=0.02)
    assert found.partial["a"] + found.partial["b"] == pytest.approx(found.joint, abs=1e-9)
    assert found.units == {"a": pytest.approx(1 / 3), "b": pytest.approx(1 / 3)}


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_rotation_and_scale_change_nothing(seed: int, scale: float, dtype: torch.dtype) -> None:
    h, labels = planted(200, seed)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator(seed), dtype=torch.float64)).Q
    one, two = variance_explained(h, labels), variance_explained((scale * h @ rotation + 1).to(dtype), labels)
    close = 1e-10 if dtype == torch.float64 else 1e-4
    for name in labels:
        assert one.explained[name] == pytest.approx(two.explained[name], abs=close)
        assert one.partial[name] == pytest.approx(two.partial[name], abs=close)


@given(seed=st.integers(0, 10_000))
def test_independent_features_add_up_to_at_most_one(seed: int) -> None:
    table = torch.tensor([[i >> k & 1 for k in range(3)] for i in range(8)]).repeat(10, 1)
    h = torch.randn(80, 4, generator=generator(seed)) + table.float() @ torch.randn(3, 4, generator=generator(seed + 1))
    found = variance_explained(h, table, partial=False)
    assert sum(found.raw.values()) <= 1 + 1e-9


def test_one_hot_units_of_equal_variance_explain_equally() -> None:
    bits = torch.tensor([[i >> k & 1 for k in range(3)] for i in range(8)]).repeat(20, 1)
    found = variance_explained(bits.double(), bits)
    for value in found.explained.values():
        assert value == pytest.approx(found.explained["0"], rel=1e-9)
    assert sum(found.raw.values()) == pytest.approx(1.0)


def test_unrelated_labels_explain_nothing_after_the_correction() -> None:
    corrected, raw = [], []
    for seed in range(200):
        h = torch.randn(40, 3, generator=generator(seed))
        found = variance_explained(h, torch.randint(4, (40,), generator=generator(seed + 1000)), partial=False)
        corrected.append(found.explained["0"])
        raw.append(found.raw["0"])
    mean, error = torch.tensor(corrected).mean(), torch.tensor(corrected).std() / math.sqrt(200)
    assert abs(float(mean)) < 3 * float(error)
    assert float(torch.tensor(raw).mean()) == pytest.approx(3 / 39, abs=0.02)


def test_correlated_features_are_split_as_regression_says() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = generator()
    a = torch.randint(2, (500,), generator=draw)
    b = torch.where(torch.rand(500, generator=draw) < 0.8, a, 1 - a)
    h = (torch.randn(500, 3, generator=draw) + torch.outer(a.float(), torch.tensor([2.0, 0.0, 1.0]))).double()
    found = variance_explained(h, {"a": a, "b": b})

    def share(*columns: Tensor) -> float:
        x = torch.stack(columns, 1).double().numpy()
        target = (h - h.mean(0)).double()
        left = target - torch.as_tensor(linear_model.LinearRegression().fit(x, target.numpy()).predict(x))
        value, chance = 1 - float(left.square().sum() / target.square().sum()), len(columns) / 499
        return (value - chance) / (1 - chance)

    assert found.explained["a"] == pytest.approx(share(a), rel=1e-9)
    expected = 0.5 * share(b) + 0.5 * (share(a, b) - share(a))
    assert found.partial["b"] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert found.joint == pytest.approx(share(a, b), rel=1e-9)


def test_three_features_are_split_over_all_orders() -> None:
    draw = generator(4)
    a, b, c = (torch.randint(2, (200,), generator=draw) for _ in range(3))
    b, c = (
        torch.where(torch.rand(200, generator=draw) < 0.6, a, b),
        torch.where(torch.rand(200, generator=draw) < 0.5, b, c),
    )
    named = {"a": a, "b": b, "c": c}
    h = torch.randn(200, 2, generator=draw).double() + torch.stack([a + 2 * b, c - b], 1)

    def joint(names: tuple[str, ...]) -> float:
        return variance_explained(h, {n: named[n] for n in names}, partial=False).joint if names else 0.0

    found = variance_explained(h, named).partial
    orders = list(itertools.permutations(named))
    for name in named:
        gains = [joint((*o[: o.index(name)], name)) - joint(o[: o.index(name)]) for o in orders]
        assert found[name] == pytest.approx(sum(gains) / len(gains), rel=1e-6)


def test_many_features_are_split_by_random_orders() -> None:
    bits = torch.randint(2, (300, 12), generator=generator())
    found = variance_explained(bits.double(), bits)
    assert sum(found.partial.values()) == pytest.approx(found.joint, rel=1e-6)


def test_features_that_are_the_same_are_only_seen_together() -> None:
    h, labels = planted(300)
    found = variance_explained(h, {"a": labels["a"], "not a": 1 - labels["a"], "b": labels["b"]})
    assert found.aliased == [("a", "not a")]
    assert math.isnan(found.explained["a"]) and math.isnan(found.explained["not a"])
    assert found.partial["a"] == pytest.approx(found.partial["not a"])


@pytest.mark.parametrize("rule", list(RULES))
def test_features_are_drawn_as_named(rule: str) -> None:
    data = ComposedFeatures({"f": rule, "g": "linear"}, distractors=2, prevalence={"f": 0.2})
    x, features = data.sample(4000, generator=generator())
    assert x.shape == (4000, data.input_size) and set(x.unique().tolist()) == {-1.0, 1.0}
    assert float(features["f"].double().mean()) == pytest.approx(0.2, abs=0.03)
    single = [
        abs(float(torch.corrcoef(torch.stack([x[:, j], features["f"].float()]))[0, 1])) for j in range(RULES[rule])
    ]
    if rule == "linear":
        assert single[0] > 0.99
    elif rule.startswith("parity") or rule == "xor":
        assert max(single) < 0.06  # a parity is unrelated to each of its bits
        assert bool((features["f"] == (x[:, : RULES[rule]].prod(1) == (-1.0) ** (RULES[rule] + 1))).all())
    assert abs(float(torch.corrcoef(torch.stack([features["f"].float(), features["g"].float()]))[0, 1])) < 0.06


class Mixer(nn.Module):
    """Passes two input signs on with very different amplitudes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 6)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[:3] = torch.diag(torch.tensor([3.0, 0.5, 0.2]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_the_probe_warns_where_a_feature_dominates() -> None:
    x, features = ComposedFeatures({"loud": "linear", "quiet": "linear"}, distractors=1).sample(
        400, generator=generator()
    )
    model = Mixer().train()
    before = fingerprint(model)
    values = {name: value.long() for name, value in features.items()}
    report = feature_bias_report(model, (x, values["loud"]), features=values, layers=[])
    assert fingerprint(model) == before
    found = {f.key: f for f in report.findings}
    assert found["feature_bias.variance.loud@embedding"].verdict == "pass"
    assert found["feature_bias.ratio@embedding"].value == pytest.approx(36, rel=0.3)
    assert found["feature_bias.ratio@embedding"].figure is not None
    unread = feature_bias_report(
        model,
        (x, values["loud"]),
        features={**values, "coin": torch.randint(2, (400,), generator=generator(9))},
        layers=[],
    )
    assert "coin" not in {f.key: f for f in unread.findings}["feature_bias.ratio@embedding"].meaning


def test_without_named_features_the_class_stands_beside_the_mean_of_the_input() -> None:
    x, features = ComposedFeatures({"loud": "linear"}, distractors=2).sample(200, generator=generator())
    report = audit(Mixer(), (x, features["loud"].long()), probes=["feature_bias"], layers=[])
    assert {f.metric for f in report.findings} >= {"feature_bias.variance.class", "feature_bias.ratio"}


def test_unrelated_features_pass_no_more_often_than_stated() -> None:
    passed = 0
    for seed in range(30):
        x = torch.randn(120, 3, generator=generator(seed))
        coin = {"coin": torch.randint(2, (120,), generator=generator(seed + 500))}
        report = audit(Mixer(), x, probes=[FeatureBias(coin)], layers=[], seed=seed)
        passed += any(f.verdict == "pass" for f in report.findings)
    assert passed <= 4  # at 2.5 %; above 4 of 30 has probability below 0.001


def test_numbers_are_cut_into_parts() -> None:
    x = torch.randn(160, 3, generator=generator())
    found = {
        f.metric: f for f in audit(nn.Linear(3, 4), x, probes=[FeatureBias({"size": x[:, 0]})], layers=[]).findings
    }
    size = found["feature_bias.variance.size"]
    assert size.verdict == "pass" and size.value > 0.05 and "8 parts" in size.warnings[0]


def test_bad_input_is_named() -> None:
    h, labels = planted(50)
    with pytest.raises(ValueError, match="h: contains NaN"):
        variance_explained(h * math.nan, labels)
    with pytest.raises(ValueError, match="h: constant"):
        variance_explained(torch.ones(50, 2), labels)
    with pytest.raises(ValueError, match="'a' has shape"):
        variance_explained(h[:40], labels)
    with pytest.raises(ValueError, match="one value only"):
        variance_explained(h, torch.zeros(50))
    with pytest.raises(ValueError, match="fewer are needed"):
        variance_explained(h, torch.arange(50))
    with pytest.raises(ValueError, match="rule 'cube'"):
        ComposedFeatures({"a": "cube"})
    with pytest.raises(ValueError, match="prevalence"):
        ComposedFeatures({"a": "xor"}, prevalence={"b": 0.5})
