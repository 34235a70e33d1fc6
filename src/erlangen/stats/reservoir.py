"""A uniform sample of fixed size from a stream of unknown length, which remembers where its rows came from."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Reservoir:
    """A uniform sample without replacement of at most `capacity` rows.

    Every row gets a random key that depends only on the seed and on its index in the data set; the rows with the
    smallest keys stay. So the sample does not depend on batch sizes, order or sharding, and merging shards gives
    exactly the sample of one pass (Vitter, "Random sampling with a reservoir", 1985; here in its mergeable form).
    """

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: {capacity}; must be at least 1")
        self.capacity = capacity
        self.seed = seed
        self.seen = 0
        self._keys: Tensor | None = None
        self._index: Tensor | None = None
        self._rows: dict[str, Tensor] = {}

    def update(self, index: Int[Tensor, " rows"], **rows: Tensor) -> "Reservoir":
        """Offer rows: named tensors `[rows, ...]` with their `index` in the data set."""
        for name, value in rows.items():
            if len(value) != len(index):
                raise ValueError(f"{name}: {len(value)} rows for {len(index)} indices; they must match")
        self.seen += len(index)
        self._absorb(random_keys(index, self.seed), index, rows)
        return self

    def merge(self, other: "Reservoir") -> "Reservoir":
        if other.seed != self.seed or other.capacity != self.capacity:
            raise ValueError("other: seeds and capacities must agree for reservoirs to merge")
        self.seen += other.seen
        if other._keys is not None and other._index is not None:
            self._absorb(other._keys, other._index, other._rows)
        return self

    def _absorb(self, keys: Tensor, index: Tensor, rows: dict[str, Tensor]) -> None:
        if self._keys is not None and self._index is not None:
            keys = torch.cat([self._keys, keys])
            index = torch.cat([self._index, index])
            rows = {name: torch.cat([self._rows[name], value]) for name, value in rows.items()}
        if len(keys) > self.capacity:
            keep = keys.argsort(stable=True)[: self.capacity].sort().values
            keys, index = keys[keep], index[keep]
            rows = {name: value[keep] for name, value in rows.items()}
        self._keys, self._index, self._rows = keys, index, dict(rows)

    def compute(self) -> dict[str, Tensor]:
        """The sampled rows by name, with `"index"`, in the order of the index."""
        if self._index is None:
            return {}
        order = self._index.argsort(stable=True)
        return {"index": self._index[order], **{name: value[order] for name, value in self._rows.items()}}

    @property
    def nbytes(self) -> int:
        held = [t for t in (self._keys, self._index, *self._rows.values()) if t is not None]
        return sum(t.numel() * t.element_size() for t in held)


def random_keys(index: Int[Tensor, " rows"], seed: int) -> Float[Tensor, " rows"]:
    """One uniform number in [0, 1) for every index, the same on every machine (splitmix64's mixing function)."""
    z = index.long() * -7046029254386353131 + (seed + 1) * 1442695040888963407 % (1 << 62)
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        z = (z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))) * factor
    z = z ^ ((z >> 31) & ((1 << 33) - 1))
    return ((z >> 11) & ((1 << 53) - 1)).double() / float(1 << 53)
