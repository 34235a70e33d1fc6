"""The probes `rsa` and `convergent` on models and data with a known truth."""

import pytest
import torch
from audit_models import Collapsed, Encoder, Flat, blobs
from torch import Tensor, nn

import erlangen as er
from erlangen.audit.preserve import fingerprint


def test_classes_are_seen_in_the_geometry_and_not_where_there_are_none() -> None:
    report = er.audit(Flat(), blobs(), probes="rsa", layers=None)
    finding = report["rsa.class_geometry", "embedding"]
    assert finding.verdict == "pass" and finding.ci.low > finding.details["null_high"]
    assert finding.details["topology"] > 0.5 and finding.figure.kind == "matrix"
    x, label = blobs()
    mixed = label[torch.randperm(len(label), generator=torch.Generator().manual_seed(0))]
    nothing = er.audit(Flat(), (x, mixed), probes="rsa", layers=None)["rsa.class_geometry", "embedding"]
    assert nothing.verdict in ("inconclusive", "fail") and nothing.value < 0.1


def test_shuffled_labels_pass_no_more_often_than_the_level_says() -> None:
    passed = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        x, label = torch.randn(40, 6, generator=generator), torch.randint(3, (40,), generator=generator)
        report = er.audit(Flat(), (x, label), probes="rsa", layers=None, reference=None)
        passed += report["rsa.class_geometry", "embedding"].verdict == "pass"
    assert passed <= 8  # binomial(60, 0.05): 99.9 % are at most 8


def test_layers_are_compared_and_the_model_is_left_alone() -> None:
    model = Encoder().train()
    before = fingerprint(model)
    report = er.audit(model, blobs(), probes=["rsa", "convergent"])
    assert fingerprint(model) == before
    matrix = report["rsa.topology_between_layers"].details["matrix"]
    assert matrix[0][0] == pytest.approx(1) and -1 <= matrix[0][-1] <= 1
    assert report["rsa.class_geometry", "embedding"].reference.kind == "untrained"
    assert report["convergent.matched_correlation", "embedding"].verdict == "info"
    assert er.audit.Report.from_json(report.to_json()).to_json() == report.to_json() and report.to_html()


class Permuted(nn.Module):
    """The same encoder with the units of its embedding in another order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inner = Encoder(seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[:, torch.tensor([3, 7, 0, 1, 6, 2, 5, 4])]


def test_a_permuted_copy_shares_every_unit() -> None:
    report = er.audit(Encoder(seed=1), blobs(), probes="convergent", reference=Permuted(1), layers=None)
    finding = report["convergent.matched_correlation", "embedding"]
    assert finding.verdict == "pass" and finding.value == pytest.approx(1, abs=1e-6)
    assert report["convergent.subspace_overlap", "embedding"].value == pytest.approx(1, abs=1e-6)


class Noise(nn.Module):
    """Numbers that have nothing to do with the input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(1e4 * x.flatten(1)[:, :5] * torch.arange(1, 6))


def test_a_model_of_noise_shares_nothing() -> None:
    report = er.audit(Encoder(), blobs(), probes="convergent", reference=Noise(), layers=None)
    finding = report["convergent.matched_correlation", "embedding"]
    assert finding.verdict != "pass" and abs(finding.value) < 0.3


def test_what_cannot_be_measured_says_so() -> None:
    alone = er.audit(Encoder(), blobs(), probes="convergent", reference=None)
    assert alone["convergent"].verdict == "not_applicable" and "reference=model" in alone["convergent"].meaning
    flat = er.audit(Collapsed(), blobs(), probes="rsa", layers=None)
    assert flat["rsa"].verdict == "not_applicable" and "varies" in flat["rsa"].meaning
    x, _ = blobs()
    unlabelled = er.audit(Encoder(), x, probes="rsa")
    assert [f.metric for f in unlabelled.findings] == ["rsa.topology_between_layers"]


def test_what_is_labelled_is_enough() -> None:
    x, label = blobs()
    some = torch.where(torch.arange(len(label)) % 3 == 0, -1, label)
    report = er.audit(Flat(), (x, some), probes="rsa", layers=None)
    assert report["rsa.class_geometry", "embedding"].verdict == "pass"
    lone = er.audit(Flat(), (x, (torch.arange(len(x)) == 0).long()), probes="rsa", layers=None)
    assert [f.verdict for f in lone.findings] == ["not_applicable"]


def test_a_reference_model_is_not_called_untrained() -> None:
    probes = ["rankme", "dead_units", "collapse", "convergent", "cka"]
    report = er.audit(Encoder(seed=1), blobs(), probes=probes, reference=Encoder(seed=2), layers=None)
    kinds = {f.reference.kind for f in report.findings if f.reference is not None}
    assert "baseline" in kinds and "untrained" not in kinds
    assert all("untrained" not in f.meaning and "fresh weights" not in f.meaning for f in report.findings)


def test_subspaces_are_held_against_what_few_inputs_give_by_chance() -> None:
    x = torch.randn(60, 12, generator=torch.Generator().manual_seed(0))
    report = er.audit(Wide(1), x, probes="convergent", reference=Wide(2), layers=None)
    finding = report["convergent.subspace_overlap", "embedding"]
    assert finding.reference.kind == "null" and abs(finding.value - finding.reference.value) < 0.15
    assert finding.value > 0.3  # 30 inputs in 12 dimensions: unrelated components seem to meet


class Wide(nn.Module):
    """Units that have nothing to do with the input, or with those of another seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin((1000 + self.seed) * x * (1 + x.roll(1 + self.seed, 1)))


def test_four_samples_are_too_few_to_compare_layers() -> None:
    x, label = blobs()
    few = er.audit(Encoder(), (x[:4], label[:4]), probes="cka")
    assert few.findings[0].verdict == "not_applicable" and "8 are needed" in few.findings[0].meaning
