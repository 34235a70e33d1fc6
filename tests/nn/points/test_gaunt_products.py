"""Gaunt products: one function by another, whichever route multiplies them, against e3nn and pointwise values."""

import math
import subprocess
import sys

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups import gaunt_coefficients, spherical_harmonics
from erlangen.nn.points import EdgeGauntProduct, GauntPower, GauntTensorProduct, VectorGauntTensorProduct
from erlangen.nn.points.gaunt_routes import ROUTES
from erlangen.nn.points.sphere_types import product_type, sphere_type

seeds = st.integers(0, 10_000)
routes = st.sampled_from(sorted(ROUTES))
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def functions(l_max: int) -> str:
    return "+".join(f"{l}{'eo'[l % 2]}" for l in range(l_max + 1))


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotations(seed: int) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return o3.rand_matrix(dtype=torch.float64)


def product(*args, **options) -> GauntTensorProduct:
    return GauntTensorProduct(*args, weight="none", **options).double()


@settings(max_examples=20)
@given(
    routes,
    st.sampled_from(
        [("0e+1o+2e", "0e+1o+2e", None), ("1o", "2e+4e", None), ("1e+2o", "0e+1o+2e", "1e+2o"), ("0e", "3o", None)]
    ),
    st.sampled_from([torch.float64, torch.float32]),
    seeds,
)
def test_every_route_is_the_gaunt_sum(route, irreps, dtype, seed):
    a, b = sphere_type(irreps[0], "a"), sphere_type(irreps[1], "b")
    out = product_type(a, b, irreps[2])
    x, y = noise(seed, 3, a.dim), noise(seed + 1, 3, b.dim)
    expected = [torch.zeros(3, 2 * l + 1, dtype=torch.float64) for l in out.degrees]
    for l1, x1 in zip(a.degrees, x.split(a.sizes, -1), strict=True):
        for l2, y2 in zip(b.degrees, y.split(b.sizes, -1), strict=True):
            for k, l3 in enumerate(out.degrees):
                expected[k] += torch.einsum("bi,bj,ijk->bk", x1, y2, gaunt_coefficients(l1, l2, l3))
    with_dtype = ROUTES[route](a, b, out).to(dtype)
    torch.testing.assert_close(
        with_dtype(x.to(dtype), y.to(dtype)).double(), torch.cat(expected, -1), atol=10 * TOLERANCE[dtype], rtol=0
    )


@settings(max_examples=6)
@given(routes, seeds)
def test_routes_agree_at_degree_nine_and_in_their_gradients(route, seed):
    kind = sphere_type(functions(9), "x")
    out = product_type(kind, kind, functions(9))
    x, y = noise(seed, 2, kind.dim).requires_grad_(), noise(seed + 1, 2, kind.dim).requires_grad_()
    z, reference = (ROUTES[name](kind, kind, out).double()(x, y) for name in (route, "direct"))
    torch.testing.assert_close(z, reference, atol=1e-11, rtol=0)
    weights = noise(seed + 2, *z.shape)
    ours, theirs = (torch.autograd.grad((value * weights).sum(), (x, y)) for value in (z, reference))
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


@settings(max_examples=20)
@given(st.integers(0, 3), st.integers(0, 3), seeds)
def test_every_path_is_e3nns_times_the_known_constant_or_zero(l1, l2, seed):
    """One Clebsch-Gordan path at a time: the constant of the docstring where the sum is even, zero where it is odd."""
    x, y = noise(seed, 2 * l1 + 1), noise(seed + 1, 2 * l2 + 1)
    for l3 in range(abs(l1 - l2), l1 + l2 + 1):
        theirs = torch.einsum("i,j,ijk->k", x, y, o3.wigner_3j(l1, l2, l3, dtype=torch.float64))
        if (l1 + l2 + l3) % 2:
            with pytest.raises(ValueError, match="irreps_out"):
                product(f"{l1}", f"{l2}", f"{l3}")
            continue
        at_zero = float(gaunt_coefficients(l1, l2, l3).norm())
        ours = product(f"{l1}", f"{l2}", f"{l3}")(x[None], y[None])[0]
        assert min((ours - at_zero * theirs).abs().max(), (ours + at_zero * theirs).abs().max()) < 1e-6


