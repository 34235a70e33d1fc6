"""GL+(n), SL(n), U(n) and SU(n): logarithms, Haar measure and membership against facts from outside."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import logm

from erlangen.groups import SL, SU, GLPlus, GroupLogError, GroupMembershipError, U
from erlangen.groups.matrix_log import principal_logarithm

from .strategies import draws, seeds


@given(st.integers(1, 5), seeds)
def test_the_logarithm_is_scipys(n, seed):
    m = torch.linalg.matrix_exp(
        0.6 * torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    )
    try:
        ours = principal_logarithm(m)
    except GroupLogError:
        return
    torch.testing.assert_close(ours, torch.from_numpy(logm(m.numpy()).real), atol=1e-8, rtol=1e-8)


def test_a_shear_has_a_logarithm_although_it_has_no_eigenvectors():
    shear = torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    want = torch.tensor([[0.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(SL(2).hat(SL(2).log(shear)), want)


@pytest.mark.parametrize("group", [SL(2), GLPlus(2)])
def test_the_exponential_is_not_onto(group):
    with pytest.raises(GroupLogError, match="negative real eigenvalue"):
        group.log(torch.diag(torch.tensor([-2.0, -0.5], dtype=torch.float64)))


@given(st.sampled_from(["GL+(2)", "GL+(3)", "SL(2)", "SL(3)"]), seeds)
def test_exp_inverts_log_where_there_is_one(name, seed):
    from erlangen.groups import parse

    group = parse(name)
    v = 0.5 * torch.randn(5, group.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(group.log(group.exp(v)), v, atol=1e-9, rtol=1e-9)


@given(st.integers(1, 3), st.booleans(), seeds)
def test_log_prob_is_the_density_with_respect_to_haar(n, special, seed):
    """The volume of the map (X, w) -> exp(X) exp(w) R is |det g|^n times the stated density of Haar measure."""
    group = SL(n) if special else GLPlus(n)
    (g,) = draws(group, seed, 1, ())
    # A left translation keeps Haar measure: compare the volume at g with that at the identity, in left-invariant frames.
    u, s, _ = torch.linalg.svd(g)
    symmetric = group.dim - n * (n - 1) // 2
    x = group.vee((u * s.log()) @ u.mT)[:symmetric]
    rotation = (u / s) @ u.mT @ g

    def chart(p):
        pad = torch.zeros(group.dim, dtype=torch.float64)
        stretch = group.exp(torch.cat([x + p[:symmetric], pad[symmetric:]]))
        return stretch @ group.exp(torch.cat([pad[:symmetric], p[symmetric:]])) @ rotation

    velocity = torch.autograd.functional.jacobian(chart, torch.zeros(group.dim, dtype=torch.float64))
    if not group.dim:
        return
    frame = torch.stack([group.vee(torch.linalg.solve(g, velocity[..., k])) for k in range(group.dim)])
    volume = torch.linalg.det(frame).abs().log()
    spread = 0.7
    gaussian = -s.log().square().sum() / (2 * spread**2) - symmetric * math.log(spread * math.sqrt(2 * math.pi))
    torch.testing.assert_close(group.log_prob(g, radius=spread), gaussian - volume, atol=1e-8, rtol=1e-8)


@given(seeds)
def test_special_linear_stays_special(seed):
    a, b = draws("SL(3)", seed, 2, (20,))
    assert torch.allclose(torch.linalg.det(a @ b), torch.ones(20, dtype=torch.float64), atol=1e-9)
    drifted = a + 1e-4 * torch.randn(20, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    back = SL(3).project(drifted)
    assert SL(3).contains(back, 1e-9).all() and float((back - a).abs().max()) < 1e-2 * float(a.abs().max())


@pytest.mark.parametrize(("group", "moments"), [(U(2), (1.0, 2.0)), (U(3), (1.0, 2.0)), (SU(2), (1.0, 2.0))])
def test_traces_have_the_moments_of_haar_measure(group, moments):
    """E|tr g|^2 = 1 and E|tr g|^4 = 2 (P. Diaconis and M. Shahshahani, 1994); SU(2) has E|tr|^4 = 2, a Catalan number."""
    g = group.sample(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    trace = torch.diagonal(g, dim1=-2, dim2=-1).sum(-1).abs().square()
    assert float(trace.mean()) == pytest.approx(moments[0], abs=0.05)
    assert float(trace.square().mean()) == pytest.approx(moments[1], abs=0.2)


@given(st.sampled_from([U(2), SU(2), SU(3), SU(4)]), seeds)
def test_logarithms_are_short_and_antihermitian(group, seed):
    (g,) = draws(group, seed, 1)
    w = group.hat(group.log(g))
    torch.testing.assert_close(w, -w.mH)
    torch.testing.assert_close(torch.linalg.matrix_exp(w), g, atol=1e-10, rtol=0)
    length = w.abs().square().sum((-2, -1)).sqrt()
    torch.testing.assert_close(length, group.distance(torch.eye(group.n, dtype=g.dtype), g), atol=1e-9, rtol=1e-9)


def test_special_unitary_logarithm_has_no_trace_even_where_the_principal_one_has():
    angles = torch.tensor([0.9, 0.9, 0.2], dtype=torch.float64) * math.pi
    g = torch.diag(torch.polar(torch.ones(3, dtype=torch.float64), angles))
    w = SU(3).hat(SU(3).log(g))
    assert abs(complex(w.trace())) < 1e-12
    torch.testing.assert_close(torch.linalg.matrix_exp(w), g, atol=1e-12, rtol=0)


@given(st.sampled_from(["GL+(2)", "SL(2)", "SU(2)", "SU(3)", "U(2)"]), seeds)
def test_reductive_groups_are_unimodular(name, seed):
    from erlangen.groups import parse

    (g,) = draws(name, seed, 1)
    torch.testing.assert_close(parse(name).modular(g), torch.ones(6, dtype=torch.float64), atol=1e-7, rtol=0)


def test_membership_errors_name_group_condition_and_place():
    m = torch.eye(2, dtype=torch.float64).repeat(3, 1, 1)
    m[1, 0, 0] = -1.0
    with pytest.raises(GroupMembershipError, match=r"GL\+\(2\) needs det > 0, given -1 at index \(1,\)"):
        GLPlus(2).log(m)
    with pytest.raises(GroupMembershipError, match=r"SL\(2\) needs det = 1, given 4"):
        SL(2).log(2 * torch.eye(2, dtype=torch.float64))
    assert not bool(GLPlus(2).contains(torch.full((2, 2), math.nan)))
    for make in (GLPlus, SL, U, SU):
        with pytest.raises(ValueError, match="n >= 1"):
            make(0)
