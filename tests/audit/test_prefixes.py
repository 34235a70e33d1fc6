"""The curve over prefixes: what it counts, and that the PCA baseline is the one of linear algebra."""

import pytest
import torch

from erlangen.audit.matryoshka import matryoshka_curve, principal_components


def clusters(seed, n=40, d=6, classes=4):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % classes
    return torch.eye(classes, d)[label] * 3 + 0.3 * torch.randn(n, d, generator=generator), label


def test_the_components_diagonalise_the_covariance_in_falling_order():
    x = clusters(0)[0].double()
    mean, directions = principal_components(x)
    covariance = torch.cov(((x - mean) @ directions).T)
    assert torch.allclose(covariance, covariance.diagonal().diag(), atol=1e-12)
    assert bool((covariance.diagonal().diff() <= 1e-12).all())


def test_the_curve_counts_nearest_neighbours_and_pca_ignores_the_order_of_the_coordinates():
    fitted, asked = clusters(0), clusters(1)
    curve = matryoshka_curve(fitted, asked, [2, 6])
    for m, value in zip(curve.dims, curve.prefix, strict=True):
        right = 0
        for row, y in zip(asked[0][:, :m], asked[1], strict=True):
            cosines = [float(row @ g / (row.norm() * g.norm())) for g in fitted[0][:, :m]]
            right += int(int(fitted[1][max(range(40), key=cosines.__getitem__)]) == int(y))
        assert value == pytest.approx(right / 40)
    assert curve.prefix[-1] == 1.0 and curve.pca[0] > 0.6
    order = torch.tensor([5, 4, 3, 2, 1, 0])
    turned = matryoshka_curve((fitted[0][:, order], fitted[1]), (asked[0][:, order], asked[1]), [2, 6])
    assert turned.pca == curve.pca and turned.prefix[0] < curve.prefix[0]


def test_bad_curves_are_named():
    fitted = clusters(0)
    with pytest.raises(ValueError, match="dims: 9 of embeddings with 6 and 6"):
        matryoshka_curve(fitted, fitted, [9])
    with pytest.raises(ValueError, match="dims: 2 after 2"):
        matryoshka_curve(fitted, fitted, [2, 2])
