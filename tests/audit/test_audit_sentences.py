"""A healthy, a collapsed and an overfitted model, fitted here on real digits: the report says which is which."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import erlangen as er
from erlangen.audit import Report

PROBES = ["knn", "linear_probe", "generalization", "rankme", "dead_units"]


class Network(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
            self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def fit(model: Network, x: Tensor, label: Tensor, loss: Any, steps: int) -> Network:
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(x), (128,), generator=generator)
        optimizer.zero_grad()
        loss(model, x[rows], label[rows]).backward()
        optimizer.step()
    return model.eval()


def cross_entropy(model: Network, x: Tensor, label: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model.head(model(x)), label)


def nothing_but_agreement(model: Network, x: Tensor, label: Tensor) -> Tensor:
    """Two noisy views are to agree, and nothing keeps the embedding apart: the textbook collapse."""
    z = model.body[:4](x)
    other = model.body[:4](x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    return (z - other).square().sum(1).mean() + z.var(0).sum()


@pytest.fixture(scope="module")
def digits() -> Any:
    return er.data.load("digits")


@pytest.fixture(scope="module")
def healthy(digits: Any) -> Report:
    model = fit(Network(0), *digits.train.tensors(), cross_entropy, 200)
    return er.audit(model, digits, classifier=model.head, probes=PROBES, layers=None)


@pytest.fixture(scope="module")
def overfitted(digits: Any) -> Report:
    x, label = (part[:150] for part in digits.train.tensors())
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(150, generator=generator) < 0.4
    label = torch.where(wrong, torch.randint(10, (150,), generator=generator), label)
    model = fit(Network(0), x, label, cross_entropy, 300)
    options = {"classifier": model.head, "training": (x, label), "layers": None}
    return er.audit(model, digits, probes=PROBES, **options)


@pytest.fixture(scope="module")
def collapsed(digits: Any) -> Report:
    x, label = digits.train.tensors()
    model = fit(Network(0), x, label, nothing_but_agreement, 150)
    return er.audit(nn.Sequential(model.body[:4]), digits, probes=PROBES, layers=None)


def test_the_healthy_model_is_called_healthy(healthy: Report) -> None:
    text = " ".join(healthy.sentences())
    assert len(healthy.sentences()) == 3
    assert "what it learned carries over" in text and "by heart" not in text and "collapse" not in text.lower()
    assert healthy["generalization"].verdict == "pass" and healthy["generalization"].details["held_out"] > 0.9
    healthy.assert_ok()


def test_the_overfitted_model_has_learned_by_heart(overfitted: Report) -> None:
    text = " ".join(overfitted.sentences())
    assert "It has learned its samples by heart" in text and "carries over" not in text
    gap = overfitted["generalization"]
    assert gap.verdict == "fail" and gap.details["fitted"] > 0.95 and gap.details["held_out"] < 0.75
    assert overfitted["rankme", "embedding"].verdict == "info"


def test_the_collapsed_model_is_called_collapsed(collapsed: Report) -> None:
    first, second, third = collapsed.sentences()
    assert first.startswith("The embedding has ") and "collapsed" in first
    assert "no better than" in second and "no better than chance" in third
    assert collapsed["rankme", "embedding"].verdict == "fail"
    assert not [f for f in collapsed.findings if f.verdict == "pass"]


def test_the_three_reports_can_be_told_apart_by_their_pages(
    healthy: Report, overfitted: Report, collapsed: Report
) -> None:
    for report in (healthy, overfitted, collapsed):
        page = report.to_html()
        assert len(page.encode()) < 2_000_000
        for sentence in report.sentences():
            assert sentence.split(":")[0].split("%")[0].strip()[:40] in page.replace("\u00a0", " ")


def test_a_line_is_a_collapse_too(digits: Any) -> None:
    class Line(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).sum(1, keepdim=True) * torch.arange(1.0, 9.0)

    report = er.audit(Line(), digits, probes="rankme", layers=None)
    assert report["rankme"].verdict == "fail" and "collapsed to a line" in report.sentences()[0]


def test_random_labels_show_no_gap_beyond_the_stated_level() -> None:
    """200 models that know nothing: the held-out gap must be found nowhere."""
    from erlangen.audit.probes.generalization import newcombe

    generator = torch.Generator().manual_seed(0)
    fitted = torch.rand(200, 300, generator=generator) < 0.7
    held_out = torch.rand(200, 200, generator=generator) < 0.7
    outside = 0
    for a, b in zip(fitted, held_out, strict=True):
        low, high = newcombe(a, b, level=0.95)
        outside += not low <= 0 <= high
    assert outside <= 20  # 10 expected, exceeded with probability 2e-3


def test_the_interval_of_the_gap_is_that_of_the_literature() -> None:
    """Newcombe (1998), table II, row (a), method 10: 56/70 - 48/80 gives 0.0524 to 0.3339."""
    from erlangen.audit.probes.generalization import newcombe

    first, second = torch.arange(70) < 56, torch.arange(80) < 48
    low, high = newcombe(first, second, level=0.95)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
