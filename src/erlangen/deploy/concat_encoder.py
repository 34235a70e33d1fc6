"""Several encoders as one: their embeddings side by side, each made comparable in scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen.data import ArrayDataset


class ConcatEncoder(nn.Module):
    """`z = [phi_1(x), ..., phi_n(x)]` of frozen encoders, every feature standardised: `[batch, ...] -> [batch, sum d_i]`.

    A network that already fits its labels gathers no further features; networks that differ in initialisation and order
    of the data gather others. What the labels at hand do not need may be what the next task does: J. Zhang, L. Bottou,
    "Learning useful representations for shifting tasks and distributions", 2023, arXiv:2212.07346.

    Blocks of different scale would be weighted by their scale under a penalised probe, so that `fit_stats` must see
    some data first, unless `standardize=False`.

    Arguments:
        encoders: at least one; they are kept as they are, in evaluation mode and without gradients.
        standardize: subtract the mean and divide by the standard deviation of every feature; a constant one gives 0.

    Raises:
        ValueError: no encoder given; one of them cannot take an input (it is named).
        RuntimeError: called before `fit_stats`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoders: Sequence[nn.Module], *, standardize: bool = True) -> None:
        super().__init__()
        if len(encoders) == 0:
            raise ValueError("encoders: none given; give at least one")
        self.encoders = nn.ModuleList(encoders)
        self.standardize = standardize
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("std", torch.empty(0))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ConcatEncoder:
        """The encoders stay in evaluation mode: they are frozen."""
        return super().train(False)

    @property
    def embedding_dim(self) -> int:
        """The sum of the encoders' dimensions."""
        return sum(int(encoder.embedding_dim) for encoder in self.encoders)  # type: ignore[arg-type, misc]

    def blocks(self, x: Tensor) -> list[Tensor]:
        """The embedding of each encoder, as it is."""
        found = []
        for number, encoder in enumerate(self.encoders):
            try:
                found.append(encoder(x))
            except (RuntimeError, ValueError) as error:
                raise ValueError(
                    f"encoders: number {number} cannot take x of shape {tuple(x.shape)} ({str(error).splitlines()[0]})"
                ) from None
        return found

    @torch.no_grad()
    def fit_stats(self, data: ArrayDataset | Iterable[Any], *, batch_size: int = 256) -> ConcatEncoder:
        """Mean and standard deviation of every feature over a data set, or over batches that are tensors or have `x`."""
        total = square = torch.zeros(1, dtype=torch.float64)
        count = 0
        for batch in data.batches(batch_size) if isinstance(data, ArrayDataset) else data:
            z = torch.cat(self.blocks(batch if isinstance(batch, Tensor) else batch.x), 1).double().cpu()
            if not bool(torch.isfinite(z).all()):
                raise ValueError("data: an embedding holds NaN or infinity; look at the data and the encoders")
            if count == 0:
                centre = z.mean(0)  # sums around a first guess lose no digits where the mean is large
            total, square, count = total + (z - centre).sum(0), square + (z - centre).square().sum(0), count + len(z)
        if count < 2:
            raise ValueError(f"data: {count} samples; at least 2 are needed for a standard deviation")
        shift = total / count
        std = (square / count - shift.square()).clamp(min=0).sqrt() * (count / (count - 1)) ** 0.5
        mean = centre + shift
        dtype, device = next((p.dtype, p.device) for p in [*self.encoders.parameters(), torch.empty(0)])
        std = torch.where(std <= 1e-6 * mean.abs() + 1e-30, torch.inf, std)
        self.mean, self.std = mean.to(device, dtype), std.to(device, dtype)
        return self

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch embedding"]:
        z = torch.cat(self.blocks(x), 1)
        if not self.standardize:
            return z
        if self.mean.numel() == 0:
            raise RuntimeError(
                "encoder: call fit_stats(data) before the first batch, or build it with standardize=False"
            )
        return (z - self.mean) / self.std

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in ("mean", "std"):  # their size is known only after `fit_stats`
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *rest)
