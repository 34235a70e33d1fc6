"""Probes of networks as they stand and of data alone: planted truths, nulls, pictures, and a model left as it was."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

import erlangen as er
from erlangen.audit.theory import init_critical_

DATASET = ("duplicates", "contradictory_labels", "data_dimension", "label_sharpness", "scaling_law")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mlp(depth: int = 24, width: int = 128, inputs: int = 12) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(width, width)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in layers:
            if isinstance(module, nn.Linear):
                module.reset_parameters()
    return nn.Sequential(*layers)


def data(n: int = 120, d: int = 12) -> tuple[Tensor, Tensor]:
    return torch.randn(n, d, generator=generator()), torch.arange(n) % 3


def test_a_critical_network_passes_and_a_default_one_fails() -> None:
    net, (x, y) = mlp(), data()
    default = er.audit(net, (x, y), probes=["criticality"])
    init_critical_(net, x, generator=generator(1))
    critical = er.audit(net, (x, y), probes=["criticality"])
    assert default["criticality.gradient_growth"].verdict == "fail"
    assert critical["criticality.gradient_growth"].verdict == "pass"
    assert "vanish" in default["criticality.gradient_growth"].meaning
    assert "vanish" in default.sentences()[0]
    theory = critical["criticality.signal_growth"].reference
    assert theory is not None and abs(critical["criticality.signal_growth"].value - theory.value) < 1.5
    assert critical["criticality.depth_over_width"].value == pytest.approx(23 / 128)
    assert critical["criticality.chi"].reference.value == 1.0
    explode = copy.deepcopy(net)
    with torch.no_grad():
        for p in explode.parameters():
            p.mul_(1.4)
    assert "explode" in er.audit(explode, (x, y), probes=["criticality"])["criticality.gradient_growth"].meaning


def test_critical_networks_pass_at_every_seed() -> None:
    """No effect planted: 30 critical networks, none may be called vanishing or exploding."""
    x, y = data()
    verdicts = []
    for seed in range(30):
        net = mlp(depth=6, width=96)
        init_critical_(net, x, generator=generator(seed))
        report = er.audit(net, (x[:40], y[:40]), probes=["criticality"], reference=None)
        verdicts.append(report["criticality.gradient_growth"].verdict)
    assert verdicts.count("fail") == 0 and verdicts.count("pass") >= 28


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_the_precision_of_the_model_is_no_obstacle(precision: torch.dtype) -> None:
    net, x = mlp(3, 32).to(precision), data()[0]
    found = er.audit(net, x, probes=["criticality"])
    assert found["criticality.gradient_growth"].verdict == "pass" and "criticality.tangent_condition" in str(
        [f.metric for f in found.findings]
    )
    assert next(net.parameters()).dtype == precision


def test_zero_gradients_fail_in_words_and_infinite_ones_are_not_applicable() -> None:
    net, x = mlp(3, 32), data()[0]
    with torch.no_grad():
        net[-1].weight.zero_()
    none = er.audit(net, x, probes=["criticality"])["criticality.gradient_growth"]
    assert none.verdict == "fail" and "No gradient arrives at '0'" in none.meaning
    with torch.no_grad():
        net[-1].weight.fill_(torch.nan)
    found = [f for f in er.audit(net, x, probes=["criticality"]).findings if f.probe == "criticality"]
    assert [f.verdict for f in found] == ["not_applicable"]


def test_a_reference_model_is_not_called_untrained() -> None:
    found = er.audit(mlp(3, 32), data()[0], probes=["criticality"], reference=mlp(3, 16))
    assert found["criticality.tangent_condition"].reference.kind == "baseline"
    names = [s["name"] for s in found["criticality.gradient_growth"].figure.series]
    assert names == ["this model", "the reference model"]


def test_the_interval_of_a_factor_is_that_of_its_own_layer() -> None:
    net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    with torch.no_grad():
        net[2].weight.mul_(10)
    found = er.audit(net, data()[0], probes=["criticality"])["criticality.chi"]
    assert found.meaning.startswith("'2'") and found.ci.n_effective == 64 * 64
    assert 0 < found.ci.low < found.value < found.ci.high < 1.1 * found.value


def test_in_place_activations_functions_and_norms() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.nn.functional.relu(self.norm(self.a(x)), inplace=True)
            return self.b(x).flatten(2).mean(2)

    net = Functional()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x = torch.randn(20, 1, 8, 8, generator=generator())
    report = er.audit(net, (x, torch.zeros(20, dtype=torch.int64)), probes=["criticality"])
    assert math.isfinite(report["criticality.gradient_growth"].value)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in before.items()) and net.training


def test_a_model_without_depth_is_not_applicable_and_left_as_it_was() -> None:
    net, (x, y) = nn.Linear(12, 3), data()
    report = er.audit(net, (x, y), probes=["criticality"])
    assert report.findings[0].verdict == "not_applicable" and "at least two" in report.findings[0].meaning
    assert not net._forward_hooks and net.weight.grad is None


def test_the_dimension_of_a_layer_is_that_of_what_it_maps_to() -> None:
    """Inputs on a surface of three dimensions; a second model keeps two of them."""
    cube = torch.rand(800, 3, generator=generator())
    x = torch.sin(cube @ torch.randn(3, 12, generator=generator(1)))
    keep = nn.Linear(12, 12, bias=False)
    drop = nn.Linear(12, 12, bias=False)
    with torch.no_grad():
        keep.weight.copy_(torch.linalg.qr(torch.randn(12, 12, generator=generator(2)))[0])
        flat = torch.linalg.qr(torch.randn(12, 1, generator=generator(3)))[0]
        drop.weight.copy_(flat @ flat.T)
    label = torch.zeros(800, dtype=torch.int64)
    kept = er.audit(keep, (x, label), probes=["intrinsic_dimension"])["intrinsic_dimension"]
    dropped = er.audit(drop, (x, label), probes=["intrinsic_dimension"])["intrinsic_dimension"]
    assert kept.ci.low < 3.0 < kept.ci.high + 0.5 and kept.value == pytest.approx(3, abs=0.5)
    assert dropped.value == pytest.approx(1, abs=0.2)
    assert kept.reference.kind == "untrained"


def test_data_alone_with_planted_trouble() -> None:
    generator_ = generator()
    x = torch.sin(torch.rand(600, 4, generator=generator_) @ torch.randn(4, 20, generator=generator_))
    y = torch.arange(600) % 3
    clean = er.audit(None, (x, y), probes=list(DATASET))
    assert clean["duplicates.exact"].verdict == clean["contradictory_labels"].verdict == "pass"
    dimension = clean["data_dimension"]
    assert dimension.details["calibrated"] == pytest.approx(4, abs=0.8)
    assert dimension.reference.value > dimension.value  # Gaussian data of that covariance fill more
    assert clean["scaling_law"].value == pytest.approx(1 / dimension.value)
    shuffled = clean["label_sharpness.one_percent"]
    assert shuffled.value == pytest.approx(shuffled.reference.value, rel=0.25)  # these labels mean nothing
    x[5], x[50], x[51] = x[3], x[7], x[7]  # labels 2 and 0; 2, 0 and 1
    planted = er.audit(None, (x, y), probes=list(DATASET))
    assert planted["duplicates.exact"].verdict == "warn" and planted["duplicates.exact"].value == 3 / 600
    assert planted["contradictory_labels"].verdict == "fail"
    assert sorted(planted["contradictory_labels"].details["groups"]) == [[3, 5], [7, 50, 51]]
    assert "597 of 600" in planted["contradictory_labels"].meaning
    assert math.isnan(planted["label_sharpness.K_F"].value)
    assert planted["data_dimension"].details["duplicates"] == 3


def test_pictures_and_a_page() -> None:
    digits = er.data.load("digits")
    report = er.audit(None, digits, probes=list(DATASET), budget=er.audit.Budget(samples=400))
    pairs = report["label_sharpness.K_F"].figure
    assert pairs.kind == "images" and len(pairs.images) == 4
    assert report["data_dimension"].figure.lines[0]["value"] == report["data_dimension"].value
    assert "no two of" in report.to_html().lower()
    assert er.audit.Report.from_json(report.to_json()).sentences() == report.sentences()


def test_a_plan_that_is_too_large_names_a_number_of_samples_that_fits() -> None:
    x, y = torch.rand(400, 3, 32, 32, generator=generator()), torch.arange(400) % 3
    small = er.audit.Budget(ram="80MiB")
    with pytest.raises(ValueError, match="cheaper") as refused:
        er.audit(None, (x, y), probes=["duplicates", "scaling_law"], budget=small)
    samples = int(str(refused.value).rsplit("samples=", 1)[1].rstrip(")"))
    fitting = er.audit.Budget(ram="80MiB", samples=samples)
    assert 40 < samples < 400
    er.audit(None, (x, y), probes=["duplicates", "scaling_law"], budget=fitting)


def test_too_little_data_is_said_and_not_raised() -> None:
    report = er.audit(None, data(12), probes=list(DATASET))
    assert report["data_dimension"].verdict == "not_applicable"
    same = er.audit(None, (torch.ones(8, 3), torch.arange(8) % 2), probes=["duplicates", "contradictory_labels"])
    assert math.isnan(same["duplicates.near"].value) and "nan" not in same["duplicates.near"].meaning
    partly = (torch.ones(8, 3), torch.tensor([0, 1, -1, -1, -1, 0, 0, 0]))  # 5 labels, one of them 1
    found = er.audit(None, partly, probes=["contradictory_labels"])["contradictory_labels"]
    assert found.verdict == "fail" and "4 of 5" in found.meaning
    unlabelled = er.audit(None, data()[0], probes=["contradictory_labels", "label_sharpness"])
    assert {f.verdict for f in unlabelled.findings} == {"not_applicable"}
