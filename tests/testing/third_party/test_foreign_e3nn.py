"""e3nn: its modules, its network, and the mistakes that are made with them."""

from typing import Any

import pytest
import torch
from third_party_case import Foreign, Wrapped, euclidean, examine
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry

o3 = pytest.importorskip("e3nn.o3", reason="needs e3nn")
layers = pytest.importorskip("e3nn.nn", reason="needs e3nn")
networks = pytest.importorskip("e3nn.nn.models.v2106.gate_points_networks", reason="needs e3nn")

MIXED = "4x0e+2x1o+1x2e"
SMALL = "2x0e+1x1o"


def features(kinds: str, count: int = 16) -> Tensor:
    return o3.Irreps(kinds).randn(count, -1)


def parity(kinds: str, output: str) -> Symmetry:
    return Symmetry("O(3)", kinds, output)


def product() -> nn.Module:
    return o3.FullyConnectedTensorProduct(SMALL, SMALL, "2x0e+1x1o+1x1e")


def followed_by(layer: nn.Module) -> nn.Module:
    return nn.Sequential(o3.Linear(MIXED, MIXED), layer)


def gate() -> tuple[nn.Module, Symmetry, Tensor]:
    made = layers.Gate("4x0e", [torch.nn.functional.silu], "3x0e", [torch.sigmoid], "2x1o+1x2e")
    return made, parity(str(made.irreps_in), str(made.irreps_out)), features(made.irreps_in)


def network(mistake: str = "") -> tuple[nn.Module, Symmetry, Any]:
    """e3nn's own message passing with a head, and one mistake."""

    def forward(module: Any, positions: Tensor, x: Tensor) -> Tensor:
        if mistake == "positions as features":
            x = torch.cat([positions[:, :2], x[:, 2:]], -1)
        if mistake == "positions as a vector":
            x = torch.cat([x[:, :2], positions], -1)
        hidden = module.net({"pos": positions, "x": x})
        if mistake in ("relu", "norm"):
            hidden = module.extra(hidden)
        return module.head(hidden)

    net = networks.SimpleNetwork(SMALL, "4x0e+2x1o", 2.0, 4.0, 8, mul=4, layers=1, pool_nodes=False)
    extra = nn.LayerNorm(10) if mistake == "norm" else nn.ReLU()
    model = Wrapped(forward, net=net, extra=extra, head=o3.Linear("4x0e+2x1o", "1x1o"))
    return model, euclidean("1x1o", ("points", SMALL)), (torch.randn(8, 3), features(SMALL, 8))


def silent_messages() -> tuple[nn.Module, Symmetry, Any]:
    """At initialisation e3nn's messages are multiplied by zero, so that a stretched frame does not show."""
    net = networks.SimpleNetwork("2x0e", "2x0e", 2.0, 4.0, 8, mul=4, layers=1)
    model = Wrapped(lambda m, pos, x: m.net({"pos": pos * torch.tensor([1.0, 1.0, 0.3]).to(pos), "x": x}), net=net)
    return model, euclidean(input=("points", "2x0e")), (torch.randn(8, 3), features("2x0e", 8))


def harmonics(x: Tensor) -> Tensor:
    return o3.spherical_harmonics([0, 1, 2], x, True)


CASES = [
    Foreign("linear", "exact", lambda: (o3.Linear(MIXED, MIXED), parity(MIXED, MIXED), features(MIXED)), quiet=True),
    Foreign(
        "tensor product",
        "exact",
        lambda: (product(), Symmetry("O(3)", (SMALL, SMALL), "2x0e+1x1o+1x1e"), (features(SMALL), features(SMALL))),
    ),
    Foreign(
        "tensor product with the wrong parity",
        "broken",
        lambda: (product(), Symmetry("O(3)", (SMALL, SMALL), "2x0e+2x1o"), (features(SMALL), features(SMALL))),
        "reflections|parity|pseudo",
    ),
    Foreign(
        "tensor product without reflections",
        "exact",
        lambda: (product(), Symmetry("SO(3)", (SMALL, SMALL), "2x0e+2x1o"), (features(SMALL), features(SMALL))),
    ),
    Foreign("gate", "exact", gate),
    Foreign(
        "norm activation",
        "exact",
        lambda: (layers.NormActivation(MIXED, torch.sigmoid), parity(MIXED, MIXED), features(MIXED)),
    ),
    Foreign("its batch norm", "exact", lambda: (layers.BatchNorm(MIXED), parity(MIXED, MIXED), features(MIXED))),
    Foreign(
        "its dropout", "broken", lambda: (layers.Dropout(MIXED, 0.5), parity(MIXED, MIXED), features(MIXED)), "random"
    ),
    Foreign("harmonics", "exact", lambda: (harmonics, parity("1x1o", "0e+1o+2e"), features("1x1o"))),
    Foreign(
        "harmonics with the wrong parity",
        "broken",
        lambda: (harmonics, parity("1x1o", "0e+1e+2e"), features("1x1o")),
        "reflections|parity|pseudo",
    ),
    Foreign("relu on odd scalars", "broken", lambda: (nn.ReLU(), parity("4x0o", "4x0o"), features("4x0o"))),
    Foreign(
        "relu on odd scalars, turned", "exact", lambda: (nn.ReLU(), Symmetry("SO(3)", "4x0o", "4x0o"), features("4x0o"))
    ),
    Foreign(
        "relu on vectors",
        "broken",
        lambda: (followed_by(nn.ReLU()), parity(MIXED, MIXED), features(MIXED)),
        "nonlinear",
    ),
    Foreign(
        "layer norm over components",
        "broken",
        lambda: (followed_by(nn.LayerNorm(15)), parity(MIXED, MIXED), features(MIXED)),
        "normalisation|statistics",
    ),
    Foreign(
        "batch norm over components",
        "broken",
        lambda: (followed_by(nn.BatchNorm1d(15)), parity(MIXED, MIXED), features(MIXED)),
        "normalisation|statistics",
    ),
    Foreign(
        "dense layer over components",
        "broken",
        lambda: (followed_by(nn.Linear(15, 15)), parity(MIXED, MIXED), features(MIXED)),
        "mixes|component",
    ),
    Foreign("network", "exact", network),
    Foreign("network with relu", "broken", lambda: network("relu"), "nonlinear"),
    Foreign("network with layer norm", "broken", lambda: network("norm"), "normalisation|statistics"),
    Foreign(
        "network with positions as features",
        "broken",
        lambda: network("positions as features"),
        "coordinates|position|orientation|frame|axis",
    ),
    Foreign(
        "network with positions as a vector",
        "broken",
        lambda: network("positions as a vector"),
        "absolute position|centroid",
    ),
    Foreign("a break that zero messages hide", "exact|vacuous", silent_messages, risk="perturbed parameters"),
]


@pytest.fixture(autouse=True)
def built_in_float64() -> Any:
    """e3nn rounds its constants to the default type when it builds a module."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(kept)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_mathematics_says(case: Foreign) -> None:
    examine(case)


def test_constants_rounded_to_float32_are_called_that() -> None:
    torch.set_default_dtype(torch.float32)
    kinds = ("1x4e", "1x3o")
    model = o3.FullyConnectedTensorProduct(*kinds, "1x5o+1x1o")
    case = Foreign(
        "degrees 3 to 5",
        "exact|approximate",
        lambda: (model, Symmetry("O(3)", kinds, "1x5o+1x1o"), tuple(map(features, kinds))),
        "float32",
    )
    assert examine(case).worst_error < 1e-6
