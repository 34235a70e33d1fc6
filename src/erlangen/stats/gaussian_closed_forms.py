"""Expectations of products of activations under a two-dimensional Gaussian that have a closed form.

Each entry maps the covariance `(k_aa, k_bb, k_ab)` of a centred pair `(u, v)` to `E[s(u) s(v)]`; its second function is
`E[s'(u) s'(v)]`, which by Price's theorem is the derivative of the first with respect to `k_ab`.

Sources: Cho and Saul, "Kernel methods for deep learning", 2009 (rectifiers); Williams, "Computing with infinite
networks", 1997 (erf). The formula of GELU follows from Stein's lemma and the orthant probability of a Gaussian.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Pair = Callable[[Tensor, Tensor, Tensor], Tensor]


def correlation(aa: Tensor, bb: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
    """`sqrt(k_aa k_bb)` and the correlation, 0 where a variance is 0."""
    scale = (aa * bb).sqrt()
    return scale, torch.where(scale > 0, ab / torch.where(scale > 0, scale, 1.0), 0.0).clamp(-1, 1)


def _angle(aa: Tensor, bb: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
    """The arc sine of the correlation and the root of the determinant; 0 where a variance is 0, exact near +-1 too."""
    root = torch.addcmul(aa * bb, ab, ab, value=-1).clamp_(min=0).sqrt_()
    return torch.atan2(ab, root), root


def rectifier(negative: float, positive: float) -> tuple[Pair, Pair]:
    """`positive * z` for z > 0, `negative * z` for z < 0."""
    line, bend = (positive + negative) / 2, (positive - negative) / 2

    def value(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
        angle, root = _angle(aa, bb, ab)
        return line**2 * ab + bend**2 * (2 / math.pi) * torch.addcmul(root, ab, angle)

    def slope(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
        return line**2 + bend**2 * (2 / math.pi) * _angle(aa, bb, ab)[0]

    return value, slope


def _erf(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    return (2 / math.pi) * _angle(1 + 2 * aa, 1 + 2 * bb, 2 * ab)[0]


def _erf_slope(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    return (4 / math.pi) * ((1 + 2 * aa) * (1 + 2 * bb) - 4 * ab * ab).rsqrt()


def _difference(aa: Tensor, bb: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
    return torch.exp(-(aa + bb - 2 * ab) / 2) / 2, torch.exp(-(aa + bb + 2 * ab) / 2) / 2


def _sin(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    minus, plus = _difference(aa, bb, ab)
    return minus - plus


def _cos(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    minus, plus = _difference(aa, bb, ab)
    return minus + plus


def _exp(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    return torch.exp((aa + bb) / 2 + ab)


def _sign(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    return (2 / math.pi) * _angle(aa, bb, ab)[0]


def _sign_slope(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    return (2 / math.pi) * (aa * bb - ab * ab).clamp(min=0).rsqrt()


def _step(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    return 0.25 + _sign(aa, bb, ab) / 4


def _step_slope(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    return _sign_slope(aa, bb, ab) / 4


def _gelu_parts(aa: Tensor, bb: Tensor, ab: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`E[Phi Phi]`, `E[phi phi]`, the determinant of `1 + K`, and the polynomial in front of the density."""
    one_a, one_b = 1 + aa, 1 + bb
    angle, root = _angle(one_a, one_b, ab)
    determinant = root * root
    orthant = 0.25 + angle / (2 * math.pi)
    density = 1 / (2 * math.pi * root)
    mixed = 1 / one_a + 1 / one_b - 1
    return orthant, density, determinant, aa * bb + ab * ab * mixed, mixed


def _gelu(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    orthant, density, _, polynomial, _ = _gelu_parts(aa, bb, ab)
    return ab * orthant + density * polynomial


def _gelu_slope(aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    orthant, density, determinant, polynomial, mixed = _gelu_parts(aa, bb, ab)
    return orthant + density * ab * (1 + polynomial / determinant + 2 * mixed)


CLOSED_FORMS: dict[str, tuple[Pair, Pair]] = {
    "erf": (_erf, _erf_slope),
    "sin": (_sin, _cos),
    "cos": (_cos, _sin),
    "exp": (_exp, _exp),
    "sign": (_sign, _sign_slope),
    "step": (_step, _step_slope),
    "gelu": (_gelu, _gelu_slope),
}
