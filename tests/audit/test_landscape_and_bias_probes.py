"""The probes `landscape` and `inductive_bias`: planted effects, nothing planted, the model left as it was."""

import copy
import itertools
import math

import torch
from torch import nn

import erlangen as er
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
