"""Coordinates that know distances only: against scipy, scikit-learn and the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from erlangen.groups import E, O, classical_mds
from erlangen.groups.frames import MDSFrame, eigh_safe

SEEDS = st.integers(0, 10_000)


def cloud(seed: int, count: int = 12, n: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, count, n, generator=generator, dtype=torch.float64)
    return x * torch.arange(1.0, n + 1, dtype=torch.float64)


@given(SEEDS, st.booleans(), st.sampled_from(["ignore", "keep"]), st.sampled_from([2, 3, 4]))
@settings(max_examples=20, deadline=None)
def test_the_coordinates_are_invariant_and_follow_the_order(seed: int, scale: bool, chirality: str, n: int) -> None:
    x = cloud(seed, n=n)
    frame = MDSFrame(scale=scale, chirality=chirality)  # type: ignore[arg-type]
    if float(frame.margin(x).min()) < 1e-4:
        return
    generator = torch.Generator().manual_seed(seed)
    group = E(n)
    g = group.sample((2,), generator=generator, dtype=torch.float64)
    if chirality == "keep":
        g[:, :n, :n] *= torch.where(torch.linalg.det(g[:, :n, :n]) < 0, -1.0, 1.0)[:, None, None] if n % 2 else 1.0
        if n % 2 == 0:
            g[:, :n, 0] *= torch.linalg.det(g[:, :n, :n]).sign()[:, None]
    order = torch.randperm(x.shape[1], generator=generator)
    moved = (x @ g[:, :n, :n].mT + g[:, None, :n, n])[:, order] * (2.7 if scale else 1.0)
    assert torch.allclose(frame.coordinates(moved), frame.coordinates(x)[:, order], atol=1e-9)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_distances_stay_and_twice_is_once(seed: int) -> None:
    x = cloud(seed)
    frame = MDSFrame(scale=False)
    h = frame.coordinates(x)
    assert torch.allclose(torch.cdist(h, h), torch.cdist(x, x), atol=1e-10)
    assert torch.allclose(frame.coordinates(h), h, atol=1e-10)
    scaled = MDSFrame().coordinates(x)
    assert torch.allclose(MDSFrame().coordinates(scaled), scaled, atol=1e-10)
    assert torch.allclose(scaled.square().sum((-2, -1)), torch.full((2,), 12.0, dtype=torch.float64))


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_scaling_the_distances_gives_the_same_coordinates(seed: int) -> None:
    x = cloud(seed, count=16)
    h = MDSFrame(scale=False).coordinates(x)
    for dim in (3, None):
        found = classical_mds(torch.cdist(x, x), dim, mass=1.0)
        assert torch.allclose(found.coordinates[..., :3].abs(), h.abs(), atol=1e-8)
        assert float(found.lost.abs().max()) < 1e-9


def test_against_the_textbook_with_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    d = np.abs(rng.normal(size=(20, 20)))
    d = (d + d.T) * (1 - np.eye(20))
    j = np.eye(20) - 1 / 20
    values, vectors = linalg.eigh(-0.5 * j @ d**2 @ j)
    found = classical_mds(torch.from_numpy(d), 3)
    expected = vectors[:, ::-1][:, :3] * np.sqrt(values[::-1][:3])
    assert np.allclose(np.abs(found.coordinates.numpy()), np.abs(expected), atol=1e-8)
    assert float(found.lost) == pytest.approx(1 - values[::-1][:3].sum() / np.abs(values).sum(), abs=1e-9)
    assert values.min() < -0.1, "the distances fit no flat space, so that mass is lost"


def test_against_scikit_learn() -> None:
    manifold = pytest.importorskip("sklearn.manifold")
    if not hasattr(manifold, "ClassicalMDS"):
        pytest.skip("this scikit-learn has no ClassicalMDS")
    x = cloud(3)[0]
    theirs = manifold.ClassicalMDS(n_components=3).fit_transform(x.numpy())
    assert np.allclose(np.abs(theirs), MDSFrame(scale=False).coordinates(x).abs().numpy(), atol=1e-8)


def test_mirror_images() -> None:
    x = cloud(5)
    mirrored = x * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert torch.allclose(MDSFrame().coordinates(x), MDSFrame().coordinates(mirrored))
    kept = MDSFrame(chirality="keep")
    assert not torch.allclose(kept.coordinates(x), kept.coordinates(mirrored), atol=0.1)
    assert torch.allclose(
        torch.linalg.det(MDSFrame(scale=False, chirality="keep", center=False)(x).elements),
        torch.ones(2, 1, dtype=torch.float64),
    )


def test_the_rule_for_the_sign_does_not_look_at_the_order() -> None:
    """The sign of the first entry, a common rule, fails here."""
    x = cloud(7)
    frame, order = MDSFrame(), torch.tensor([3, 1, 0, 2, *range(4, 12)])
    assert torch.allclose(frame.coordinates(x)[:, order], frame.coordinates(x[:, order]))
    naive = frame.coordinates(x) * frame.coordinates(x)[:, :1].sign()
    again = frame.coordinates(x[:, order]) * frame.coordinates(x[:, order])[:, :1].sign()
    assert not torch.allclose(naive[:, order], again)


def test_signs_where_third_moments_vanish() -> None:
    """1 + 1 - 2 = 0 for the cubes of the entries, and 2 - 2^(5/3) < 0 for the fifth powers: these decide."""
    column = torch.tensor([[1.0], [1.0], [-(2.0 ** (1 / 3))]], dtype=torch.float64)
    frame = MDSFrame(center=False)
    assert torch.allclose(frame.coordinates(column), frame.coordinates(-column))
    assert float(frame.coordinates(column).pow(5).sum()) > 0


def test_the_element_maps_back() -> None:
    x = cloud(9)
    frame = MDSFrame()
    g = frame(x).elements[:, 0]
    h = frame.coordinates(x)
    assert torch.allclose(h @ g[:, :3, :3].mT + g[:, None, :3, 3], x)
    assert frame(x).elements.shape == (2, 1, 4, 4)
    assert MDSFrame(sign="average")(x).elements.shape == (2, 8, 4, 4)
    assert MDSFrame(sign="average", chirality="keep").coordinates(x).shape == (2, 4, 12, 3)
    assert MDSFrame(dim=2).coordinates(x).shape == (2, 12, 2)


def test_bad_distances_are_named() -> None:
    good = torch.cdist(cloud(0), cloud(0))
    lopsided, negative, diagonal = good.clone(), good.clone(), good.clone()
    lopsided[1, 0, 1] += 1
    negative[0, 0, 1] = negative[0, 1, 0] = -1
    diagonal[0, 2, 2] = 3
    for bad, words in (
        (lopsided, "sample 1 is not symmetric"),
        (negative, "sample 0 holds a negative"),
        (diagonal, "diagonal that is not zero"),
        (good * torch.nan, "NaN"),
        (good[:, :3], "needs distance matrices"),
    ):
        with pytest.raises(ValueError, match=words):
            classical_mds(bad, 2)
    with pytest.raises(ValueError, match="dim: 13"):
        classical_mds(good, 13)
    with pytest.raises(ValueError, match="no inverse"):
        MDSFrame(dim=2)(cloud(0))


@given(SEEDS, st.integers(2, 5))
@settings(max_examples=10, deadline=None)
def test_eigenvectors_differentiate_once_and_twice(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, n, generator=generator, dtype=torch.float64)
    a = (a + a.T + torch.diag(3.0 * torch.arange(n, dtype=torch.float64))).requires_grad_()
    weights = torch.arange(1.0, n + 1, dtype=torch.float64)

    def f(m: Tensor) -> Tensor:
        values, vectors = eigh_safe((m + m.T) / 2)
        return (vectors**3 * weights).sum() ** 2 + (vectors[:, 0] ** 2 * weights).sum() + (values**2 * weights).sum()

    def even(m: Tensor) -> Tensor:
        values, vectors = eigh_safe((m + m.T) / 2)
        return (vectors**4 * weights).sum() + (values**2 * weights).sum()

    assert torch.autograd.gradcheck(f, (a,))
    assert torch.autograd.gradgradcheck(even, (a,))
    tangent = torch.ones_like(a)
    _, forward = torch.func.jvp(even, (a.detach(),), (tangent,))
    assert torch.allclose(forward, (torch.autograd.grad(even(a), a)[0] * tangent).sum())
    batch = torch.stack([a.detach(), 2 * a.detach()])
    assert torch.allclose(torch.func.vmap(even)(batch)[1], even(batch[1]))


def test_gradients_stay_finite_where_eigenvalues_agree() -> None:
    a = torch.diag(torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64)).requires_grad_()
    values, vectors = eigh_safe(a)
    projector = vectors[:, :2] @ vectors[:, :2].T
    weights = torch.arange(9.0, dtype=torch.float64).reshape(3, 3)
    (grad,) = torch.autograd.grad((projector * weights).sum() + values[2], a)
    assert bool(torch.isfinite(grad).all())
    step = torch.zeros(3, 3, dtype=torch.float64)
    step[0, 2] = step[2, 0] = 1e-6
    ahead = eigh_safe(a.detach() + step)
    expected = ((ahead[1][:, :2] @ ahead[1][:, :2].T - projector) * weights).sum() / 1e-6
    assert float((grad * step).sum() / 1e-6) == pytest.approx(float(expected), abs=1e-4)
    _, theirs = torch.linalg.eigh(a)
    (broken,) = torch.autograd.grad((theirs[:, :2] @ theirs[:, :2].T * weights).sum(), a)
    assert not bool(torch.isfinite(broken).all()), "torch's own derivative is not finite here"
    assert O(3).dim == 3
