"""Vectors with ids, sorted by id, in one of three storage types."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

STORAGES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}


@dataclass(frozen=True)
class VectorStore:
    """Rows in ascending order of id, so that "first among equals" means "smallest id".

    `scales` is the step of each int8 row (value = scale * integer) and None for the float storages.
    """

    ids: Int64[Tensor, " count"]
    data: Tensor
    scales: Float[Tensor, " count"] | None

    @classmethod
    def pack(cls, vectors: Float[Tensor, "count dim"], ids: Int64[Tensor, " count"], storage: str) -> "VectorStore":
        """Sort by id and convert to `storage`; float16 overflow is a `ValueError`."""
        order = torch.argsort(ids, stable=True)
        identity = bool((order == torch.arange(len(ids))).all())
        ids, vectors = (ids, vectors) if identity else (ids[order], vectors[order])
        if storage == "int8":
            scales = vectors.abs().amax(1) / 127 if vectors.shape[1] else vectors.new_zeros(len(vectors))
            steps = torch.where(scales > 0, scales, torch.ones_like(scales))
            return cls(ids, (vectors / steps[:, None]).round().to(torch.int8), steps.float())
        data = vectors.to(STORAGES[storage])
        if storage == "float16" and not bool(torch.isfinite(data).all()):
            raise ValueError("storage: 'float16' cannot hold components beyond 65504; use 'float32'")
        return cls(ids, data.contiguous(), None)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        return self.data.shape[1]

    @property
    def storage(self) -> str:
        return str(self.data.dtype).removeprefix("torch.")

    @property
    def nbytes(self) -> int:
        """Bytes of ids, vectors and scales together."""
        parts = [self.ids, self.data, *([] if self.scales is None else [self.scales])]
        return sum(part.numel() * part.element_size() for part in parts)

    def rows(self, chosen: slice | Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """The first `dim` components of some rows, as floats."""
        if isinstance(chosen, Tensor):
            block = self.data[:, :dim].index_select(0, chosen.flatten()).view(*chosen.shape, dim).to(dtype)
        else:
            block = self.data[chosen, :dim].to(dtype)
        return block if self.scales is None else block * self.scales[chosen].to(dtype)[..., None]

    def kept(self, mask: Bool[Tensor, " count"]) -> "VectorStore":
        """The rows where `mask` is True."""
        return VectorStore(self.ids[mask], self.data[mask], None if self.scales is None else self.scales[mask])

    def merged(self, other: "VectorStore") -> "VectorStore":
        """Both, in order of id."""
        ids = torch.cat([self.ids, other.ids])
        order = torch.argsort(ids, stable=True)
        scales = None
        if self.scales is not None and other.scales is not None:
            scales = torch.cat([self.scales, other.scales])[order]
        return VectorStore(ids[order], torch.cat([self.data, other.data])[order], scales)

    def positions(self, ids: Int64[Tensor, " wanted"]) -> tuple[Tensor, Tensor]:
        """(position of each id, whether it is there)."""
        if len(self) == 0:
            return torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        place = torch.searchsorted(self.ids, ids).clamp(max=len(self) - 1)
        return place, self.ids[place] == ids
