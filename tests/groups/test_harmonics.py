"""Spherical harmonics and Wigner matrices against e3nn and their own laws."""

import contextlib

import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import Irreps, parse
from erlangen.groups.harmonics import sphere_quadrature, spherical_harmonics, wigner_D, wigner_D_all

from .strategies import draws, seeds

L_MAX = 8


@contextlib.contextmanager
def double_precision():
    """e3nn builds its generators in torch's default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@given(seeds, st.sampled_from(["integral", "component", "norm"]))
def test_harmonics_agree_with_e3nn(seed, normalization):
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ours = spherical_harmonics(L_MAX, x, normalization=normalization)
    for degree, value in enumerate(ours):
        theirs = o3.spherical_harmonics(degree, x, True, normalization)
        torch.testing.assert_close(value, theirs, atol=1e-11, rtol=1e-11)


@given(seeds)
def test_wigner_matrices_agree_with_e3nn(seed):
    (r,) = draws("SO(3)", seed, 1)
    angles = o3.matrix_to_angles(r)
    for degree, ours in enumerate(wigner_D_all(L_MAX, r)):
        with double_precision():
            theirs = o3.wigner_D(degree, *angles)
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-7)


@given(seeds, st.integers(0, L_MAX))
def test_wigner_is_orthogonal_a_homomorphism_and_moves_harmonics(seed, degree):
    r, s = draws("SO(3)", seed, 2)
    left = wigner_D(degree, r)
    eye = torch.eye(2 * degree + 1, dtype=torch.float64).expand_as(left)
    torch.testing.assert_close(left @ left.mT, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(wigner_D(degree, r @ s), left @ wigner_D(degree, s), atol=1e-12, rtol=0)
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    moved = spherical_harmonics(degree, torch.einsum("bij,bj->bi", r, x), normalization="component")[degree]
    still = spherical_harmonics(degree, x, normalization="component")[degree]
    torch.testing.assert_close(moved, torch.einsum("bij,bj->bi", left, still), atol=1e-11, rtol=0)


def test_degree_one_is_the_rotation_itself():
    (r,) = draws("SO(3)", 0, 1)
    assert torch.equal(wigner_D(1, r), r)


def test_harmonics_are_orthonormal_over_the_sphere():
    points, weights = sphere_quadrature(2 * L_MAX)
    y = torch.cat(spherical_harmonics(L_MAX, points, normalization="component"), -1)
    gram = torch.einsum("pi,pj,p->ij", y, y, weights)
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), atol=1e-12, rtol=0)


def test_gradient_exists_everywhere():
    """e3nn's Euler angles have singular derivatives at the identity; the polynomial has none."""
    r = torch.eye(3, dtype=torch.float64, requires_grad=True)
    weights = torch.arange(25.0, dtype=torch.float64).reshape(5, 5)
    (gradient,) = torch.autograd.grad((wigner_D(2, r) * weights).sum(), r)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ["SO(3)", "O(3)", "SE(3)", "E(3)", "Octahedral"])
def test_irreps_strings_agree_with_e3nn(name):
    text = "2x0e+1x0o+1x1e+2x1o+1x2e+2x3o"
    group = parse(name)
    (g,) = draws(group, 0, 1)
    with double_precision():
        theirs = o3.Irreps(text).D_from_matrix(group.point_matrix(g, 3, torch.float64))
    rep = Irreps(text, group)
    torch.testing.assert_close(rep.matrix(g, torch.float64), theirs, atol=1e-7, rtol=1e-7)
    assert rep.dim == o3.Irreps(text).dim and [(s.start, s.stop) for s in rep.slices] == [
        (s.start, s.stop) for s in o3.Irreps(text).slices()
    ]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="irreps: cannot read 'x1o'"):
        Irreps("8x0e + x1o")
    with pytest.raises(ValueError, match=r"need SO\(3\)"):
        Irreps("1o", parse("SO(2)"))


def test_nan_stays_nan():
    y = spherical_harmonics(2, torch.zeros(1, 3), normalization="component")
    assert torch.isnan(y[2]).all()
