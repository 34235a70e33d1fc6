"""A first-in-first-out memory of feature vectors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """The last `size` vectors that were pushed, `[size, dim]`, oldest first in `contents()`.

    Pushing is explicit: whether a batch enters before or after the loss is computed is the caller's line of code. Batches
    of any size wrap around; of one larger than the queue the last `size` rows stay. What is read has no graph, and what
    is pushed never enters with one. A vector that is not finite is refused: a poisoned queue does not heal.

    Arguments:
        size: how many vectors are kept.
        dim: numbers in each.
        init: what it holds at first: "normal", standard normal entries clamped at 0 (OBoW's), or "empty".
        generator: for the initial entries.
    """

    vectors: Tensor
    position: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int, *, init: str = "empty", generator: torch.Generator | None = None) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size, dim: {size}, {dim}; both must be at least 1")
        if init not in ("empty", "normal"):
            raise ValueError(f"init: {init!r}; allowed: 'empty', 'normal'")
        start = torch.zeros(size, dim) if init == "empty" else torch.randn(size, dim, generator=generator).clamp_min(0)
        self.size, self.dim = size, dim
        self.register_buffer("vectors", start)
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.tensor(size if init == "normal" else 0))

    @torch.no_grad()
    def push(self, features: Float[Tensor, "batch dim"]) -> None:
        """Add the rows in order; the oldest fall out.

        Raises:
            ValueError: vectors of another length, or with NaN or infinity (nothing is pushed then).
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"features: shape {tuple(features.shape)}; expected [batch, {self.dim}]")
        finite = torch.isfinite(features).all(1)
        if not bool(finite.all()):
            raise ValueError(f"features: row {int((~finite).nonzero()[0])} holds NaN or infinity; nothing was pushed")
        count = len(features)
        kept = features.detach()[-self.size :].to(self.vectors)
        start = int(self.position) + count - len(kept)
        places = (start + torch.arange(len(kept), device=kept.device)) % self.size
        self.vectors[places] = kept
        self.position.fill_((int(self.position) + count) % self.size)
        self.filled.fill_(min(int(self.filled) + count, self.size))

    def contents(self) -> Float[Tensor, "filled dim"]:
        """A copy of what is kept, oldest first."""
        count = int(self.filled)
        places = (int(self.position) - count + torch.arange(count, device=self.vectors.device)) % self.size
        return self.vectors[places]

    def __len__(self) -> int:
        return int(self.filled)

    def extra_repr(self) -> str:
        return f"size={self.size}, dim={self.dim}"
