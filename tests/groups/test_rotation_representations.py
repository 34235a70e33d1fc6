"""Rotation representations: right inverses, equivariance, degenerate rows, and what SciPy and roma say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from erlangen.groups import rotations as ro
from erlangen.groups.rotations.euler import ORDERS

SEEDS = st.integers(0, 2**31 - 1)
DTYPES = st.sampled_from([torch.float64, torch.float32])
ATOL = {torch.float64: 1e-10, torch.float32: 2e-5}
PAIRS = {
    "6d": (ro.from_6d, ro.to_6d, 6),
    "5d": (ro.from_5d, ro.to_5d, 5),
    "9d": (ro.from_9d, ro.to_9d, 9),
    "10d": (ro.from_10d, ro.to_10d, 10),
    "quaternion": (ro.from_quaternion, ro.to_quaternion, 4),
    "axis_angle": (ro.from_axis_angle, ro.to_axis_angle, 3),
    "rodrigues": (ro.from_rodrigues, ro.to_rodrigues, 3),
    "euler": (lambda x: ro.from_euler(x, "XYZ"), lambda m: ro.to_euler(m, "XYZ"), 3),
}


def noise(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def drawn(seed, count=8, n=3, dtype=torch.float64):
    return ro.random((count,), n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(a, b, atol):
    assert a.shape == b.shape
    assert float((a - b).detach().abs().max()) <= atol


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=10)
@given(seed=SEEDS, dtype=DTYPES)
def test_every_representation_has_its_right_inverse(name, seed, dtype):
    make, read, size = PAIRS[name]
    rotation = drawn(seed, dtype=dtype)
    numbers = read(rotation)
    assert numbers.shape == (8, size) and numbers.dtype == dtype
    # the Rodrigues vector of a rotation near half a turn is long, and Euler angles near the lock lose digits
    loss = 100 if name in ("rodrigues", "euler", "10d") else 1
    close(make(numbers), rotation, ATOL[dtype] * loss)


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=10)
@given(seed=SEEDS, dtype=DTYPES)
def test_any_numbers_make_a_rotation(name, seed, dtype):
    make, _, size = PAIRS[name]
    rotation = make(noise(seed, 4, 5, size, dtype=dtype))
    eye = torch.eye(3, dtype=dtype).expand(4, 5, 3, 3)
    close(rotation.mT @ rotation, eye, 1e-12 if dtype == torch.float64 else 2e-6)
    close(torch.linalg.det(rotation), torch.ones(4, 5, dtype=dtype), 1e-5)


@settings(max_examples=15)
@given(seed=SEEDS, dtype=DTYPES, scale=st.floats(-25, 25))
def test_six_numbers_turn_with_their_vectors_and_forget_lengths(seed, dtype, scale):
    x, q = noise(seed, 7, 2, 3, dtype=dtype), drawn(seed + 1, 1, dtype=dtype)
    rotation = ro.from_6d(x.flatten(-2))
    close(ro.from_6d((x @ q.mT).flatten(-2)), q @ rotation, 1e2 * ATOL[dtype])
    stretch = torch.tensor([[10.0**scale], [10.0 ** (-scale)]], dtype=dtype)
    close(ro.from_6d((x * stretch).flatten(-2)), rotation, 1e2 * ATOL[dtype])


@settings(max_examples=15)
@given(seed=SEEDS, dtype=DTYPES)
def test_nine_numbers_turn_from_both_sides(seed, dtype):
    m, p, q = noise(seed, 6, 3, 3, dtype=dtype), drawn(seed + 1, 1, dtype=dtype), drawn(seed + 2, 1, dtype=dtype)
    left = ro.project(p @ m @ q)
    gap = torch.linalg.svdvals(m)
    sure = (gap[:, 1] + torch.linalg.det(m).sign() * gap[:, 2]) > 0.05 * gap[:, 0]
    close(left[sure], (p @ ro.project(m) @ q)[sure], 1e3 * ATOL[dtype]) if bool(sure.any()) else None


@settings(max_examples=15)
@given(seed=SEEDS, dtype=DTYPES)
def test_the_closed_form_is_the_svd(seed, dtype):
    m = noise(seed, 200, 3, 3, dtype=dtype)
    u, s, vh = torch.linalg.svd(m.double())
    sign = torch.linalg.det(u @ vh)
    best = (s[:, 0] + s[:, 1] + sign * s[:, 2]) / s.norm(dim=-1)
    reached = (ro.project(m).double() * m.double()).sum((-2, -1)) / s.norm(dim=-1)
    close(reached, best, 1e-12 if dtype == torch.float64 else 2e-6)


def test_blocks_and_hard_rows_agree_with_the_svd():
    m = noise(0, 40_000, 3, 3)
    m[::7, 2] = m[::7, 1] * 1e-9  # nearly singular
    m[::11] = torch.diag(torch.tensor([1.0, 1.0, -0.999], dtype=torch.float64))  # nearly not unique
    u, _, vh = torch.linalg.svd(m)
    sign = torch.linalg.det(u @ vh)
    u = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], -1)
    close((ro.project(m) * m).sum((-2, -1)), ((u @ vh) * m).sum((-2, -1)), 1e-10)
    x = noise(1, 40_000, 6)
    close(ro.from_6d(x)[-3:], ro.from_6d(x[-3:]), 1e-14)
    close(ro.to_quaternion(ro.from_6d(x))[-3:], ro.to_quaternion(ro.from_6d(x[-3:])), 1e-14)


@settings(max_examples=15)
@given(seed=SEEDS, dtype=DTYPES, n=st.integers(2, 6))
def test_any_dimension_by_gram_schmidt(seed, dtype, n):
    special = ro.from_columns(noise(seed, 5, n, n - 1, dtype=dtype))
    eye = torch.eye(n, dtype=dtype).expand(5, n, n)
    close(special.mT @ special, eye, 1e-12 if dtype == torch.float64 else 3e-6)
    close(torch.linalg.det(special), torch.ones(5, dtype=dtype), 1e-5)
    close(ro.from_columns(ro.to_columns(special)), special, ATOL[dtype])
    whole = ro.from_columns(noise(seed, 5, n, n, dtype=dtype))
    close(whole.mT @ whole, eye, 1e-12 if dtype == torch.float64 else 3e-6)
    close(ro.from_columns(ro.to_columns(whole, special=False)), whole, ATOL[dtype])
    q, a = drawn(seed, 1, n, dtype=dtype), noise(seed + 1, 5, n, n - 1, dtype=dtype)
    close(ro.from_columns(q @ a), q @ ro.from_columns(a), 1e3 * ATOL[dtype])


@settings(max_examples=10)
@given(seed=SEEDS, dtype=DTYPES, n=st.integers(3, 6))
def test_stereographic_numbers_are_fewer_bounded_and_enough(seed, dtype, n):
    rotation = drawn(seed, 20, n, dtype=dtype)
    numbers = ro.to_stereographic(rotation)
    assert numbers.shape[-1] == n * n - 2 * n + 2
    assert float(numbers.abs().max()) <= 1 + 1e-5
    close(ro.from_stereographic(numbers, n), rotation, 5 * ATOL[dtype])


def test_five_numbers_are_those_of_the_paper():
    rotation = drawn(3, 50)
    v = rotation[..., :2].mT.flatten(-2)
    w = v[:, 2:] / v[:, 2:].norm(dim=-1, keepdim=True)
    s = w[:, 1:] / (1 - w[:, :1])
    root = math.sqrt(2)
    paper = torch.cat([v[:, :2], s / torch.tensor([root + 1, root + 1, root], dtype=torch.float64)], -1)
    close(ro.to_5d(rotation), paper, 1e-14)


@settings(max_examples=10)
@given(seed=SEEDS, n=st.integers(2, 5))
def test_the_vector_product_in_n_dimensions(seed, n):
    a, q = noise(seed, 3, n, n - 1), drawn(seed, 1, n)
    c = ro.generalized_cross(a)
    close((c[:, None] @ a)[:, 0], torch.zeros(3, n - 1, dtype=torch.float64), 1e-10)
    assert bool((torch.linalg.det(torch.cat([a, c[..., None]], -1)) >= 0).all())
    close(ro.generalized_cross(q @ a), (q @ c[..., None])[..., 0], 1e-9)


@pytest.mark.parametrize("order", [o for name in ORDERS for o in (name, name.upper())])
def test_euler_angles_are_scipys_also_at_the_lock(order):
    angles = noise(1, 40, 3)
    middle = (0.0, math.pi) if order[0] == order[2] else (math.pi / 2, -math.pi / 2)
    angles[::4, 1], angles[1::4, 1] = middle
    made = ro.from_euler(angles, order)
    close(made, torch.from_numpy(Rotation.from_euler(order, angles.numpy()).as_matrix()), 1e-12)
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(UserWarning)
        theirs = torch.from_numpy(Rotation.from_matrix(made.numpy()).as_euler(order))
    difference = torch.remainder(ro.to_euler(made, order) - theirs + math.pi, 2 * math.pi) - math.pi
    close(difference, torch.zeros_like(difference), 1e-6)
    close(ro.from_euler(ro.to_euler(made, order), order), made, 1e-7)


@settings(max_examples=10)
@given(seed=SEEDS)
def test_quaternions_and_vectors_are_scipys(seed):
    q = noise(seed, 30, 4)
    theirs = Rotation.from_quat(q.numpy(), scalar_first=True)
    ours = ro.from_quaternion(q)
    close(ours, torch.from_numpy(theirs.as_matrix()), 1e-12)
    close(ro.from_quaternion(q.roll(-1, -1), scalar_last=True), ours, 0)
    close(ro.to_quaternion(ours), torch.from_numpy(theirs.as_quat(canonical=True, scalar_first=True)), 1e-10)
    close(ro.to_quaternion(ours, scalar_last=True), torch.from_numpy(theirs.as_quat(canonical=True)), 1e-10)
    close(ro.to_axis_angle(ours), torch.from_numpy(theirs.as_rotvec()), 1e-9)
    p = noise(seed + 1, 30, 4)
    close(ro.from_quaternion(ro.quaternion_product(p, q)), ro.from_quaternion(p) @ ours, 1e-12)
    close(ro.from_quaternion(ro.quaternion_conjugate(q)), ours.mT, 1e-12)


def test_gram_schmidt_and_procrustes_are_romas():
    roma = pytest.importorskip("roma")
    x, m = noise(0, 100, 6), noise(1, 100, 3, 3)
    close(ro.from_6d(x), roma.special_gramschmidt(x.view(100, 2, 3).mT), 1e-12)
    close(ro.project(m), roma.special_procrustes(m), 1e-9)
    a, b = drawn(0, 100), drawn(1, 100)
    close(ro.geodesic_distance(a, b), roma.rotmat_geodesic_distance(a, b), 1e-7)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 1e-3, 0.5, 3.0, math.pi - 1e-6, math.pi - 1e-12, math.pi])
def test_angles_near_nothing_and_near_half_a_turn(angle):
    axis = noise(0, 20, 3)
    v = angle * axis / axis.norm(dim=-1, keepdim=True)
    rotation = ro.from_axis_angle(v)
    close(ro.from_axis_angle(ro.to_axis_angle(rotation)), rotation, 1e-14)
    close(ro.to_axis_angle(rotation).norm(dim=-1), torch.full((20,), angle, dtype=torch.float64), 1e-14)
    eye = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    close(ro.geodesic_distance(eye, rotation), torch.full((20,), angle, dtype=torch.float64), 1e-14)
    close(
        ro.chordal_distance(eye, rotation), torch.full((20,), 2**1.5 * math.sin(angle / 2), dtype=torch.float64), 1e-14
    )


@pytest.mark.parametrize("name", ["6d", "5d", "9d", "10d", "quaternion", "axis_angle", "rodrigues", "euler"])
def test_gradients(name):
    make, read, size = PAIRS[name]
    x = noise(4, 3, size).requires_grad_()
    assert torch.autograd.gradcheck(make, x)
    small = (1e-4 * noise(5, 2, 3)).requires_grad_()
    if name != "10d":  # its eigenvector gives once-differentiable numbers, and its reader a plain outer product
        assert torch.autograd.gradcheck(lambda v: read(ro.from_axis_angle(v)), small, atol=1e-4)


def test_gradients_of_the_fused_forms_forward_twice_and_under_vmap():
    for make, size in ((ro.from_6d, 6), (ro.from_9d, 9)):
        x = noise(6, 4, size).requires_grad_()
        assert torch.autograd.gradcheck(make, x, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(make, x)
        close(torch.func.vmap(make)(x), make(x), 1e-14)
        jacobian = torch.func.vmap(torch.func.jacfwd(make))(x)
        close(jacobian, torch.func.vmap(torch.func.jacrev(make))(x), 1e-10)


def test_distances_have_gradients_where_they_are_smooth_and_zero_where_not():
    a, b = drawn(0, 4).requires_grad_(), drawn(1, 4).requires_grad_()
    assert torch.autograd.gradcheck(ro.geodesic_distance, (a, b))
    assert torch.autograd.gradcheck(ro.chordal_distance, (a, b))
    same = drawn(0, 4).requires_grad_()
    (ro.geodesic_distance(same, same.detach()) + ro.chordal_distance(same, same.detach())).sum().backward()
    assert same.grad is not None and bool((same.grad == 0).all())


def test_continuity_holds_for_five_numbers_and_more_only():
    """On a loop of rotations by 0 to 2π about one axis, no step of a continuous representation is long."""
    t = torch.linspace(0, 2 * math.pi, 2001, dtype=torch.float64)
    axis = torch.nn.functional.normalize(noise(9, 3), dim=0)
    loop = ro.from_axis_angle(t[:, None] * axis)
    step = ro.geodesic_distance(loop[1:], loop[:-1])
    slope = {}
    for name, (_, read, _) in PAIRS.items():
        if name != "rodrigues":
            slope[name] = float(((read(loop)[1:] - read(loop)[:-1]).norm(dim=-1) / step).max())
    assert all(slope[name] < 4 for name in ("6d", "5d", "9d", "10d")), slope
    assert all(slope[name] > 100 for name in ("quaternion", "axis_angle")), slope
    loop = ro.from_euler(torch.stack([t, torch.full_like(t, 0.3), torch.full_like(t, 0.2)], -1), "XYZ")
    jump = (ro.to_euler(loop, "XYZ")[1:] - ro.to_euler(loop, "XYZ")[:-1]).norm(dim=-1)
    assert float(jump.max()) > 6


@settings(max_examples=10)
@given(seed=SEEDS, dtype=DTYPES, n=st.sampled_from([2, 3, 4]))
def test_means_and_paths(seed, dtype, n):
    centre = drawn(seed, 1, n, dtype=dtype)
    from erlangen.groups.lie import rotation_exp

    v = 0.3 * noise(seed, 5, n * (n - 1) // 2, dtype=dtype)
    both = centre @ rotation_exp(torch.cat([v, -v]), n)
    close(ro.mean(both), centre[0], 20 * ATOL[dtype])
    close(ro.mean(both, metric="chordal"), centre[0], 20 * ATOL[dtype])
    weights = torch.tensor([1.0, 0, 0], dtype=dtype)
    close(ro.mean(both[:3], weights), both[0], 20 * ATOL[dtype])
    start, end = both[0], both[1]
    close(ro.slerp(start, end, 0.0), start, 20 * ATOL[dtype])
    close(ro.slerp(start, end, 1.0), end, 50 * ATOL[dtype])
    thirds = ro.slerp(start, end, torch.tensor([1 / 3, 2 / 3], dtype=dtype))
    gaps = ro.geodesic_distance(torch.stack([start, *thirds]), torch.stack([*thirds, end]))
    close(gaps, gaps.mean().expand(3), 50 * ATOL[dtype])


def test_random_rotations_are_uniform():
    """E R = 0, E (tr R)² = 1 and the angle has density (1 - cos θ)/π."""
    rotation = drawn(0, 20_000)
    assert float(rotation.mean(0).abs().max()) < 0.02
    trace = torch.diagonal(rotation, dim1=-2, dim2=-1).sum(-1)
    assert abs(float(trace.square().mean()) - 1) < 0.04
    angle = ro.geodesic_distance(rotation, torch.eye(3, dtype=torch.float64).expand_as(rotation))
    assert abs(float(angle.mean()) - (math.pi / 2 + 2 / math.pi)) < 0.02
    assert torch.equal(drawn(5), drawn(5))


@settings(max_examples=10)
@given(seed=SEEDS, dtype=DTYPES, n=st.integers(2, 4))
def test_similarities_and_directions(seed, dtype, n):
    x = noise(seed, 6, n * n, dtype=dtype)
    made = ro.from_similarity(x, n)
    linear = made[:, :n, :n]
    scale = x[:, :n].norm(dim=-1)
    close(linear.mT @ linear, scale[:, None, None] ** 2 * torch.eye(n, dtype=dtype), 1e3 * ATOL[dtype])
    close(ro.from_similarity(ro.to_similarity(made), n), made, 1e2 * ATOL[dtype])
    close(ro.from_direction(x).norm(dim=-1), torch.ones(6, dtype=dtype), ATOL[dtype])
    close(ro.from_direction(ro.from_direction(x)), ro.from_direction(x), ATOL[dtype])
