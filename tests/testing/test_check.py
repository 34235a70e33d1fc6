"""The contract of `check`: it answers for any callable, leaves the model alone, and errs in one line."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Data

from erlangen.groups.symmetry import Case, Symmetry
from erlangen.testing import EquivarianceError, check, check_module, module_checks
from erlangen.testing.verdict import Thresholds, judge

ROTATION = Symmetry("SO(3)", "points", "invariant")
CLOUD_SYMMETRY = Symmetry("E(3)", "points", "invariant")
CLOUD = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class Lengths(nn.Module):
    """Centred lengths through a small network: invariant under E(3)."""

    def __init__(self) -> None:
        super().__init__()
        self.symmetries = [CLOUD_SYMMETRY]
        self.net = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - x.mean(0)).norm(dim=-1, keepdim=True))


class Broken(Lengths):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, :1])


def bits(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_bit_for_bit(training: bool) -> None:
    model = Lengths().train(training)
    model(CLOUD).sum().backward()
    before, grads = bits(model), [p.grad.clone() for p in model.parameters() if p.grad is not None]
    identities = [id(p) for p in model.parameters()]
    rng = torch.get_rng_state()
    check(model, CLOUD_SYMMETRY, CLOUD)
    check(lambda x: model(x), CLOUD_SYMMETRY, CLOUD)
    check(model.forward, CLOUD_SYMMETRY, CLOUD)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(torch.equal(a, p.grad) for a, p in zip(grads, model.parameters(), strict=True) if p.grad is not None)
    assert identities == [id(p) for p in model.parameters()]
    assert model.training is training and torch.equal(rng, torch.get_rng_state())


def test_a_model_that_cannot_be_copied_is_restored() -> None:
    class Locked(Lengths):
        def __deepcopy__(self, memo: dict) -> "Locked":
            raise RuntimeError("no copies")

    model = Locked().train()
    before = bits(model)
    assert check(model, CLOUD_SYMMETRY, CLOUD).verdict == "exact"
    assert all(torch.equal(before[k], v) and v.dtype == before[k].dtype for k, v in model.state_dict().items())


def test_tuple_dict_and_graph_outputs() -> None:
    both = Symmetry("SO(3)", "points", ("points", "invariant"))
    assert check(lambda x: (2 * x, x.norm(dim=-1)), both, CLOUD).verdict == "exact"
    named = Symmetry("SO(3)", "points", {"x": "points", "r": "invariant"})
    assert check(lambda x: {"x": 2 * x, "r": x[:, 0]}, named, CLOUD).verdict == "broken"
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    data = Data(x=torch.randn(4, 2), edge_index=edges)

    def smooth(d: Data) -> Data:
        x = torch.zeros_like(d.x).index_add(0, d.edge_index[1], d.x[d.edge_index[0]])
        return Data(x=x, edge_index=d.edge_index)

    def pooled(d: Data) -> Tensor:
        return smooth(d).x.pow(2).sum(0)

    assert check(pooled, Symmetry("S(n)", "graph", "invariant"), data).verdict == "exact"
    assert check(lambda d: d.x[0], Symmetry("S(n)", "graph", "invariant"), data).verdict == "broken"


def test_keyword_inputs() -> None:
    def model(pos: Tensor, scale: Tensor) -> Tensor:
        return pos * scale

    symmetry = Symmetry("SO(3)", {"pos": "points", "scale": "invariant"}, "points")
    assert check(model, symmetry, {"pos": CLOUD, "scale": torch.tensor(2.0)}).verdict == "exact"


@pytest.mark.parametrize(
    ("function", "verdict"),
    [
        (lambda x: x.norm(dim=-1), "exact"),
        (lambda x: x.norm(dim=-1) + 1e-3 * x[:, 0], "approximate"),
        (lambda x: x.norm(dim=-1) + 1e-7 * x[:, 0], "approximate"),
        (lambda x: x[:, 0], "broken"),
        (lambda x: torch.ones(3), "vacuous"),
        (lambda x: x * 0, "vacuous"),
        (lambda x: torch.rand(4), "vacuous"),
        (lambda x: (x - x.mean(0)).sum(0), "vacuous"),
        (lambda x: x.float().norm(dim=-1), "exact"),
        (lambda x: x.norm(dim=-1) + 1e-2 * torch.randn(6), "approximate"),
    ],
)
def test_the_words(function: object, verdict: str) -> None:
    result = check(function, ROTATION, CLOUD)
    assert result.verdict == verdict, str(result)


def test_cancellation_is_round_off_and_not_structure() -> None:
    def squared_distances(x: Tensor) -> Tensor:
        lengths = x.pow(2).sum(-1)
        return lengths[:, None] + lengths - 2 * x @ x.mT

    result = check(squared_distances, ROTATION, CLOUD + 300)
    assert result.verdict == "round-off", str(result)


@given(st.floats(1e-8, 1.0))
@settings(max_examples=10, deadline=None)
def test_the_error_measures_the_leak(size: float) -> None:
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    result = check(lambda x: x.norm() + size * (x[0] @ axis.to(x)), ROTATION, CLOUD, risks=False, locate=False)
    assert 0.05 * size < result.error["float64"] * float(CLOUD.norm()) / float(CLOUD[0].norm()) < 4 * size + 4 * size**2
    assert result.error["float64"] == max(e for _, e in result.curve)


def test_judge_follows_the_convention() -> None:
    limits = Thresholds()
    assert judge(1e-10, 1e-4, limits) == "exact"
    assert judge(1e-10, 2e-4, limits) == "round-off"
    assert judge(2e-10, 1e-6, limits) == "approximate"
    assert judge(0.049, 0.049, limits) == "approximate"
    assert judge(0.05, 0.05, limits) == "broken"
    assert judge(math.inf, None, limits) == "broken"
    assert judge(None, 1e-6, limits, floor32=1e-7) == "exact"
    assert judge(None, 1e-3, limits, floor32=1e-7) == "approximate"


def test_state_mutation_and_worst_case() -> None:
    class Counter(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            x.mul_(2)
            return x.norm(dim=-1) * self.calls

    result = check(Counter(), ROTATION, CLOUD)
    assert result.verdict == "exact", str(result)
    assert "keeps state" in str(result) and "writes into its input" in str(result)
    broken = check(lambda x: x[:, 0], ROTATION, CLOUD)
    assert broken.worst is not None
    moved = broken.worst.x.double() @ broken.worst.g.mT
    assert torch.allclose(moved, broken.worst.gx)
    assert broken.rerun().error == broken.error
    with pytest.raises(EquivarianceError, match="broken"):
        broken.raise_if_failed()
    assert broken.to_dict()["verdict"] == "broken"


@pytest.mark.parametrize(
    ("model", "symmetry", "inputs", "words"),
    [
        (lambda x: x @ torch.ones(4, 4), ROTATION, CLOUD, "model: raised"),
        (lambda x: x * float("nan"), ROTATION, CLOUD, "model: returned NaN"),
        (lambda x: x, ROTATION, CLOUD * float("nan"), "inputs.*NaN"),
        (lambda x: x, ROTATION, CLOUD[:0], "inputs: no numbers"),
        (lambda x: None, ROTATION, CLOUD, "model: returned None"),
        (lambda x: "word", ROTATION, CLOUD, "str cannot be compared"),
        (3, ROTATION, CLOUD, "model: a callable"),
        (lambda x, y: x, ROTATION, (CLOUD, CLOUD), "input: one type"),
        (lambda x: x, Symmetry("SO(3)", lambda g, x: x @ g, "points"), CLOUD, "input: acts from the wrong side"),
        (lambda x: x, Symmetry("SO(3)", lambda g, x: x @ g.mT + 1, "points"), CLOUD, "the identity moves"),
        (
            lambda x: x,
            Symmetry("SO(3)", "points", lambda g, x: x @ (2 * g.mT - torch.eye(3).double())),
            CLOUD,
            "output: not an action of SO",
        ),
    ],
)
def test_one_clear_line(model: object, symmetry: Symmetry, inputs: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        check(model, symmetry, inputs)
    assert "\n" not in str(caught.value)


def test_module_checks_pass_and_each_has_teeth() -> None:
    torch.manual_seed(0)
    case = Case(Lengths().eval(), (CLOUD,))
    passed = check_module(case)
    assert len(passed) == 14 and "check_power" in passed
    failed = set()
    for name, run in module_checks(Case(Broken().eval(), (CLOUD,))):
        try:
            run()
        except EquivarianceError:
            failed.add(name)
    assert {"check_finite_equivariance", "check_precision_scaling", "check_infinitesimal"} <= failed
    with pytest.raises(ValueError, match="declares no symmetries"):
        check_module(Case(nn.Linear(2, 2), (torch.randn(2, 2),)))


def test_float32_only_model() -> None:
    class Half(nn.Module):
        def __init__(self, leak: float) -> None:
            super().__init__()
            self.leak = leak

        def forward(self, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise RuntimeError("expected float32")
            return x.norm(dim=-1) + self.leak * x[:, 0]

    exact = check(Half(0.0), ROTATION, CLOUD)
    assert exact.verdict == "exact" and "float32 only" in str(exact)
    assert check(Half(1e-3), ROTATION, CLOUD).verdict == "approximate"
    assert check(Half(1.0), ROTATION, CLOUD).verdict == "broken"
    assert check(copy.deepcopy(Half(0.0)), ROTATION, CLOUD).error.keys() == {"float32"}
