"""Spherical functions as trigonometric polynomials on the torus (θ, φ), where a product is a convolution."""

import functools
import math

import torch
from torch import Tensor

from erlangen.groups.harmonics.spherical import gauss_legendre, legendre_table


@functools.cache
def torus_tables(l_max: int, l_product: int, l_out: int) -> tuple[Tensor, Tensor]:
    """Complex tables `[m, l, u]` from spherical coefficients to Fourier ones, and `[m, l, u]` back.

    Along θ continued to the circle, the harmonic of order m is a cosine series for even m and a sine series for odd m,
    of frequencies |u| <= l. The way back integrates against sin θ on [0, π], so a coefficient needs every frequency u of
    the product. Frequencies are stored as u = -L .. L with L = l_max (there) or l_product (back).
    """
    return _there(l_max), _back(l_product, l_out)


def _there(l_max: int) -> Tensor:
    count = 2 * l_max + 1
    theta = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    table = legendre_table(l_max, torch.cos(theta)) / math.sqrt(4 * math.pi)  # even in θ: sin^m came with |sin θ|^m
    odd = torch.arange(l_max + 1)[:, None, None] % 2 == 1
    table = torch.where(odd & (torch.sin(theta) < 0), -table, table)
    frequency = torch.arange(-l_max, l_max + 1, dtype=torch.float64)
    wave = torch.exp(-1j * frequency * theta[:, None]) / count
    return table.to(torch.complex128) @ wave


def _back(l_product: int, l_out: int) -> Tensor:
    nodes, weights = gauss_legendre((l_product + l_out) // 2 + 2)
    table = legendre_table(l_out, nodes) / math.sqrt(4 * math.pi)
    theta = torch.acos(nodes)
    frequency = torch.arange(-l_product, l_product + 1, dtype=torch.float64)
    wave = torch.exp(1j * frequency * theta[:, None])
    # By symmetry even orders meet cosines only and odd ones sines only; what is left is a polynomial in cos θ.
    even = torch.arange(l_out + 1)[:, None, None] % 2 == 0
    matched = torch.where(even, wave.real.to(wave.dtype), 1j * wave.imag)
    return (2 * math.pi) * (table * weights).to(wave.dtype) @ matched


@functools.cache
def complex_orders(l_max: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How real coefficients become complex ones of orders 0 .. l_max.

    Indices `[l_max + 1, l_max + 1]` (order, degree) of the cosine and sine coefficients, and their factors, 0 where the
    degree is below the order: Σ c cos mφ + s sin mφ = Re Σ (c - i s) e^{imφ}.
    """
    order, degree = torch.arange(l_max + 1)[:, None], torch.arange(l_max + 1)
    exists = degree >= order
    cosine = torch.where(exists, degree**2 + degree + order, 0)
    sine = torch.where(exists, degree**2 + degree - order, 0)
    factor = exists.double() * torch.where(order == 0, 1.0, math.sqrt(2) * torch.ones(1, dtype=torch.float64))
    return cosine, sine, factor, factor * (order > 0)
