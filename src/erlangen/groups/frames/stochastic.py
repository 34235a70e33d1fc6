"""A few random elements of another frame."""

from typing import Any

import torch
from torch import Tensor

from erlangen.groups.frames.base import Frame, FrameBatch


class StochasticFrame:
    """`k` elements a sample, drawn by their weights from another frame: an unbiased estimate of its average at k passes.

    Exact in expectation only. FAENet: Frame Averaging Equivariant GNN for Materials Modeling (Duval, Schmidt,
    Hernandez-Garcia, Miret, Malliaros, Bengio, Rolnick, 2023, arXiv 2305.05577) trains with k = 1.
    """

    exact = False

    def __init__(self, frame: Frame, k: int = 1, *, generator: torch.Generator | None = None) -> None:
        if k < 1:
            raise ValueError(f"k: {k}; at least one element is needed")
        self.frame = frame
        self.size: int | None = k
        self.continuous = frame.continuous
        self.generator = generator

    def __call__(self, x: Any, mask: Tensor | None = None) -> FrameBatch:
        return draw(self.frame(x, mask), int(self.size or 1), self.generator)

    def margin(self, x: Any, mask: Tensor | None = None) -> Tensor:
        """That of the other frame."""
        return self.frame.margin(x, mask)

    def __repr__(self) -> str:
        return f"StochasticFrame({self.frame!r}, k={self.size})"


def draw(found: FrameBatch, k: int, generator: torch.Generator | None = None) -> FrameBatch:
    """`k` elements a sample, drawn with replacement by their weights.

    Gradients flow through the elements; where the weights carry gradients too, the draw carries a factor w / w.detach()
    so that the gradient stays unbiased.
    """
    weights = found.weights.detach().double()
    flat = weights.reshape(-1, found.size)
    source = generator.device if generator is not None else flat.device
    index = torch.multinomial(flat.to(source), k, replacement=True, generator=generator).to(flat.device)
    index = index.reshape(*weights.shape[:-1], k)
    drawn = found.take(index)
    if not found.weights.requires_grad:
        return drawn
    picked = found.weights.gather(-1, index)
    return FrameBatch(drawn.elements, drawn.weights * picked / picked.detach())
