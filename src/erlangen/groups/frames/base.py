"""What a frame is, and what it returns."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from erlangen.groups.elements import first_leaf, map_elem

OnDegenerate = Literal["raise", "perturb", "weighted"]
ON_DEGENERATE = ("raise", "perturb", "weighted")


@dataclass(frozen=True)
class FrameBatch:
    """Group elements `[*B, F, *E]` (a tensor or a tuple of tensors) and their weights `[*B, F]`, which sum to one.

    Samples with fewer than F elements are filled up with elements of weight zero.
    """

    elements: Any
    weights: Tensor

    @property
    def size(self) -> int:
        """F, the number of elements a sample."""
        return int(self.weights.shape[-1])

    def take(self, index: Tensor) -> "FrameBatch":
        """The elements at `index: [*B, K]` along the frame axis, each with weight 1/K."""
        axis = self.weights.ndim - 1

        def pick(leaf: Tensor) -> Tensor:
            tail = leaf.shape[axis + 1 :]
            return leaf.gather(axis, index.reshape(*index.shape, *([1] * len(tail))).expand(*index.shape, *tail))

        return FrameBatch(
            map_elem(pick, self.elements),
            torch.full_like(self.weights[..., :1], 1 / index.shape[-1]).expand(index.shape),
        )

    def to(self, dtype: torch.dtype) -> "FrameBatch":
        """Floating-point elements and weights in another precision; indices stay indices."""
        moved = map_elem(lambda e: e.to(dtype) if e.is_floating_point() else e, self.elements)
        return FrameBatch(moved, self.weights.to(dtype))

    def detach(self) -> "FrameBatch":
        """The same without gradients."""
        return FrameBatch(map_elem(lambda e: e.detach(), self.elements), self.weights.detach())

    @property
    def device(self) -> torch.device:
        return first_leaf(self.elements).device


@runtime_checkable
class Frame(Protocol):
    """Weighted group elements that move with the input: `F(g·x) = g F(x)` as weighted sets.

    Attributes:
        exact: averaging over the frame gives exact symmetry (False: in expectation only).
        continuous: the average of a continuous function is continuous.
        size: the number of elements F where it does not depend on the input, else None.
    """

    exact: bool
    continuous: bool
    size: int | None

    def __call__(self, x: Any, mask: Tensor | None = None) -> FrameBatch: ...

    def margin(self, x: Any, mask: Tensor | None = None) -> Tensor:
        """How far each sample is from where the frame jumps, `[*B]`: 0 at a discontinuity, infinite without any."""
        ...


def choice(argument: str, given: object, allowed: tuple[str, ...]) -> None:
    """Raise ValueError for a word that is none of the allowed ones."""
    if given not in allowed:
        raise ValueError(f"{argument}: {given!r}; allowed: {', '.join(map(repr, allowed))}")


def check_finite(x: Tensor, mask: Tensor | None = None, name: str = "x") -> None:
    """Raise ValueError, naming the sample, where an unmasked row of `x: [*B, N, n]` holds NaN or infinity."""
    finite = torch.isfinite(x).all(-1)
    if mask is not None:
        finite = finite | ~mask
    whole = finite.all(-1)
    if not bool(whole.all()):
        raise ValueError(f"{name}: NaN or infinity in sample {first_sample(~whole)}; give finite points")


def first_sample(chosen: Tensor) -> Any:
    """The index of the first chosen sample, for messages: 0, 3 or [1, 2]."""
    index = chosen.nonzero()[0].tolist()
    return 0 if not index else index[0] if len(index) == 1 else index


def checked_mask(x: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask `[*B, N]` as booleans; raises where its shape does not fit or a sample has no row left."""
    if mask is None:
        return None
    if mask.shape != x.shape[:-1]:
        raise ValueError(f"mask: shape {tuple(mask.shape)}; needs {tuple(x.shape[:-1])}, one entry a row of x")
    mask = mask.bool()
    if not bool(mask.any(-1).all()):
        raise ValueError(f"mask: sample {first_sample(~mask.any(-1))} has no row left; mask at least one in")
    return mask
