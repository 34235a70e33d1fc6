"""A head that ends a network with a rotation, in any of the representations of `erlangen.groups.rotations`."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import rotations
from erlangen.groups.rotations.stereographic import stereographic_dimension

Rep = Literal[
    "6d", "5d", "9d", "10d", "quaternion", "axis_angle", "rodrigues", "euler", "columns", "stereographic", "svd"
]
Degenerate = Literal["complete", "raise"]

_SPACE: dict[str, tuple[int, Callable[..., Tensor], Callable[..., Tensor]]] = {
    "6d": (6, rotations.from_6d, rotations.to_6d),
    "5d": (5, rotations.from_5d, rotations.to_5d),
    "9d": (9, rotations.from_9d, rotations.to_9d),
    "10d": (10, rotations.from_10d, rotations.to_10d),
    "quaternion": (4, rotations.from_quaternion, rotations.to_quaternion),
    "axis_angle": (3, rotations.from_axis_angle, rotations.to_axis_angle),
    "rodrigues": (3, rotations.from_rodrigues, rotations.to_rodrigues),
    "euler": (3, lambda x: rotations.from_euler(x, "XYZ"), lambda m: rotations.to_euler(m, "XYZ")),
}
_ANY = ("columns", "stereographic", "svd")
_TOTAL = ("axis_angle", "rodrigues", "euler")  # every vector is a rotation: nothing can be degenerate


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    return [
        Case(RotationHead(4, input="vectors"), (noise(3, 4, 3),), name="6d of vectors"),
        Case(RotationHead(4, rep="9d", input="vectors"), (noise(3, 4, 3),), name="9d of vectors"),
        Case(RotationHead(5, n=4, rep="columns", input="vectors"), (noise(3, 5, 4),), name="SO(4) of vectors"),
    ]


@modules.register("rotation_head", cases=_cases)
class RotationHead(nn.Module):
    """Features -> rotation matrices of SO(n): a linear map to a representation's numbers, then its `from_` function.

    `rep` for n = 3: "6d", "5d", "9d", "10d" are continuous and fit to regress with; "quaternion", "axis_angle",
    "rodrigues" and "euler" (moving XYZ) are not. For any n: "columns" (Gram-Schmidt, n² - n numbers; 6d is n = 3),
    "stereographic" (n² - 2n + 2; 5d is n = 3) and "svd" (n²; 9d is n = 3). The bias starts at the identity.

    `input="features"`: `[..., in_features] -> [..., n, n]`. `input="vectors"`: `[..., in_features, n] -> [..., n, n]` for
    "6d", "9d", "columns" and "svd": every number's vector is a learned combination of the input vectors, without bias,
    so that turning them turns the rotation: f(x Qᵀ) = Q f(x). A reflection of the inputs does not reflect the output.

    Raises ValueError for an unknown `rep`, one that does not exist for this n or this input, and where
    `on_degenerate="raise"` meets a row that determines no rotation.

    Sources: Zhou et al., On the continuity of rotation representations in neural networks, 2019, arXiv:1812.07035;
    Levinson et al., 2020, arXiv:2006.14616 (svd); Peretroukhin et al., 2020, arXiv:2006.01031 (10d).
    """

    def __init__(
        self,
        in_features: int,
        n: int = 3,
        *,
        rep: Rep = "6d",
        input: Literal["features", "vectors"] = "features",
        on_degenerate: Degenerate = "complete",
    ) -> None:
        super().__init__()
        if in_features < 1 or n < 2:
            raise ValueError(f"in_features, n: got {in_features}, {n}; at least 1 and 2 are needed")
        if rep not in _SPACE and rep not in _ANY:
            raise ValueError(f"rep: got {rep!r}; allowed are {', '.join([*_SPACE, *_ANY])}")
        if (rep in _SPACE and n != 3) or (rep == "stereographic" and n < 3):
            allowed = "'columns', 'svd'" + (", 'stereographic'" if n > 2 else "")
            raise ValueError(f"rep: {rep!r} does not exist for n = {n}; allowed are {allowed}")
        if input not in ("features", "vectors"):
            raise ValueError(f"input: got {input!r}; allowed are 'features', 'vectors'")
        if input == "vectors" and rep not in ("6d", "9d", "columns", "svd"):
            raise ValueError(f"rep: {rep!r} does not turn with vectors; allowed are '6d', '9d', 'columns', 'svd'")
        if on_degenerate not in ("complete", "raise"):
            raise ValueError(f"on_degenerate: got {on_degenerate!r}; allowed are 'complete', 'raise'")
        self.in_features, self.n, self.rep, self.input, self.on_degenerate = in_features, n, rep, input, on_degenerate
        numbers = self.numbers if input == "features" else self.numbers // n
        self.linear = nn.Linear(in_features, numbers, bias=input == "features")
        self.reset_parameters()

    @property
    def numbers(self) -> int:
        """How many numbers the representation has."""
        if self.rep in _SPACE:
            return _SPACE[self.rep][0]
        n = self.n
        return {"columns": n * n - n, "stereographic": stereographic_dimension(n), "svd": n * n}[self.rep]

    @property
    def symmetries(self) -> list[Any]:
        """Of vectors: turning them turns the rotation. Of features: none."""
        if self.input == "features":
            return []
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry(f"SO({self.n})", input="vectors", output="rotation")]

    def reset_parameters(self) -> None:
        """torch's initial weights, and the identity as bias."""
        self.linear.reset_parameters()
        if self.linear.bias is not None:
            with torch.no_grad():
                self.linear.bias.copy_(self._identity())

    def _identity(self) -> Tensor:
        eye = torch.eye(self.n)
        if self.rep in _SPACE:
            return _SPACE[self.rep][2](eye)
        if self.rep == "stereographic":
            return rotations.to_stereographic(eye)
        return (eye[:, :-1] if self.rep == "columns" else eye).mT.flatten()

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*rows n n"]:
        if self.input == "vectors":
            if x.ndim < 2 or x.shape[-2:] != (self.in_features, self.n):
                raise ValueError(f"x: expected [..., {self.in_features}, {self.n}], given shape {tuple(x.shape)}")
            return self._rotation(self.linear(x.mT).mT.flatten(-2))
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"x: expected [..., {self.in_features}], given shape {tuple(x.shape)}")
        return self._rotation(self.linear(x))

    def _rotation(self, numbers: Tensor) -> Tensor:
        """Numbers of the representation -> rotations; vectors come one after the other."""
        n, rep = self.n, self.rep
        mode: dict[str, Any] = {} if rep in _TOTAL else {"on_degenerate": self.on_degenerate}
        if rep == "stereographic":
            return rotations.from_stereographic(numbers, n, **mode)
        if rep == "columns":
            return rotations.from_columns(numbers.unflatten(-1, (n - 1, n)).mT, **mode)
        if rep == "svd" or (rep == "9d" and self.input == "vectors"):
            return rotations.project(numbers.unflatten(-1, (n, n)).mT, **mode)
        return _SPACE[rep][1](numbers, **mode)

    def extra_repr(self) -> str:
        return f"{self.in_features} {self.input} -> SO({self.n}), rep={self.rep!r}"
