"""A linear map whose matrix depends linearly on a code, without ever building a matrix per sample."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class HyperLinear(nn.Module):
    """`y = (Σ_k g_k H_k) x (+ Σ_k g_k b_k)`: bilinear in the code `g` and the input `x`.

    A weight per sample would hold batch · in · out numbers. Here the `code_dim` products `H_k x` are one matrix
    product whose result, `[batch, code_dim, out]`, is then combined by the code; where the code is longer than the input
    and output are wide, the code is contracted with the input first. The same function in either order.

    Arguments:
        in_features: of x.
        out_features: of y.
        code_dim: numbers in the code.
        bias: whether there is a bias, linear in the code too: y = 0 for g = 0 in every case.
        code_scale: the root mean square of a code's entries, for the scale of the initial weights (`1 / sqrt(code_dim)` for
            codes of unit norm).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        code_dim: int,
        *,
        bias: bool = False,
        code_scale: float | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features), ("code_dim", code_dim)):
            if value < 1:
                raise ValueError(f"{name}: got {value}; at least 1 is needed")
        self.in_features, self.out_features, self.code_dim = in_features, out_features, code_dim
        self.code_scale = code_scale if code_scale is not None else 1 / math.sqrt(code_dim)
        if not self.code_scale > 0:
            raise ValueError(f"code_scale: got {code_scale}; above 0 is needed")
        self.weight = nn.Parameter(torch.empty(code_dim, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(code_dim, out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Outputs as large as inputs: the entries of Σ_k g_k H_k have variance 1 / in_features."""
        size = self.code_scale * math.sqrt(self.code_dim)
        nn.init.normal_(self.weight, std=1 / (size * math.sqrt(self.in_features)))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "*batch in_features"], g: Float[Tensor, "*code"]) -> Float[Tensor, "*batch out"]:
        """`x: [*batch, in_features]`, `g: [*batch, code_dim]` or `[code_dim]` for one code shared by all.

        Raises:
            ValueError: sizes that do not fit.
        """
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x: {x.shape[-1]} features, {self.in_features} are expected")
        if g.shape[-1] != self.code_dim or (g.ndim > 1 and g.shape[:-1] != x.shape[:-1]):
            wanted = [*x.shape[:-1], self.code_dim]
            raise ValueError(f"g: shape {list(g.shape)}; allowed are {wanted} and [{self.code_dim}]")
        if g.ndim == 1:  # one matrix for everyone
            weight = torch.einsum("k,koi->oi", g, self.weight)
            y = torch.nn.functional.linear(x, weight)
        elif self.out_features <= self.in_features:
            flat = self.weight.flatten(0, 1)
            each = torch.nn.functional.linear(x, flat).unflatten(-1, (self.code_dim, self.out_features))
            y = (g.unsqueeze(-2) @ each).squeeze(-2)
        else:  # a narrow input: spread it over the code first
            spread = (g.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)
            y = torch.nn.functional.linear(spread, self.weight.permute(1, 0, 2).flatten(1))
        return y if self.bias is None else y + g @ self.bias

    def matrix(self, g: Float[Tensor, "*batch code"]) -> Float[Tensor, "*batch out in_features"]:
        """The matrix of each code, `[*batch, out_features, in_features]`; for looking at, not for applying."""
        return torch.einsum("...k,koi->...oi", g, self.weight)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, code_dim={self.code_dim}, bias={self.bias is not None}"