@given(st.integers(1, 4), st.integers(1, 4), seeds)
def test_the_product_is_pointwise(l1, l2, seed):
    """z(u) = f(u) g(u) at random directions, when nothing is cut off."""
    x, y, u = noise(seed, 1, (l1 + 1) ** 2), noise(seed + 1, 1, (l2 + 1) ** 2), noise(seed + 2, 6, 3)
    z = product(functions(l1), functions(l2))(x, y)

    def at(c):
        degree = math.isqrt(c.shape[-1]) - 1
        return torch.cat(spherical_harmonics(degree, u, normalization="integral"), -1) @ c[0]

    torch.testing.assert_close(at(z), at(x) * at(y), atol=1e-11, rtol=0)


@given(seeds)
def test_commutative_associative_and_with_a_unit(seed):
    x, y, w = (noise(seed + i, 1, 9) for i in range(3))
    pair = product(functions(2), functions(2))
    torch.testing.assert_close(pair(x, y), pair(y, x), atol=1e-13, rtol=0)
    triple, other = product(functions(4), functions(2)), product(functions(2), functions(4))
    torch.testing.assert_close(triple(pair(x, y), w), other(x, pair(y, w)), atol=1e-12, rtol=0)
    one = torch.tensor([[math.sqrt(4 * math.pi)]], dtype=torch.float64)
    torch.testing.assert_close(product("0e", functions(2))(one, x), x, atol=1e-13, rtol=0)


@given(seeds, st.sampled_from(["grid", "fourier", "direct"]), st.booleans())
def test_equivariance_under_reflections_too(seed, method, pseudo):
    first = "0o+1e+2o" if pseudo else "0e+1o+2e"
    module = product(first, functions(3), method=method)
    g = -rotations(seed) if seed % 2 else rotations(seed)
    x, y = noise(seed, 1, 9), noise(seed + 1, 1, 16)
    kinds = [o3.Irreps(str(t)) for t in (module.type1, module.type2, module.type_out)]
    a, b, c = (kind.D_from_matrix(g.float()).double() for kind in kinds)
    # e3nn's matrices are good to float32 here: ours in the checker are held to 1e-10
    torch.testing.assert_close(module(x @ a.mT, y @ b.mT), module(x, y) @ c.mT, atol=2e-4, rtol=0)


@given(seeds)
def test_power_two_is_the_product_with_itself_and_three_once_more(seed):
    x = noise(seed, 4, 2, 9)
    power = GauntPower(functions(2), 3, functions(2), channels=2).double()
    square, cube = (
        product(functions(2), functions(2), channels=2),
        product(functions(4), functions(2), functions(2), channels=2),
    )
    expected = x + square(x, x)[..., :9] + cube(square(x, x), x)
    torch.testing.assert_close(power(x), expected, atol=1e-12, rtol=0)


@given(seeds)
def test_powers_with_weights_before_are_products_of_weighted_functions(seed):
    x, v = noise(seed, 4, 2, 9), noise(seed + 1, 4, 2, 2, 3)
    power = GauntPower(functions(2), 2, functions(2), channels=2).double()
    first, second = (x * v[..., k, :].repeat_interleave(torch.tensor([1, 3, 5]), -1) for k in (0, 1))
    expected = first + product(functions(2), functions(2), functions(2), channels=2)(first, second)
    torch.testing.assert_close(power(x, operands=v), expected, atol=1e-12, rtol=0)


