"""Feature complexity: planted duplicates are counted, random units are not, the model is left alone."""

import pytest
import torch
from torch import nn

import erlangen as er
from erlangen.audit.preserve import fingerprint
from erlangen.audit.redundancy import feature_complexity


def network(seed: int = 0, width: int = 12) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 3))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(60, 5, generator=torch.Generator().manual_seed(1)), torch.arange(60) % 3


def test_planted_equal_units_are_counted_and_warned_of() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight[8:] = model[0].weight[:4]
        model[0].bias[8:] = model[0].bias[:4]
    assert feature_complexity(model, torch.randn(2, 5), beta=0.0) == {"0": [12, 8]}
    before = fingerprint(model)
    report = er.audit(model, data(), probes=["feature_complexity"])  # type: ignore[operator]
    finding = report.findings[0]
    assert finding.verdict == "warn" and finding.details["exactly_equal"] == 4 and finding.figure is not None
    assert fingerprint(model) == before


def test_no_random_network_has_equal_units() -> None:
    x = torch.randn(2, 5)
    graph = er.nn.CouplingGraph.from_model(network(), x)
    warned = sum(feature_complexity(network(seed), x, beta=0.0, graph=graph)["0"][1] < 12 for seed in range(200))
    assert warned == 0


def test_more_tolerance_leaves_fewer_features() -> None:
    counts = feature_complexity(network(width=32), torch.randn(2, 5), beta=(0.0, 0.1, 0.5, 1.0))["0"]
    assert counts[0] == counts[1] == 32 and counts[1:] == sorted(counts[1:], reverse=True) and counts[-1] == 1


def test_a_model_without_hidden_units_is_told_so() -> None:
    report = er.audit(nn.Linear(5, 3), data(), probes=["feature_complexity"])  # type: ignore[operator]
    assert report.findings[0].verdict == "not_applicable" and "output" in report.findings[0].meaning


def test_the_probe_takes_models_of_double_precision() -> None:
    single = er.audit(network(), data(), probes=["feature_complexity"], reference=None)  # type: ignore[operator]
    double = er.audit(network().double(), data(), probes=["feature_complexity"], reference=None)  # type: ignore[operator]
    assert [f.details for f in double.findings] == [f.details for f in single.findings]


def test_a_reference_model_of_other_width_has_its_own_units() -> None:
    report = er.audit(network(), data(), probes=["feature_complexity"], reference=network(1, width=7))  # type: ignore[operator]
    finding = report["feature_complexity.share"]
    assert "of 12 units" in finding.meaning and "of 7 in the reference model" in finding.meaning
    assert finding.reference is not None and finding.reference.value <= 1.0 and finding.reference.kind == "baseline"


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="beta"):
        feature_complexity(network(), torch.randn(2, 5), beta=-1.0)
