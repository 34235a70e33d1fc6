"""Layers that put out NaN or infinity: named, set aside, and no reason to lose the rest of a report."""

import math

import torch
from audit_models import blobs
from torch import Tensor, nn

from erlangen.audit import audit
from erlangen.audit.words import three_sentences

PROBES = ["collapse", "geometry", "feature_bias", "rsa", "convergent", "cka", "rankme", "knn", "linear_probe"]


class Divides(nn.Module):
    """NaN for some inputs, inside (`where="layer"`) or in what it returns."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.flat, self.inner = where, nn.Flatten(), nn.Identity()
        self.body = nn.Sequential(nn.LazyLinear(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flat(x)
        h = self.body(x)
        broken = torch.where(x[:, :1] > x[:, 1:2], math.nan, h)
        self.inner(broken)
        return self.head(broken if self.where == "output" else h)


def test_a_layer_that_is_not_finite_is_named_and_the_others_are_audited() -> None:
    report = audit(Divides("layer"), blobs(), probes=PROBES, layers=["body", "inner"])
    broken = report["finite.share", "inner"]
    assert broken.verdict == "fail" and 0 < broken.value < 1 and "NaN" in broken.meaning
    assert {f.metric for f in report.findings if f.layer == "inner"} == {"finite.share"}
    assert not [f for f in report.findings if f.rule == "the probe failed"]
    assert {f.probe for f in report.findings if f.layer == "body"} >= {"collapse", "geometry", "rsa", "rankme"}


def test_an_embedding_that_is_not_finite_comes_first_and_is_not_called_collapsed() -> None:
    report = audit(Divides("output"), blobs(), probes=PROBES, layers=["body"])
    assert report["finite.share", "embedding"].verdict == "fail"
    assert not [f for f in report.findings if f.rule == "the probe failed"]
    assert all("collapsed" not in f.meaning and "no model" not in f.meaning for f in report.findings)
    assert "NaN or infinite" in three_sentences(report.findings, report.header)[0]
    assert {f.probe for f in report.findings if f.layer == "body"} >= {"collapse", "geometry", "rsa", "rankme"}
    assert report.to_html()