@given(seeds)
def test_path_weights_of_one_are_no_weights_and_one_path_is_one_path(seed):
    x, y = noise(seed, 1, 9), noise(seed + 1, 1, 9)
    module = GauntTensorProduct(functions(2), functions(2), weight="path").double()
    plain = product(functions(2), functions(2))
    torch.testing.assert_close(module(x, y), plain(x, y), atol=1e-12, rtol=0)
    with torch.no_grad():
        module.route.path_weight.zero_()
        module.route.path_weight[0, -1] = 1.0  # the last path: (2, 2, 4)
    expected = torch.einsum("i,j,ijk->k", x[0, 4:], y[0, 4:], gaunt_coefficients(2, 2, 4))
    torch.testing.assert_close(module(x, y)[0, 16:], expected, atol=1e-12, rtol=0)
    assert module(x, y)[0, :16].abs().max() < 1e-12


def test_degree_weights_are_factors_before_and_after():
    module = GauntTensorProduct("0e+1o", "0e+1o", channels=2).double()
    x, y = noise(0, 3, 2, 4), noise(1, 3, 2, 4)
    plain = product("0e+1o", "0e+1o", channels=2)(x, y)
    with torch.no_grad():
        module.scales[0].fill_(2.0), module.scales[1].fill_(3.0)
        module.scales[2][:, 1] = 0.0
    expected = 6 * plain
    expected[..., 1:4] = 0
    torch.testing.assert_close(module(x, y), expected, atol=1e-12, rtol=0)


@given(seeds)
def test_vectors_multiply_to_dot_cross_and_the_symmetric_rest(seed):
    """1o x 1o: the bracket of two linear functions is linear, with coefficients √(3/4π) a × b."""
    a, b = noise(seed, 1, 3), noise(seed + 1, 1, 3)
    z = VectorGauntTensorProduct("1o", "1o", weight="none").double()(a, b)
    torch.testing.assert_close(z[0, 0], (a * b).sum() / math.sqrt(4 * math.pi), atol=1e-13, rtol=0)
    torch.testing.assert_close(
        z[0, 1:4], math.sqrt(3 / (4 * math.pi)) * torch.linalg.cross(a, b)[0], atol=1e-13, rtol=0
    )
    # a Gaunt product of vectors has no part of degree 1 at all
    assert str(product("1o", "1o").type_out) == "0e+2e"


@given(seeds)
def test_product_plus_bracket_are_all_couplings(seed):
    from erlangen.groups.harmonics import bracket_coefficients

    module = VectorGauntTensorProduct("0e+1o+2e+1e", "1o+2e+0o", weight="none").double()
    dims = (sum(2 * l + 1 for l, _ in terms) for terms in (module.first, module.second))
    x, y = (noise(seed + i, 1, d) for i, d in enumerate(dims))
    xs, ys = x[0].split([1, 3, 5, 3]), y[0].split([3, 5, 1])
    expected = dict.fromkeys(module.out, 0.0)
    for (l1, p1), a in zip(module.first, xs, strict=True):
        for (l2, p2), b in zip(module.second, ys, strict=True):
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                table = (bracket_coefficients if (l1 + l2 + l3) % 2 else gaunt_coefficients)(l1, l2, l3)
                expected[l3, p1 * p2] = expected[l3, p1 * p2] + torch.einsum("i,j,ijk->k", a, b, table)
    torch.testing.assert_close(module(x, y)[0], torch.cat([expected[t] for t in module.out]), atol=1e-11, rtol=0)


@settings(max_examples=10)
@given(st.integers(0, 3), st.integers(0, 3), seeds)
def test_a_filter_along_an_edge_is_the_product_with_its_harmonics(l1, l2, seed):
    edge = EdgeGauntProduct(functions(l1), functions(l2), channels=2).double()
    x, r, h = noise(seed, 5, 2, (l1 + 1) ** 2), noise(seed + 1, 5, 3), noise(seed + 2, 5, 2, l2 + 1)
    harmonics = torch.cat(spherical_harmonics(l2, r, normalization="integral"), -1)
    y = harmonics[:, None] * h.repeat_interleave(2 * torch.arange(l2 + 1) + 1, -1)
    torch.testing.assert_close(
        edge(x, r, h), product(functions(l1), functions(l2), channels=2)(x, y), atol=1e-12, rtol=0
    )


