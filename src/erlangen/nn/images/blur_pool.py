"""Anti-aliased halving of the resolution that commutes with rotations by 90 degrees and reflections."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from erlangen._registry import modules


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    generator = torch.Generator().manual_seed(0)
    return [
        Case(BlurPool2d(), (torch.randn(2, 3, size, size, generator=generator),), name=f"size {size}")
        for size in (7, 8)
    ]


@modules.register("blur_pool2d", cases=_cases)
class BlurPool2d(nn.Module):
    """Low-pass filter, then keep every second sample: `n -> ceil(n / 2)` on each axis.

    The samples that are kept lie symmetrically about the centre: an odd size is filtered with the taps [1 2 1]/4 and
    keeps its centre, an even size with [1 3 3 1]/8 and keeps points halfway between pixels. A strided layer with one
    kernel for both parities is off-centre on one of them and loses equivariance there (escnn issue 72). The border is
    replicated, so that a constant image stays constant.

    Source: Zhang, Making convolutional networks shift-invariant again, 2019, arXiv:1904.11486; the choice of taps by
    parity is ours.
    """

    odd: Tensor
    even: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("odd", torch.tensor([1.0, 2.0, 1.0]) / 4, persistent=False)
        self.register_buffer("even", torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8, persistent=False)

    @property
    def symmetries(self) -> list[Any]:
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry("D4", input="image", output="image")]

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels _ _"]:
        rows, columns = (self.odd if size % 2 else self.even for size in x.shape[-2:])
        kernel = torch.outer(rows, columns).to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=x.shape[1])
