"""Any network on points made invariant by its input alone: coordinates that know the distances and nothing else."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups.frames.base import OnDegenerate, choice
from erlangen.groups.frames.mds import Chirality, MDSFrame
from erlangen.groups.symmetry import Case, Symmetry

Output = Literal["invariant", "points", "vectors"]


def _cases() -> list[Case]:
    x = torch.randn(2, 6, 3) * torch.tensor([1.0, 2.0, 3.0])

    def backbone(out: int) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, out))

    pooled = nn.Sequential(nn.Flatten(), nn.Linear(18, 16), nn.Tanh(), nn.Linear(16, 4))
    return [
        Case(TInv(pooled), (x,), "perceptron"),
        Case(TInv(backbone(3), scale=False, chirality="keep", output="points"), (x,), "points, handed"),
    ]


@modules.register(
    "tinv", summary="Invariant coordinates in front of any network", paper="arXiv:2112.12345", cases=_cases
)
class TInv(nn.Module):
    """`f(H)` with H the coordinates of classical scaling, `‖H_i - H_j‖ = ‖x_i - x_j‖`, at the cost of one pass.

    Initial coordinates that are invariant and keep distances are enough: whatever network follows is invariant under
    translations, rotations, reflections and (`scale=True`) scalings, and loses nothing but the pose. The network keeps the
    symmetry under renaming of points that it has, since H follows the order of the points.

    `[*B, N, n]` -> whatever `module` returns for coordinates `[*B, N, dim]`. With output="points" or "vectors" the result
    `[*B, M, n]` is turned back to the pose of the input (the journal version's equivariant form): a frame of one
    element. Further arguments go to `module` unmoved; `mask: [*B, N]` leaves padded points out and is handed on.

    Args:
        module: any network on points.
        n: the dimension of the points.
        dim: how many coordinates to keep, by falling variance; None for all.
        scale: divide by the root mean square radius.
        chirality: "ignore" (mirror images agree), "keep" (they differ).
        output: what `module` returns.
        on_degenerate: where principal axes are not defined, "raise" or "perturb".
        differentiable: let gradients flow through the pose.

    The answer jumps at clouds whose axes or signs are not defined: `frame.margin(x)` says how near one is.

    Revisiting Transformation Invariant Geometric Deep Learning: Are Initial Representations All You Need? (Zhang, Wang,
    Zhang, Cui, Zhu, 2021, arXiv 2112.12345). See `MDSFrame` for where the rule of the signs is ours.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        n: int = 3,
        dim: int | None = None,
        scale: bool = True,
        chirality: Chirality = "ignore",
        output: Output = "invariant",
        on_degenerate: OnDegenerate = "raise",
        differentiable: bool = True,
    ) -> None:
        super().__init__()
        choice("output", output, ("invariant", "points", "vectors"))
        if output != "invariant" and dim is not None and dim != n:
            raise ValueError(f"dim: {dim} of {n} coordinates cannot be turned back to {output}; leave it None")
        self.module = module
        self.n = n
        self.output = output
        self.frame = MDSFrame(dim, scale, chirality, on_degenerate=on_degenerate, differentiable=differentiable)

    @property
    def symmetries(self) -> list[Symmetry]:
        group = f"{'E' if self.frame.chirality == 'ignore' else 'SE'}({self.n})"
        return [Symmetry(group, "points", self.output)]

    def forward(self, x: Tensor, *rest: Any, mask: Tensor | None = None) -> Any:
        if x.shape[-1] != self.n:
            raise ValueError(f"x: shape {tuple(x.shape)}; needs points of n={self.n} coordinates")
        named = {} if mask is None else {"mask": mask}
        if self.output == "invariant":
            return self.module(self.frame.coordinates(x, mask), *rest, **named)
        pose = self.frame(x.double(), mask).elements[..., 0, :, :]
        turn, shift = pose[..., : self.n, : self.n], pose[..., None, : self.n, self.n]
        square = turn.square().sum((-2, -1), keepdim=True) / self.n
        inside = ((x.double() - shift) @ turn) / torch.where(square > 0, square, 1.0)
        y = self.module(inside.to(x.dtype), *rest, **named)
        back = y.double() @ turn.mT
        return (back + shift if self.output == "points" else back).to(y.dtype)

    def extra_repr(self) -> str:
        return f"{self.frame!r}, output={self.output!r}"
