"""Which space a vector lives in: two vectors may be compared only inside one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

METRICS = ("cosine", "ip", "l2", "hamming")


@dataclass(frozen=True)
class SpaceInfo:
    """The space of a set of embeddings.

    Attributes:
        model_id: what made the vectors (`train.model_id`); spaces with different ids never mix.
        dim: number of components.
        metric: "cosine", "ip" (inner product), "l2" (negative squared distance: the nearest scores highest) or
            "hamming" (of codes; minus the number of differing bits).
        normalized: whether the model already gives unit vectors.
        dtype: of the embeddings.
        prefixes: lengths of the prefixes that are embeddings in their own right.
    """

    model_id: str
    dim: int
    metric: str = "cosine"
    normalized: bool = False
    dtype: str = "float32"
    prefixes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"metric: unknown {self.metric!r}; allowed: {', '.join(METRICS)}")
        if isinstance(self.dim, bool) or self.dim < 1:
            raise ValueError(f"dim: must be at least 1, got {self.dim!r}")

    @classmethod
    def of(cls, space: "SpaceInfo | Mapping[str, Any]") -> "SpaceInfo":
        """A `SpaceInfo` from itself or from a mapping such as `run.space`."""
        if isinstance(space, SpaceInfo):
            return space
        if not isinstance(space, Mapping):
            raise TypeError(f"space: expected a SpaceInfo or a mapping, got {type(space).__name__}")
        known = {f.name for f in fields(cls)}
        surplus = set(space) - known
        if surplus or not {"model_id", "dim"} <= set(space):
            raise ValueError(f"space: needs model_id and dim and knows {', '.join(sorted(known))}; got {sorted(space)}")
        prefixes = space.get("prefixes")
        return cls(**{**space, "prefixes": None if prefixes is None else tuple(prefixes)})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def refuse_other(self, other: "SpaceInfo | Mapping[str, Any] | None", argument: str) -> None:
        """`ValueError` when `other` is a different space: an inner product across spaces means nothing."""
        if other is None:
            return
        other = SpaceInfo.of(other)
        if other.model_id != self.model_id:
            raise ValueError(
                f"{argument}: from model {other.model_id!r}, the index holds model {self.model_id!r}; "
                "embed it with the index's model or build another index"
            )
        if other.dim != self.dim:
            raise ValueError(f"{argument}: {other.dim} dimensions, the index holds {self.dim}")
