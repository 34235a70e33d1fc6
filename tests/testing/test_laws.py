"""The laws of groups, representations and derivatives are checked, and a broken one is named."""

import pytest
import torch
from torch import Tensor, nn

from erlangen.groups import parse
from erlangen.groups.irreps import Irreps
from erlangen.groups.symmetry import Case, Symmetry
from erlangen.testing import CheckError, EquivarianceError, check, check_module, parametrize_with_checks
from erlangen.testing.laws import check_group, check_representation, representations
from erlangen.testing.named_checks import check_gradient, check_infinitesimal

CLOUD = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Energy(nn.Module):
    """A smooth invariant of a cloud; with `detached`, a part of it that the gradient does not see."""

    def __init__(self, detached: bool = False, leak: float = 0.0) -> None:
        super().__init__()
        self.detached, self.leak = detached, leak
        self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        self.symmetries = [Symmetry("SE(3)", "points", "invariant")]
        self.example_inputs = (CLOUD,)

    def forward(self, x: Tensor) -> Tensor:
        away = x[:, None] - x[None]
        squared = (away.detach() * away if self.detached else away * away).sum(-1, keepdim=True)
        axis = away.detach()[..., :1] * away[..., 1:2] if self.detached else 0.0
        return self.net(squared + axis - (axis.detach() if self.detached else 0.0) + self.leak * x[:, None, :1]).sum()


@pytest.mark.parametrize("name", ["SO(3)", "E(2)", "C8", "D4", "S(5)", "O(3)", "SU(2)", "E(3) x S(4)", "Octahedral"])
def test_the_groups_are_groups(name: str) -> None:
    try:
        group = parse(name)
    except ValueError:
        pytest.skip(f"{name} is not offered")
    check_group(group)


def test_a_group_that_is_none_is_named() -> None:
    class Wrong(type(parse("SO(3)"))):  # type: ignore[misc]
        def compose(self, g: Tensor, h: Tensor) -> Tensor:
            return g @ h @ g

    with pytest.raises(CheckError, match="is not a group"):
        check_group(Wrong(3))


@pytest.mark.parametrize("name", ["SO(3)", "O(3)"])
def test_irreps_are_representations(name: str) -> None:
    rep = Irreps("2x0e+1x1o+1x2e" if name == "O(3)" else "2x0e+1x1e+1x2e", parse(name))
    check_representation(rep.group, lambda g: rep.matrix(g, torch.float64))
    action = Symmetry(name, "0e+1x1o", "invariant").input_action
    assert list(representations(action))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (lambda g: g.mT, "wrong side"),
        (lambda g: 2 * g, "not the identity"),
        (lambda g: g * torch.linalg.det(g + torch.eye(3)) / 8, "not a representation"),
    ],
)
def test_a_matrix_that_is_no_representation_is_named(matrix: object, words: str) -> None:
    with pytest.raises(CheckError, match=words) as caught:
        check_representation(parse("SO(3)"), matrix)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_derivatives_of_an_invariant_hold_and_of_a_broken_one_do_not() -> None:
    torch.manual_seed(0)
    good = Energy()
    check_gradient(Case(good, (CLOUD,)), good.symmetries[0])
    check_infinitesimal(Case(good, (CLOUD,)), good.symmetries[0])
    half = Energy(detached=True)  # right values, wrong gradients
    with pytest.raises(EquivarianceError, match="dual action"):
        check_gradient(Case(half, (CLOUD,)), half.symmetries[0])
    with pytest.raises(EquivarianceError, match="Lie derivative"):
        check_infinitesimal(Case(Energy(leak=1e-3), (CLOUD,)), good.symmetries[0])


torch.manual_seed(0)
GOOD = Energy()


@parametrize_with_checks([GOOD, Case(GOOD, (CLOUD,), name="named")])
def test_parametrized(check: object) -> None:
    check()  # type: ignore[operator]


def test_parametrization_names_cases_and_checks_and_refuses_silent_modules() -> None:
    mark = parametrize_with_checks([GOOD, Case(GOOD, (CLOUD,), name="named")]).mark
    ids = [parameter.id for parameter in mark.args[1]]
    assert "Energy-check_finite_equivariance" in ids and "named-check_gradient" in ids
    assert len(ids) == 2 * len(check_module(GOOD))
    with pytest.raises(ValueError, match="declares no symmetries"):
        parametrize_with_checks([Case(nn.Linear(2, 2), (torch.randn(2, 2),))])
    with pytest.raises(ValueError, match="inputs: none given"):
        parametrize_with_checks([nn.Linear(2, 2)])
    broken = parametrize_with_checks([Energy(leak=1.0)]).mark.args[1]
    failed = set()
    for parameter in broken:
        try:
            parameter.values[0]()
        except EquivarianceError:
            failed.add(parameter.id)
    assert {"Energy-check_finite_equivariance", "Energy-check_infinitesimal"} <= failed


def test_an_output_too_small_for_its_type_is_told_with_its_shape():
    with pytest.raises(CheckError, match=r"^output: the action of SO\(3\) on a tensor of shape \(\) failed"):
        check(lambda x: x.sum(), Symmetry("SO(3)", "points", "points"), torch.randn(5, 3))