def test_double_backward_through_every_route():
    """Forces are trained on: gradients of gradients."""
    kind = sphere_type(functions(2), "x")
    for name, route in ROUTES.items():
        module = route(kind, kind, product_type(kind, kind, None)).double()
        x, y = noise(0, 1, 9).requires_grad_(), noise(1, 1, 9).requires_grad_()
        assert torch.autograd.gradgradcheck(module, (x, y)), name


def test_half_precision_is_computed_in_float32_and_nan_stays():
    module = GauntTensorProduct(functions(2), functions(2), weight="none")
    x = noise(0, 2, 1, 9).half()
    assert module(x, x).dtype == torch.float16
    torch.testing.assert_close(module(x, x), module(x.float(), x.float()).half(), atol=0, rtol=0)
    assert torch.isnan(module(torch.full((1, 9), math.nan), torch.zeros(1, 9))).all()
    assert module(torch.zeros(0, 1, 9), torch.zeros(0, 1, 9)).shape == (0, 1, 25)


def test_moving_to_float64_gives_exact_tables():
    moved, born = product(functions(2), functions(2)), None
    torch.set_default_dtype(torch.float64)
    try:
        born = GauntTensorProduct(functions(2), functions(2), weight="none")
    finally:
        torch.set_default_dtype(torch.float32)
    x = noise(0, 1, 9)
    assert torch.equal(moved(x, x), born(x, x))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"irreps_in1: .* offending irreps are 1e"):
        GauntTensorProduct("0e+1e+2e", "0e")
    with pytest.raises(ValueError, match="irreps_in2: 8x0e has multiplicities"):
        GauntTensorProduct("0e", "8x0e")
    with pytest.raises(ValueError, match=r"irreps_out: .* degrees \[3\]"):
        GauntTensorProduct("0e+1o", "1o", "3o")
    with pytest.raises(ValueError, match="wrong parity"):
        GauntTensorProduct("0e+1o", "1o", "1e")
    with pytest.raises(ValueError, match=r"irreps_in1: 0e\+1o on 2 channels has shape"):
        GauntTensorProduct("0e+1o", "1o", channels=2)(torch.zeros(3, 2, 5), torch.zeros(3, 2, 3))
    with pytest.raises(ValueError, match=r"irreps_out: .* beyond degree 2"):
        GauntPower("0e+1o", 2, "3o")
    with pytest.raises(ValueError, match=r"filter: .* pseudo"):
        EdgeGauntProduct("0e", "1e")
    with pytest.raises(ValueError, match="out of reach"):
        VectorGauntTensorProduct("1o", "1o", "3o")


COMPILED = """
import torch
from erlangen.nn.points import EdgeGauntProduct, GauntPower, GauntTensorProduct, TensorProduct, VectorGauntTensorProduct

x, y = torch.randn(2, 4, 2, 9)
modules = [
    (GauntTensorProduct("0e+1o+2e", "0e+1o+2e", channels=2, method=method), (x, y)) for method in ("grid", "fourier", "direct")
] + [
    (GauntTensorProduct("0e+1o+2e", "0e+1o+2e", channels=2, weight="path"), (x, y)),
    (GauntPower("0e+1o+2e", 3, channels=2), (x,)),
    (VectorGauntTensorProduct("0e+1o+2e", "0e+1o+2e", channels=2), (x, y)),
    (TensorProduct("2x0e+2x1o", "1o", "1x0e+1x1o"), (torch.randn(4, 8), torch.randn(4, 3))),
    (EdgeGauntProduct("0e+1o+2e", "0e+1o", channels=2), (x, torch.randn(4, 3), torch.randn(4, 2, 2))),
]
for _, inputs in modules:
    for t in inputs:
        t.requires_grad_()

def everything():
    return sum(module(*inputs).square().sum() for module, inputs in modules)

compiled = torch.compile(everything, backend="aot_eager", fullgraph=True)
torch.testing.assert_close(compiled(), everything())
compiled().backward()
"""


def test_compiles_into_one_graph():
    """In a process of its own, because the shape checks of the test run cannot be traced."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=200)
