"""Gaussian expectations against closed forms, SciPy's adaptive quadrature and Price's theorem."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import nn

from erlangen.stats import gaussian_expectations as engine
from erlangen.stats.activations import Activation
from erlangen.stats.gaussian_expectations import (
    expect,
    fourth_moment,
    hermite_coefficients,
    pair_moment,
    pair_slope_moment,
    second_moment,
    second_moment_slope,
    slope_moment,
)

CLOSED = ["relu", "leaky_relu", "abs", "linear", "erf", "sin", "cos", "exp", "gelu", "sign", "step"]
SMOOTH = ["tanh", "swish", "mish", "softplus", "sigmoid", "gelu_tanh"]
BENT = ["elu", "selu", "softsign"]
variances = st.floats(0.05, 4.0)
correlations = st.floats(-0.999, 0.999)


def covariance(a: float, b: float, rho: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor(v, dtype=torch.float64) for v in (a, b, rho * math.sqrt(a * b)))


@pytest.mark.parametrize("name", CLOSED)
@settings(max_examples=6)
@given(a=variances, b=variances, rho=correlations)
def test_closed_forms_equal_quadrature(name: str, a: float, b: float, rho: float) -> None:
    act = Activation(name)
    aa, bb, ab = covariance(a, b, rho)
    K = torch.stack([torch.stack([aa, ab]), torch.stack([ab, bb])])
    by_quadrature = expect(lambda u, v: act(u) * act(v), K, kinks=act.kinks)
    torch.testing.assert_close(pair_moment(act, aa, bb, ab), by_quadrature, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", [n for n in CLOSED if n not in ("sign", "step")])
@given(a=variances, b=variances, rho=st.floats(-0.95, 0.95))
def test_the_slope_is_the_derivative_in_the_covariance(name: str, a: float, b: float, rho: float) -> None:
    act = Activation(name)
    aa, bb, ab = covariance(a, b, rho)
    ab = ab.requires_grad_(True)
    gradient = torch.autograd.grad(pair_moment(act, aa, bb, ab), ab)[0]
    torch.testing.assert_close(pair_slope_moment(act, aa, bb, ab.detach()), gradient, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", SMOOTH + BENT)
def test_series_and_quadrature_agree(name: str) -> None:
    act = Activation(name)
    for rho in (-0.9, 0.2, 0.95, 1.0):
        aa, bb, ab = covariance(1.7, 1.7 if rho == 1.0 else 0.6, rho)
        direct = engine._expect_pair(lambda u, v: act(u) * act(v), float(aa), float(bb), float(ab), act.kinks)
        torch.testing.assert_close(pair_moment(act, aa, bb, ab), direct, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH + BENT + ["hardtanh", "gelu", "relu"])
@pytest.mark.parametrize("K", [1e-3, 0.7, 14.32])
def test_single_moments_equal_scipy(name: str, K: float) -> None:
    act = Activation(name)

    def integral(f) -> float:
        def integrand(t: float) -> float:
            return float(f(torch.tensor([math.sqrt(K) * t], dtype=torch.float64))) * math.exp(-t * t / 2)

        cuts = sorted({0.0, *(k / math.sqrt(K) for k in act.kinks if abs(k) < 9 * math.sqrt(K))})
        ends = [-10.0, *cuts, 10.0]
        pieces = pairwise(ends)
        return sum(quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12, limit=200)[0] for a, b in pieces) / math.sqrt(
            2 * math.pi
        )

    assert float(second_moment(act, K)) == pytest.approx(integral(lambda z: act(z) ** 2), rel=1e-9)
    assert float(fourth_moment(act, K)) == pytest.approx(integral(lambda z: act(z) ** 4), rel=1e-9)
    assert float(slope_moment(act, K)) == pytest.approx(integral(lambda z: act.derivative(z) ** 2), rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "gelu", "swish", "relu", "elu"])
def test_the_slope_of_the_kernel_is_its_difference_quotient(name: str) -> None:
    act, K, step = Activation(name), 2.0, 1e-4
    quotient = (second_moment(act, K + step) - second_moment(act, K - step)) / (2 * step)
    assert float(second_moment_slope(act, K)) == pytest.approx(float(quotient), rel=1e-7)


def test_moments_of_a_gaussian() -> None:
    K = torch.tensor([0.5, 2.0])
    torch.testing.assert_close(expect(lambda z: z**4, K), 3 * K.double() ** 2)
    joint = torch.tensor([[[2.0, 0.6], [0.6, 1.0]]])
    torch.testing.assert_close(expect(lambda u, v: u**2 * v**2, joint), torch.tensor([2 + 2 * 0.36]).double())
    assert float(expect(torch.cos, 0.0)) == pytest.approx(1.0)


def test_hermite_coefficients_are_those_of_polynomials() -> None:
    found = hermite_coefficients(lambda z: z**2, torch.tensor(1.0), order=4)
    torch.testing.assert_close(found, torch.tensor([1, 0, math.sqrt(2), 0, 0], dtype=torch.float64), rtol=0, atol=1e-12)


def test_parity_slopes_and_modules_are_recognised() -> None:
    assert Activation("tanh").parity == "odd" and Activation("cos").parity == "even"
    assert Activation(nn.LeakyReLU(0.2)).slopes == (0.2, 1.0)
    assert Activation(nn.GELU()).name == "gelu" and Activation(nn.GELU("tanh")).name == "gelu_tanh"
    assert Activation(nn.SiLU()).name == "swish" and Activation(torch.relu).name == "relu"
    assert Activation(nn.ELU(0.5)).name == "ELU"  # not the table's ELU
    own = Activation(lambda z: 3 * z.clamp(min=0) - z.clamp(max=0).abs())
    assert own.slopes == pytest.approx((1.0, 3.0))
    torch.testing.assert_close(
        Activation(lambda z: z * torch.sigmoid(z)).derivative(torch.ones(1).double()),
        Activation("swish").derivative(torch.ones(1).double()),
    )


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="no variance"):
        expect(torch.cos, -1.0)
    with pytest.raises(ValueError, match="NaN"):
        expect(torch.cos, math.nan)
    with pytest.raises(ValueError, match="no covariance"):
        expect(lambda u, v: u * v, torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="does not exist"):
        expect(lambda z: torch.exp(z * z), 2.0)
    with pytest.raises(ValueError, match="activation"):
        Activation("rellu")
    with pytest.raises(ValueError, match="keep the shape"):
        Activation(lambda z: z.sum())
    with pytest.raises(ValueError, match="jumps"):
        Activation("sign").derivative(torch.ones(2))
