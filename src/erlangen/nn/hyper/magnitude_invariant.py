"""Codes of a hypernetwork on a sphere, so that their size says nothing and their direction everything."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MagnitudeInvariantEncoding(nn.Module):
    """`E(g) = [cos(π u / 2), sin(π u / 2)]` with `u = (g - low) / (high - low)`: a code of k numbers becomes 2 k of norm √k.

    A network of piecewise linear activations and zero biases is positively homogeneous: codes a times as large make
    weights, and gradients, a times as large, which no initialisation can be right for. Here all codes are equally large,
    and different codes stay different (`inverse`). Source: J. J. Gonzalez Ortiz, J. Guttag, A. Dalca, Magnitude invariant
    parametrizations improve hypernetwork learning, 2024, arXiv:2304.07645. Their code warns of codes outside the range,
    where the encoding wraps; here they are an error. Squash unbounded ones first, as by `torch.sigmoid`.

    Arguments:
        low: the smallest code, one number or one for each entry.
        high: the largest code.

    Raises:
        ValueError: a range that is empty or not finite; a code outside it, with its position.
    """

    def __init__(self, low: float | Sequence[float] = 0.0, high: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        ends = [torch.as_tensor(end, dtype=torch.float64) for end in (low, high)]
        if not bool(torch.isfinite(ends[0] + ends[1]).all()) or not bool((ends[0] < ends[1]).all()):
            raise ValueError(f"low, high: {low}, {high}; finite numbers with low < high are needed")
        first, last = torch.broadcast_tensors(*ends)
        if first.ndim > 1:
            raise ValueError(f"low, high: shape {list(first.shape)}; one number, or one for each entry of the code")
        # no buffers: a cast of the module must not round the ends away from the codes that reach them
        self.low, self.high = first.tolist(), last.tolist()
        self.entries = len(first) if first.ndim == 1 else None

    def forward(self, code: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch twice_k"]:
        """`[*batch, k] -> [*batch, 2 k]`, cosines first."""
        low, high = self._ends(code)
        inside = (code >= low) & (code <= high)
        if not bool(inside.all()):
            at = tuple(int(i) for i in (~inside).nonzero()[0])
            place = ", ".join(map(str, at))
            allowed = f"{float(low.expand_as(code)[at]):g} to {float(high.expand_as(code)[at]):g}"
            raise ValueError(f"code[{place}]: {float(code.detach()[at]):g}; allowed: {allowed}")
        angle = (code - low) / (high - low) * (math.pi / 2)
        return torch.cat([angle.cos(), angle.sin()], -1)

    def inverse(self, encoded: Float[Tensor, "*batch twice_k"]) -> Float[Tensor, "*batch k"]:
        """The code that was encoded."""
        cosine, sine = encoded.chunk(2, -1)
        low, high = self._ends(cosine)
        return low + (high - low) * torch.atan2(sine, cosine) * (2 / math.pi)

    def _ends(self, code: Tensor) -> tuple[Tensor, Tensor]:
        if self.entries not in (None, code.shape[-1]):
            raise ValueError(f"code: {code.shape[-1]} numbers, the range has {self.entries}")
        low, high = (torch.as_tensor(end, dtype=code.dtype, device=code.device) for end in (self.low, self.high))
        return low, high

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"
