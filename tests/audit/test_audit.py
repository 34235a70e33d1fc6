"""Planted truths: what an audit must find, must not find, must refuse and must leave alone."""

import pytest
import torch
from audit_models import Collapsed, Encoder, Flat, Invariant, blobs
from torch import Tensor, nn

import erlangen as er
from erlangen.audit import Budget, Finding, PlanError, Report
from erlangen.audit.preserve import fingerprint
from erlangen.audit.probe import Context, Probe

SMALL = Budget(orbit_samples=48)


def audit(model: nn.Module, **options: object) -> Report:
    return er.audit(model, blobs(), **{"budget": SMALL, **options})  # type: ignore[operator]


@pytest.fixture(scope="module")
def plain() -> Report:
    return audit(Encoder(), group="C4", training=blobs(seed=1))


def test_every_standard_probe_speaks_and_the_report_survives_json(plain: Report) -> None:
    assert {f.probe for f in plain.findings} == set(er.audit.PRESETS["standard"])
    assert not [f for f in plain.findings if f.verdict == "not_applicable"], plain.to_markdown()
    assert len({f.key for f in plain.findings}) == len(plain.findings)
    assert Report.from_json(plain.to_json()).to_json() == plain.to_json()
    assert set(plain.panels) >= {"respect", "profile_rank", "similarity", "worst"}
    assert plain.header["n_used"] == 96 and plain.header["parameters"] > 0


def test_the_invariant_model_passes_where_the_plain_one_fails(plain: Report) -> None:
    invariant = audit(Invariant(), group="C4", probes=["equivariance", "orbit_accuracy"])
    error = invariant["equivariance", "embedding"]
    assert error.verdict == "pass" and error.value < 1e-5
    assert invariant["orbit_accuracy.drop"].verdict == "pass"
    assert plain["equivariance", "embedding"].verdict == "fail"
    assert invariant.sentences()[0].startswith("The embedding is invariant to C4")
    assert plain.sentences()[0].startswith("The embedding is not invariant to C4")


def test_classes_that_are_copies_of_each_other_turned_are_named(plain: Report) -> None:
    assert ["0", "1"] in plain.header["merged_classes"]
    merge = next(f for f in plain.findings if {"0", "1"} == set(f.details.get("pair", [])))
    assert "180°" in merge.meaning and merge.verdict == "warn"
    assert "classes 0 and 1" in plain.sentences()[1]
    invariant = audit(Invariant(), group="C4", probes=["orbit_accuracy"])
    assert invariant.header["merged_classes"] == [["0", "1"]]


def test_a_symmetry_that_merges_nothing_names_no_classes() -> None:
    x, label = blobs()
    keep = label != 1
    relabelled = (label[keep] == 2).long()
    report = er.audit(Encoder(), (x[keep], relabelled), group="C4", probes=["orbit_accuracy"])
    assert report.header["merged_classes"] == []


def test_a_collapsed_model_is_called_collapsed_and_never_invariant() -> None:
    report = audit(Collapsed(), group="C4")
    assert report["rankme", "embedding"].verdict == "fail"
    assert report["equivariance"].verdict == "fail" and "does not depend" in report["equivariance"].meaning
    assert not [f for f in report.findings if f.verdict == "pass"]


def test_duplicated_features_do_not_raise_the_rank() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Encoder()

        def forward(self, x: Tensor) -> Tensor:
            z = self.inner(x)
            return torch.cat([z, z], 1)

    single, double = audit(Encoder(), probes="rankme"), audit(Doubled(), probes="rankme")
    assert double["rankme", "embedding"].value == pytest.approx(single["rankme", "embedding"].value, rel=1e-3)


def test_labels_without_meaning_are_not_found_to_have_one() -> None:
    generator = torch.Generator().manual_seed(1)
    x, label = torch.rand(200, 1, 5, 5, generator=generator), torch.randint(2, (200,), generator=generator)
    report = er.audit(Flat(), (x, label), probes=["knn", "linear_probe"], layers=None)
    assert not [f for f in report.findings if f.verdict == "pass"]


def test_the_model_is_left_bit_for_bit_as_it_was() -> None:
    model = Encoder().train()
    model.conv[1].eval()
    model.linear.register_forward_hook(lambda *a: None)
    model(blobs()[0]).sum().backward()
    before = fingerprint(model)
    audit(model, group="C4")
    assert fingerprint(model) == before
    model.linear.bias.data[0] += 1
    assert fingerprint(model) != before


class Broken(Probe):
    name = "broken"

    def finish(self, ctx: Context) -> list[Finding]:
        raise RuntimeError("this probe is broken")


def test_a_broken_probe_becomes_a_finding_and_takes_nothing_along() -> None:
    model = Encoder()
    before = fingerprint(model)
    report = audit(model, probes=[Broken(), *er.audit.presets.choose("rankme")])
    assert report["broken"].verdict == "not_applicable" and "this probe is broken" in report["broken"].meaning
    assert report["rankme", "embedding"].value > 1
    assert fingerprint(model) == before


def test_the_plan_is_refused_before_anything_is_computed() -> None:
    class Counting(Encoder):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            type(self).calls += len(x)
            return super().forward(x)

    with pytest.raises(PlanError, match=r"cka.*cheaper"):
        audit(Counting(), probes="cka", budget=Budget(ram="300KiB"))
    assert Counting.calls <= 8
    with pytest.raises(PlanError, match="Budget"):
        audit(Encoder(), budget=Budget(ram="1KB"))


def test_the_same_seed_gives_the_same_numbers_and_batches_do_not_matter() -> None:
    x, label = blobs()
    batches = [(x[i : i + 10], label[i : i + 10]) for i in range(0, 96, 10)]
    options = {"group": "C4", "budget": SMALL, "probes": ["rankme", "knn", "equivariance"]}
    one, two = er.audit(Encoder(), (x, label), **options), er.audit(Encoder(), batches, **options)
    for a, b in zip(one.findings, two.findings, strict=True):
        assert a.key == b.key and a.value == pytest.approx(b.value, rel=1e-4)


def test_bad_input_is_named() -> None:
    x, label = blobs()
    with pytest.raises(ValueError, match=r"probes: unknown 'rankmee'.*rankme"):
        audit(Encoder(), probes="rankmee")
    with pytest.raises(ValueError, match="SO\\(3\\)"):
        audit(Encoder(), group="SO(3)")
    with pytest.raises(ValueError, match="sample 3 "):
        er.audit(Encoder(), (x.index_fill(0, torch.tensor([3]), torch.nan), label))
    with pytest.raises(ValueError, match="labels"):
        er.audit(Encoder(), (x, label[:-1]))
    with pytest.raises(ValueError, match="ci"):
        audit(Encoder(), ci=95.0)


def test_without_labels_or_group_what_needs_them_says_so() -> None:
    report = er.audit(Encoder(), blobs()[0], probes="standard")
    assert report["knn"].verdict == "not_applicable" and "labelled" in report["knn"].meaning
    assert report["equivariance"].verdict == "not_applicable" and "group" in report["equivariance"].meaning
    assert len(report.sentences()) == 3


def test_what_resampling_alone_would_do_is_no_proof_of_invariance() -> None:
    x, label = torch.rand(60, 1, 5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 2
    found = er.audit(Flat(), (x, label), group="SO(2)", probes="equivariance", layers=None)["equivariance", "embedding"]
    assert found.details["floor"] > 0.5 and found.verdict != "pass"
