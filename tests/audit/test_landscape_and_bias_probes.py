"""The probes `landscape` and `inductive_bias`: planted effects, nothing planted, the model left as it was."""

import copy
import itertools
import math

import pytest
import torch
from scipy import stats
from torch import nn

import erlangen as er
from erlangen.audit.probes.inductive_bias import ASKED, SHARES, SPLITS, _bits
from erlangen.audit.probes.landscape import Landscape


def blobs(n: int = 300, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=generator)
    x = 0.3 * torch.randn(n, 12, generator=generator)
    x[torch.arange(n), y] += torch.where(torch.rand(n, generator=generator) < 0.5, 1.0, -1.0)  # not linearly separable
    return x, y


class Folded(nn.Module):
    """The absolute values of the first three inputs, which say the class; the other inputs are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :3].abs() * self.scale


def test_a_representation_that_knows_the_task_needs_fewer_bits_than_the_inputs() -> None:
    model, data = Folded(), blobs()
    before = copy.deepcopy(model.state_dict())
    report = er.audit(model, data, probes=["inductive_bias"], reference=None)
    found = report["inductive_bias"]
    assert found.verdict == "pass" and found.reference is not None and found.ci is not None
    assert found.value < 0.2 * found.reference.value and found.ci.high < found.reference.low
    bits = found.details["bits"]
    assert all(a <= b for a, b in itertools.pairwise(bits))  # smaller errors take more bits
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_the_inputs_themselves_bring_nothing() -> None:
    passes = sum(
        er.audit(nn.Flatten(), blobs(120, seed), probes=["inductive_bias"], reference=None)["inductive_bias"].verdict
        == "pass"
        for seed in range(5)
    )
    assert passes == 0


def test_a_collapsed_embedding_is_not_applicable() -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(x), 4)

    report = er.audit(Constant(), blobs(), probes=["inductive_bias"], reference=None)
    assert [f.verdict for f in report.findings if f.probe == "inductive_bias"] == ["not_applicable"]


def test_an_embedding_that_mixes_the_classes_fails_in_words() -> None:
    class Signs(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x[:, 5:6] > 0).float()

    found = er.audit(Signs(), blobs(), probes=["inductive_bias"], reference=None)["inductive_bias"]
    assert found.verdict == "fail" and "inf" not in found.meaning and "No smooth function" in found.meaning
    assert er.audit(None, blobs(), probes=["inductive_bias"])["inductive_bias"].meaning.startswith("there is no model")


def test_an_undecided_audit_asks_for_samples_and_not_for_splits() -> None:
    found = er.audit(nn.Flatten(), blobs(120), probes=["inductive_bias"], reference=None)["inductive_bias"]
    assert found.ci is not None and found.ci.n_effective == 120
    assert found.needs_samples is None or found.needs_samples > 120


def test_the_landscape_of_the_audited_architecture() -> None:
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 8))
    before = copy.deepcopy(model.state_dict())
    report = er.audit(model, blobs(), probes=[Landscape([1, 8, 64, 256], steps=120)], reference=None)
    found = next(f for f in report.findings if f.probe == "landscape")
    assert found.verdict == "info" and 1 < found.value < 256 and found.details["weights"] == 12 * 24 + 24 + 200 + 27
    assert found.figure is not None and math.isfinite(found.details["direct_score"])
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_without_labels_neither_has_anything_to_say() -> None:
    report = er.audit(nn.Linear(12, 4), blobs()[0], probes=["landscape", "inductive_bias"], reference=None)
    assert {f.verdict for f in report.findings} == {"not_applicable"}


@pytest.mark.thorough
def test_two_representations_of_one_law_seldom_differ() -> None:
    """200 pairs of independent features with the same law: the rule may call one better in at most 5 % of them."""
    generator, runs, wrong = torch.Generator().manual_seed(0), 200, 0
    place, train, test = SHARES.index(ASKED), 40, 15
    reach = float(stats.t.ppf(0.975, SPLITS - 1)) * math.sqrt(1 / SPLITS + test / train)
    for _ in range(runs):
        label = torch.randint(3, (80,), generator=generator)
        y, centres = nn.functional.one_hot(label, 3).double(), torch.randn(3, 6, generator=generator)
        both = [torch.randn(80, 6, generator=generator) + centres[label] for _ in range(2)]
        orders = [torch.randperm(80, generator=generator) for _ in range(SPLITS)]
        own, raw = (torch.stack([_bits(x, y, o[test : test + train], o[:test])[place] for o in orders]) for x in both)
        wrong += bool(own.mean() + reach * own.std() < raw.mean() - reach * raw.std())
    assert wrong <= 0.05 * runs
