"""Plain functions: SciPy, scikit-learn, NumPy, kornia, torchmetrics, and geometry as a user writes it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.cluster.hierarchy
import scipy.ndimage
import scipy.signal
import scipy.spatial
import sklearn.cluster
import sklearn.decomposition
import sklearn.kernel_approximation
import sklearn.metrics
import sklearn.neighbors
import sklearn.preprocessing
import torch
from third_party_case import Foreign, cyclic_shifts, euclidean, examine
from torch import Tensor

from erlangen.groups.symmetry import Symmetry

pdist = scipy.spatial.distance.pdist


def points(function: Callable[..., Any], group: str = "E(3)", output: Any = "invariant", count: int = 12) -> Any:
    return lambda: (function, Symmetry(group, "points", output), np.random.default_rng(0).normal(size=(count, 3)))


def pixels(function: Callable[..., Any], group: str = "D4", output: str = "image", size: int = 12) -> Any:
    return lambda: (function, Symmetry(group, "image", output), np.random.default_rng(0).normal(size=(size, size)))


def rolled(function: Callable[..., Any], *, output: bool = True, size: int = 16) -> Any:
    """Shifts of NumPy arrays that the user wrote with NumPy."""

    def draw(generator: torch.Generator, dtype: torch.dtype) -> tuple[int, ...]:
        return tuple(torch.randint(1, size, (2,), generator=generator).tolist())

    symmetry = Symmetry.from_functions(
        draw,
        lambda g, args: (np.roll(args[0], g, (-2, -1)),),
        lambda g, out: np.roll(out, g, (-2, -1)) if output else out,
    )
    return lambda: (function, symmetry, np.random.default_rng(0).normal(size=(size, size)))


def turned_by_the_user(side: str) -> Any:
    """Rotations as SciPy objects; `side` wrong moves the input by the inverse."""

    def draw(generator: torch.Generator, dtype: torch.dtype) -> Any:
        seed = int(torch.randint(1000, (), generator=generator))
        return scipy.spatial.transform.Rotation.random(rng=np.random.default_rng(seed))

    symmetry = Symmetry.from_functions(
        draw, lambda g, args: (g.apply(args[0], inverse=side == "wrong"),), lambda g, out: g.apply(out)
    )
    stretch = lambda x: x * np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    return lambda: (stretch, symmetry, np.random.default_rng(0).normal(size=(8, 3)))


def reference() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(12, 3))


def aligned(inverse: bool) -> Callable[[np.ndarray], np.ndarray]:
    """The rotation that best takes one cloud to the other (Kabsch), or the one that takes it back."""

    def rotation(x: np.ndarray) -> np.ndarray:
        pair = (reference(), x) if inverse else (x, reference())
        return scipy.spatial.transform.Rotation.align_vectors(*pair)[0].as_matrix()

    return rotation


def moments(x: np.ndarray) -> np.ndarray:
    return np.cov(x.T)


def conjugated(g: Tensor, out: Tensor) -> Tensor:
    return g @ out @ g.mT


def capped(x: Tensor) -> Tensor:
    """Every point sums the first two neighbours in the order of the rows: a cap as radius graphs have one."""
    near = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") < 3.0
    near = near & (near.cumsum(-1) <= 2)
    return (near[..., None] * (x[None] - x[:, None])).sum(1)


def nearest_mean(x: Tensor) -> Tensor:
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    near = distance.topk(5, largest=False).indices[:, 1:]
    return (x[near] - x[:, None]).mean(1)


def lattice() -> Tensor:
    return torch.stack(torch.meshgrid(*[torch.arange(3.0)] * 3, indexing="ij"), -1).reshape(-1, 3)


def signed_volume(x: Tensor) -> Tensor:
    return torch.linalg.det(x[1:4] - x[0])


def energy_and_forces(leak: float | int) -> Callable[[Tensor], dict[str, Tensor]]:
    def answer(x: Tensor) -> dict[str, Tensor]:
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            energy = torch.exp(-(x[:, None] - x[None]).pow(2).sum(-1)).sum()
            force = -torch.autograd.grad(energy, x)[0]
        return {"energy": energy.detach(), "forces": force + leak}

    return answer


FIELD = Symmetry("E(3)", "points", {"energy": "invariant", "forces": "vectors"})
FIXED = sklearn.neighbors.KernelDensity(bandwidth=0.7).fit(reference() + 2)

CASES = [
    Foreign("distances", "exact", points(pdist)),
    Foreign("city blocks", "broken", points(lambda x: pdist(x, "cityblock")), "coordinate|orientation|component"),
    Foreign("city blocks, turned by right angles", "exact", points(lambda x: pdist(x, "cityblock"), "O")),
    Foreign("angles from the origin", "broken", points(lambda x: pdist(x, "cosine")), "absolute position|centroid"),
    Foreign("standardised distances", "broken", points(lambda x: pdist(x, "seuclidean"))),
    Foreign("Mahalanobis distances", "exact", points(lambda x: pdist(x, "mahalanobis"))),
    Foreign("volume of the hull", "exact", points(lambda x: scipy.spatial.ConvexHull(x).volume)),
    Foreign("near neighbours in a tree", "exact", points(lambda x: scipy.spatial.cKDTree(x).query(x, 3)[0])),
    Foreign("Procrustes", "exact", points(lambda x: scipy.spatial.procrustes(reference(), x)[2])),
    Foreign("best rotation", "exact", points(aligned(False), "SO(3)", "rotation")),
    Foreign(
        "best rotation, taken back",
        "broken",
        points(aligned(True), "SO(3)", "rotation"),
        "wrong side|inverse|transpose",
    ),
    Foreign("heights of a tree", "exact", points(lambda x: scipy.cluster.hierarchy.linkage(x)[:, 2], "E(3) x S(n)")),
    Foreign("covariance", "exact", points(moments, "O(3)", conjugated)),
    Foreign("principal scores", "broken", points(lambda x: sklearn.decomposition.PCA(2).fit_transform(x))),
    Foreign(
        "sizes of principal scores", "exact", points(lambda x: np.abs(sklearn.decomposition.PCA(2).fit_transform(x)))
    ),
    Foreign("clusters", "exact", points(lambda x: sklearn.cluster.KMeans(2, n_init=1, random_state=0).fit(x).labels_)),
    Foreign(
        "density of itself",
        "exact",
        points(lambda x: sklearn.neighbors.KernelDensity(bandwidth=0.7).fit(x).score_samples(x)),
    ),
    Foreign("density of something fixed", "broken", points(FIXED.score_samples)),
    Foreign("Gaussian kernel", "exact", points(sklearn.metrics.pairwise.rbf_kernel)),
    Foreign(
        "polynomial kernel", "broken", points(sklearn.metrics.pairwise.polynomial_kernel), "absolute position|centroid"
    ),
    Foreign(
        "random features without a seed",
        "broken",
        points(lambda x: sklearn.kernel_approximation.RBFSampler(n_components=8).fit_transform(x)),
        "random",
    ),
    Foreign("scaler, renamed", "exact", points(sklearn.preprocessing.StandardScaler().fit_transform, "S(n)", "rows")),
    Foreign(
        "scaler, turned", "broken", points(sklearn.preprocessing.StandardScaler().fit_transform, "SO(3)", "vectors")
    ),
    Foreign(
        "places of neighbours, renamed",
        "broken",
        points(lambda x: scipy.spatial.cKDTree(x).query(x, 3)[1], "S(n)"),
        "order",
    ),
    Foreign("user's rotations", "exact", turned_by_the_user("right")),
    Foreign(
        "user's rotations from the wrong side", "broken", turned_by_the_user("wrong"), "wrong side|inverse|transpose"
    ),
    Foreign("blur that wraps", "exact", rolled(lambda x: scipy.ndimage.gaussian_filter(x, 1.0, mode="wrap"))),
    Foreign("blur that reflects", "broken", rolled(lambda x: scipy.ndimage.gaussian_filter(x, 1.0)), "padding|border"),
    Foreign("blur, turned", "exact", pixels(lambda x: scipy.ndimage.gaussian_filter(x, 1.0))),
    Foreign("one derivative, turned", "broken", pixels(lambda x: scipy.ndimage.sobel(x, 0), "C4")),
    Foreign(
        "length of the gradient",
        "exact",
        pixels(lambda x: np.hypot(scipy.ndimage.sobel(x, 0), scipy.ndimage.sobel(x, 1))),
    ),
    Foreign("spectrum of an image", "exact", rolled(lambda x: np.abs(np.fft.fft2(x)), output=False)),
    Foreign("capped neighbours", "exact", lambda: (capped, euclidean("vectors"), torch.randn(6, 3))),
    Foreign(
        "capped neighbours, renamed",
        "broken",
        lambda: (capped, Symmetry("S(n)", "rows", "rows"), torch.randn(6, 3)),
        "order|cap",
    ),
    Foreign(
        "near neighbours", "exact", lambda: (nearest_mean, euclidean("vectors"), torch.randn(9, 3)), risk="tied inputs"
    ),
    Foreign("near neighbours on a lattice", "broken", lambda: (nearest_mean, euclidean("vectors"), lattice()), "tie"),
    Foreign(
        "volume with a sign, moved", "exact", lambda: (signed_volume, Symmetry("SE(3)", "points"), torch.randn(6, 3))
    ),
    Foreign(
        "volume with a sign, mirrored", "broken", lambda: (signed_volume, euclidean(), torch.randn(6, 3)), "pseudo"
    ),
    Foreign("energy and forces", "exact", lambda: (energy_and_forces(0), FIELD, torch.randn(6, 3))),
    Foreign("energy and pushed forces", "broken", lambda: (energy_and_forces(5.0), FIELD, torch.randn(6, 3))),
    Foreign("a constant", "vacuous", lambda: (lambda x: torch.ones(3), euclidean(), torch.randn(6, 3))),
    Foreign("noise", "vacuous", lambda: (lambda x: torch.randn(3), euclidean(), torch.randn(6, 3))),
    Foreign("rounding", "vacuous", lambda: (lambda x: (x - x.mean(0)).sum(0), euclidean(), torch.randn(6, 3))),
    Foreign(
        "an offset of 10,000",
        "round-off",
        lambda: (lambda x: torch.cdist(x + 1e4, x + 1e4), euclidean(), torch.randn(6, 3)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_mathematics_says(case: Foreign) -> None:
    examine(case)


def kornia_case(name: str) -> tuple[Any, Symmetry, Tensor]:
    filters = pytest.importorskip("kornia.filters", reason="needs kornia")
    blur = ((5, 5), (1.5, 1.5))
    x = torch.rand(2, 1, 12, 12)
    turned = Symmetry("D4", "image", "image")
    return {
        "blur": (lambda x: filters.gaussian_blur2d(x, *blur), turned, x),
        "wrapped": (lambda x: filters.gaussian_blur2d(x, *blur, border_type="circular"), cyclic_shifts(12), x),
        "reflected": (lambda x: filters.gaussian_blur2d(x, *blur), cyclic_shifts(12), x),
        "edges": (filters.sobel, turned, x),
        "median": (lambda x: filters.median_blur(x, (3, 3)), turned, x),
        "even box": (lambda x: filters.box_blur(x, (4, 4)), Symmetry("C4", "image", "image"), x),
        # kornia's y runs downwards, that of a field upwards
        "gradient": (lambda x: filters.spatial_gradient(x)[:, 0], Symmetry("C4", "image", "field"), x),
        "gradient upwards": (
            lambda x: filters.spatial_gradient(x)[:, 0] * torch.tensor([1.0, -1.0])[:, None, None].to(x),
            Symmetry("C4", "image", "field"),
            x,
        ),
    }[name]


@pytest.mark.parametrize(
    ("name", "verdict", "cause"),
    [
        ("blur", "exact", ""),
        ("wrapped", "exact", ""),
        ("reflected", "broken|approximate", "padding|border"),
        ("edges", "exact", ""),
        ("median", "exact", ""),
        ("even box", "broken|approximate", ""),
        ("gradient", "broken", ""),
        ("gradient upwards", "exact", ""),
    ],
)
def test_kornia_filters(name: str, verdict: str, cause: str) -> None:
    examine(Foreign(f"kornia: {name}", verdict, lambda: kornia_case(name), cause))
