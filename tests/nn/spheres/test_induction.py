"""From images to irreps: exact equivariance, the size of Hom, the orthographic lift as a special weight."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups.harmonics import spherical_harmonics, wigner_D_all
from erlangen.nn.spheres import DegreeLinear, InductionLayer, OrthographicLift, RotationActivation
from erlangen.nn.spheres.camera import in_plane, pixel_polar

PRECISIONS = [(torch.float64, 1e-9), (torch.float32, 1e-4)]


@given(
    st.sampled_from(["2x0+1x1+2x2", "1x3+2x1", "3x0", "1x0+3x1+5x2+7x3"]),
    st.integers(0, 3),
    st.floats(0, 6.28),
    st.sampled_from(PRECISIONS),
)
def test_polar_maps_turn_exactly(irreps, fibre, theta, precision):
    dtype, tolerance = precision
    torch.manual_seed(0)
    layer = InductionLayer(2, irreps, (3, 15), grid="polar", fibre=fibre).to(dtype)
    x = torch.randn(2, 2 * (2 if fibre else 1), 3, 15, dtype=dtype)
    angle = torch.tensor(theta, dtype=torch.float64)
    with torch.no_grad():
        moved, expected = layer(*layer._turn(angle, (x,))), layer._turn_out(angle, layer(x))
    assert torch.allclose(moved, expected, atol=tolerance)
    assert float(expected.abs().max()) > 1e-2


@given(st.sampled_from([7, 8]), st.integers(0, 2), st.integers(1, 3), st.sampled_from(PRECISIONS))
def test_square_maps_turn_exactly_by_quarters(size, fibre, quarters, precision):
    dtype, tolerance = precision
    layer = InductionLayer(1, "2x0+1x1+1x2+1x3", size, fibre=fibre, radial=3).to(dtype)
    x = torch.randn(2, 2 if fibre else 1, size, size, dtype=dtype)
    angle = torch.tensor(quarters * math.pi / 2, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(layer(*layer._turn(angle, (x,))), layer._turn_out(angle, layer(x)), atol=10 * tolerance)


@pytest.mark.parametrize("fibre", [0, 1, 2])
@pytest.mark.parametrize("irreps", ["1x0", "2x1", "1x0+2x1+1x3"])
def test_free_parameters_are_the_dimension_of_hom(irreps, fibre):
    """dim Hom_{SO(2)}(V, W) = mean over the circle of χ_V χ_W, with χ_V from the turned maps themselves."""
    rings, angles = 2, 13
    layer = InductionLayer(1, irreps, (rings, angles), grid="polar", fibre=fibre).double()
    channels = 2 if fibre else 1
    # the layer resolves circular orders up to l_max + fibre; project other ones out of the space of maps
    basis = torch.eye(channels * rings * angles, dtype=torch.float64).reshape(-1, channels, rings, angles)
    waves = torch.fft.rfft(basis, dim=-1)
    waves[..., layer.order + 1 :] = 0
    projected = torch.fft.irfft(waves, n=angles, dim=-1).flatten(1)
    count = 64
    total = 0.0
    for k in range(count):
        angle = torch.tensor(2 * math.pi * k / count, dtype=torch.float64)
        (turned,) = layer._turn(angle, (projected.reshape(-1, channels, rings, angles),))
        trace_in = torch.diagonal(turned.flatten(1)).sum()
        trace_out = torch.diagonal(layer._turn_out(angle, torch.eye(layer.dim, dtype=torch.float64))).sum()
        total += float(trace_in * trace_out) / count
    # orders from l_max - fibre on meet no output of their charge on one side; the layer counts only what it uses
    assert round(total) == layer.free_parameters
    assert abs(total - round(total)) < 1e-9


def test_every_parameter_matters():
    layer = InductionLayer(2, "1x0+2x1+1x2", (3, 9), grid="polar", fibre=1).double()
    x = torch.randn(20, 4, 3, 9, dtype=torch.float64)
    names, values = zip(*layer.named_parameters(), strict=True)

    def outputs(*parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,)).flatten()

    columns = torch.cat(
        [j.flatten(1) for j in torch.func.jacrev(outputs, argnums=tuple(range(len(values))))(*values)], 1
    )
    assert int(torch.linalg.matrix_rank(columns)) == layer.free_parameters


@given(st.integers(0, 4))
@settings(max_examples=5)
def test_the_orthographic_lift_is_a_special_weight(l_max):
    lift = OrthographicLift(2, l_max, (6, 13), grid="polar").double()
    layer = InductionLayer(2, lift.irreps, (6, 13), grid="polar").double().orthographic_()
    x = torch.randn(3, 2, 6, 13, dtype=torch.float64)
    assert torch.allclose(layer(x), lift(x), atol=1e-6)
    if l_max:
        square = OrthographicLift(2, l_max, 12).double()
        close = InductionLayer(2, square.irreps, 12, radial=12).double().orthographic_()
        y = torch.randn(3, 2, 12, 12, dtype=torch.float64)
        assert float((close(y) - square(y)).norm() / square(y).norm()) < 0.1


def test_the_lift_of_one_bright_pixel_is_the_harmonics_above_it():
    """Camera axes: x right, y up, z to the eye."""
    lift = OrthographicLift(1, 3, 8).double()
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    x[0, 0, 1, 4] = 1
    radius, angle = pixel_polar(8)
    r, phi = radius[1, 4], angle[1, 4]
    point = torch.stack([r * torch.cos(phi), r * torch.sin(phi), (1 - r**2).sqrt()])
    assert point[1] > 0.5
    found = lift(x)[0] * (math.pi * 64 / 4)
    assert torch.allclose(found, torch.cat(spherical_harmonics(3, point, normalization="component")), atol=1e-10)


@given(st.integers(0, 500))
def test_degree_linear_commutes_with_rotations(seed):
    torch.manual_seed(seed)
    layer = DegreeLinear("2x0+3x1+1x2", "1x2+4x1").double()
    from erlangen.groups import SO

    rotation = SO(3).sample((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    d = wigner_D_all(2, rotation)

    def turn(x, terms):
        parts, start = [], 0
        for mul, degree in terms:
            size = mul * (2 * degree + 1)
            parts.append((x[:, start : start + size].unflatten(1, (mul, -1)) @ d[degree].mT).flatten(1))
            start += size
        return torch.cat(parts, 1)

    x = torch.randn(4, layer.dim_in, dtype=torch.float64)
    assert torch.allclose(layer(turn(x, layer.terms_in)), turn(layer(x), layer.terms_out), atol=1e-10)


def test_rotation_activation():
    """The identity comes back exactly; relu is equivariant up to aliasing, which falls with a finer grid."""
    same = RotationActivation(2, 3, activation=lambda v: v).double()
    x = torch.randn(3, sum(2 * (2 * l + 1) ** 2 for l in range(4)), dtype=torch.float64)
    assert torch.allclose(same(x), x, atol=1e-10)
    bent = RotationActivation(2, 3).double()
    quarter = wigner_D_all(3, in_plane(torch.tensor(math.pi / 2, dtype=torch.float64)))

    def quarter_turn(y):
        parts, start = [], 0
        for l in range(4):
            size = 2 * (2 * l + 1) ** 2
            parts.append((y[:, start : start + size].unflatten(1, (-1, 2 * l + 1)) @ quarter[l].mT).flatten(1))
            start += size
        return torch.cat(parts, 1)

    assert torch.allclose(bent(quarter_turn(x)), quarter_turn(bent(x)), atol=1e-10)
    square = RotationActivation(1, 1, activation=torch.square, extra=1).double()
    from erlangen.groups import SO

    d = wigner_D_all(1, SO(3).sample((), generator=torch.Generator().manual_seed(3), dtype=torch.float64))

    def turn(y):
        return torch.cat([y[:, :1], (y[:, 1:].unflatten(1, (3, 3)) @ d[1].mT).flatten(1)], 1)

    y = torch.randn(5, 10, dtype=torch.float64)
    assert torch.allclose(square(turn(y)), turn(square(y)), atol=1e-10)  # degree 2 · 1 is below the grid's


def test_bad_input():
    with pytest.raises(ValueError, match="square"):
        InductionLayer(1, "1x0", (4, 6))
    with pytest.raises(ValueError, match="square"):
        OrthographicLift(1, 1, (4, 6))
    with pytest.warns(UserWarning, match="safe"):
        InductionLayer(1, "1x9", 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InductionLayer(1, "1x4", 6)
    layer = InductionLayer(1, "1x0+1x1", 6)
    with pytest.raises(ValueError, match="x: shape"):
        layer(torch.zeros(1, 2, 6, 6))
    with pytest.raises(ValueError, match="copies"):
        InductionLayer(2, "1x0", 6).orthographic_()
    with pytest.raises(ValueError, match="irreps"):
        InductionLayer(1, "x", 6)
    with pytest.raises(ValueError, match="twice"):
        DegreeLinear("1x0+2x0", "1x0")
    with pytest.raises(ValueError, match="not in"):
        DegreeLinear("1x0", "1x1")
    assert in_plane(torch.tensor(0.0)).equal(torch.eye(3))
