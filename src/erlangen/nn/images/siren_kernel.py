"""A convolution kernel as a function: a network with sine activations on coordinates, and masks that bound it."""

import itertools
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Mask = Literal["disc", "smooth"]


class SirenKernel(nn.Module):
    """Coordinates -> kernel values, `[..., in_features] -> [..., out_features]`.

        h_1 = sin(ω (W_1 x + b_1)),  h_{l+1} = sin(W_l h_l + b_l),  k = (W h_L + b) / √fan_in

    `layers` hidden layers of `hidden` units; initial weights as in the paper, so that every h_l is spread alike. The kernel's
    values start with variance 1 / `fan_in`, the number of terms the convolution sums. The factor stands outside W, so that
    a step of an optimizer changes all layers alike, however many terms there are.

    Raises ValueError unless all sizes are at least 1 and `omega` and `fan_in` positive.

    Source: Sitzmann et al., Implicit neural representations with periodic activation functions, 2020, arXiv:2006.09661.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden: int = 60,
        layers: int = 2,
        omega: float = 10.0,
        fan_in: float = 1.0,
    ) -> None:
        super().__init__()
        if min(in_features, out_features, hidden, layers) < 1:
            raise ValueError(
                f"in_features, out_features, hidden, layers: got {in_features}, {out_features}, {hidden}, {layers}; "
                "all must be at least 1"
            )
        if not (omega > 0 and fan_in > 0):
            raise ValueError(f"omega, fan_in: got {omega}, {fan_in}; both must be positive")
        self.in_features, self.out_features, self.omega, self.fan_in = in_features, out_features, omega, fan_in
        sizes = [in_features] + [hidden] * layers
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.last = nn.Linear(hidden, out_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform weights: ±1/in for the first layer, ±√(6/width) for the later ones."""
        for index, layer in enumerate(self.hidden):
            assert isinstance(layer, nn.Linear)
            bound = 1 / layer.in_features if index == 0 else math.sqrt(6 / layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -1 / math.sqrt(layer.in_features), 1 / math.sqrt(layer.in_features))
        # sines have mean square 1/2, hence values of variance bound² / 3 * width / 2 = 1 before the scale
        bound = math.sqrt(6 / self.last.in_features)
        nn.init.uniform_(self.last.weight, -bound, bound)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "*points coordinates"]) -> Float[Tensor, "*points values"]:
        for index, layer in enumerate(self.hidden):
            x = layer(x)
            x = torch.sin(self.omega * x if index == 0 else x)
        return self.last(x) / math.sqrt(self.fan_in)

    def extra_repr(self) -> str:
        return f"omega={self.omega}"


def kernel_mask(v: Float[Tensor, "*points 2"], mask: Mask, *, slope: float = 2.0) -> Float[Tensor, "*points"]:
    """Where a kernel lives, as a function of the moved-back offset v = g⁻¹ y.

    "disc": 1 for ‖v‖ <= 1, else 0; for groups that keep areas. "smooth": the sigmoid of slope · (1 - ‖v‖), whose edge
    does not jump when g stretches; for the others.

    Raises ValueError for another name or a slope that is not positive.
    """
    radius = torch.linalg.vector_norm(v, dim=-1)
    if mask == "disc":
        return (radius <= 1 + 1e-4).to(v.dtype)
    if mask != "smooth":
        raise ValueError(f"mask: got {mask!r}; allowed are 'disc', 'smooth'")
    if not slope > 0:
        raise ValueError(f"slope: got {slope}; must be positive")
    return torch.sigmoid(slope * (1 - radius))
