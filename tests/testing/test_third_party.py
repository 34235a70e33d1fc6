"""Models and functions that we did not write, with known symmetries."""

import numpy as np
import pytest
import scipy.spatial
import sklearn.decomposition
import sklearn.preprocessing
import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import check


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = transformer()
        self.table = nn.Parameter(torch.randn(5, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x + self.table)


def transformer() -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def shifts(n: int, even: bool = False) -> Symmetry:
    """Whole-pixel circular shifts of images, written by a user as three functions."""

    def draw(generator: torch.Generator, dtype: torch.dtype) -> tuple[int, int]:
        dy, dx = torch.randint(n, (2,), generator=generator).tolist()
        return (2 * dy, 2 * dx) if even else (dy, dx)

    return Symmetry.from_functions(
        draw, lambda g, a: (torch.roll(a[0], g, (-2, -1)),), lambda g, out: torch.roll(out, g, (-2, -1))
    )


def test_transformer_encoder_without_positions_is_permutation_equivariant() -> None:
    torch.manual_seed(0)
    result = check(transformer().eval(), Symmetry("S(n)", "rows", "rows"), torch.randn(2, 5, 16))
    assert result.verdict == "exact", str(result)
    assert any(r.name == "train mode" for r in result.risks), str(result)


def test_transformer_encoder_with_positions_is_not() -> None:
    torch.manual_seed(0)
    result = check(Positions().eval(), Symmetry("S(n)", "rows", "rows"), torch.randn(2, 5, 16))
    assert result.verdict == "broken" and "order of the rows" in str(result), str(result)


def test_plain_cnn_under_shifts() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 16, 16)
    circular = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"),
    )
    assert check(circular, shifts(16), x).verdict == "exact"
    padded = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    result = check(padded, shifts(16), x)
    assert result.verdict == "broken" and "padding" in str(result), str(result)
    assert (result.first_breaking or "").startswith("0 (Conv2d")


def test_e3nn_with_and_without_a_mistake() -> None:
    o3 = pytest.importorskip("e3nn.o3")
    torch.manual_seed(0)
    product = o3.FullyConnectedTensorProduct("2x0e+1x1o", "2x0e+1x1o", "2x0e+1x1o+1x1e")
    kinds, inputs = ("2x0e+1x1o", "2x0e+1x1o"), (torch.randn(4, 5), torch.randn(4, 5))
    assert check(product, Symmetry("O(3)", kinds, "2x0e+1x1o+1x1e"), inputs).verdict == "exact"
    assert check(product, Symmetry("SO(3)", kinds, "2x0e+2x1o"), inputs).verdict == "exact"
    assert check(product, Symmetry("O(3)", kinds, "2x0e+2x1o"), inputs).verdict == "broken"


def test_interpolation_is_named_as_the_cause_for_pooled_images() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 16, 16)
    assert check(lambda x: x.mean((-2, -1)), Symmetry("C4", "image", "invariant"), x).verdict == "exact"
    result = check(lambda x: x.pow(2).mean((-2, -1)), Symmetry("C8", "image", "invariant"), x)
    assert any(cause.startswith("interpolation") for cause in result.causes), str(result)


def test_a_scripted_module_and_forces_by_autograd() -> None:
    torch.manual_seed(0)
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 8), nn.ReLU()))
    assert check(scripted, Symmetry("S(n)", "rows", "rows"), torch.randn(5, 3)).verdict == "exact"

    def forces(x: Tensor) -> Tensor:
        energy = 1 / (1 + (x[:, None] - x[None]).pow(2).sum(-1))
        return -torch.autograd.grad(energy.sum(), x)[0]

    assert check(forces, Symmetry("E(3)", "points", "vectors"), torch.randn(5, 3)).verdict == "exact"


def test_schnet_from_pyg() -> None:
    nets = pytest.importorskip("torch_geometric.nn.models.schnet")

    def all_pairs(pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        n = len(pos)
        source, target = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        keep = source != target
        edges = torch.stack([source[keep], target[keep]])
        return edges, (pos[edges[0]] - pos[edges[1]]).norm(dim=-1)

    torch.manual_seed(0)
    model = nets.SchNet(
        hidden_channels=16, num_filters=16, num_interactions=2, num_gaussians=8, interaction_graph=all_pairs
    ).eval()
    z, pos = torch.randint(1, 9, (6,)), torch.randn(6, 3)
    result = check(lambda pos: model(z, pos), Symmetry("E(3)", "points", "invariant"), pos)
    assert result.verdict == "exact", str(result)
    result = check(model, Symmetry("E(3)", ("invariant", "points"), "invariant"), (z, pos))
    assert result.verdict == "exact", str(result)


@pytest.mark.parametrize(
    ("function", "group", "output", "verdict"),
    [
        (scipy.spatial.distance.pdist, "E(3)", "invariant", "exact"),
        (lambda x: scipy.spatial.ConvexHull(x).volume, "E(3)", "invariant", "exact"),
        (lambda x: np.linalg.svd(x - x.mean(0), compute_uv=False), "E(3)", "invariant", "exact"),
        (lambda x: np.linalg.svd(x, compute_uv=False), "E(3)", "invariant", "broken"),
        (lambda x: np.median(x, axis=0, keepdims=True), "SE(3)", "points", "broken"),
        (lambda x: np.mean(x, axis=0, keepdims=True), "E(3)", "points", "exact"),
        (lambda x: sklearn.preprocessing.StandardScaler().fit_transform(x), "SO(3)", "points", "broken"),
        (lambda x: sklearn.decomposition.PCA(3).fit(x).explained_variance_, "E(3)", "invariant", "exact"),
        (lambda x: np.argsort(x[:, 0]).astype(float), "O(3)", "invariant", "broken"),
    ],
)
def test_scipy_and_sklearn_functions(function: object, group: str, output: str, verdict: str) -> None:
    x = np.random.default_rng(0).normal(size=(8, 3))
    result = check(function, Symmetry(group, "points", output), x)
    assert result.verdict == verdict, str(result)
    assert result.seconds < 5
