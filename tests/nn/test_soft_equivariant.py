"""Dense layers between representations: exact when constrained, free when not, and no drift in training."""

import pytest
import torch

from erlangen.groups import parse
from erlangen.nn import SoftEquivariantMLP, SoftLinear
from erlangen.nn.soft_equivariant import BilinearGate, Gate
from erlangen.testing import check

GROUP = parse("O(3)")
V = GROUP.standard()


def test_the_start_is_equivariant_for_the_whole_group():
    net = SoftEquivariantMLP(V + V, V @ V, hidden=2 * V + 2 * GROUP.trivial(), depth=2).double()
    net.project_("O(3)")
    x = torch.randn(5, 6, dtype=torch.float64)
    assert check(net, net.symmetry("O(3)"), x, seed=0).verdict == "exact"
    assert net.symmetries == []


def test_products_are_equivariant_whatever_their_weights():
    rep = 3 * GROUP.trivial() + 2 * V + V @ V
    gate = BilinearGate(rep).double()
    x = torch.randn(7, rep.dim, dtype=torch.float64)
    for g in GROUP.sample(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        m = rep.matrix(g, torch.float64)
        torch.testing.assert_close(gate(x @ m.mT), gate(x) @ m.mT, atol=1e-10, rtol=1e-10)
    assert float(gate(x).abs().max()) > 1e-3


def test_gates_want_scalars_first():
    with pytest.raises(ValueError, match="trivial parts have to come first"):
        Gate(V + GROUP.trivial())


def test_the_wrong_group_is_named():
    with pytest.raises(ValueError, match=r"C4.*O\(3\)"):
        SoftLinear(V, parse("C4").standard())
    with pytest.raises(ValueError, match="depth"):
        SoftEquivariantMLP(V, V, hidden=V, depth=0)
