"""Replacing the model behind a gallery: what it does to accuracy, and the old vectors kept where that is good enough."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.deploy.compat.orthogonal_map import procrustes
from erlangen.deploy.gallery import VersionedGallery
from erlangen.deploy.index import Index
from erlangen.deploy.inputs import as_matrix, unit_rows
from erlangen.deploy.space import SpaceInfo
from erlangen.stats import paired_difference

LINKS = ("identity", "orthogonal")
LEAST_SAMPLES = 20


@dataclass(frozen=True)
class UpgradeReport:
    """How the nearest neighbour's class agrees with the query's, on held-out queries of a labelled sample.

    Attributes:
        link: "identity" or "orthogonal": how new queries reach the old vectors.
        old: accuracy of old queries on old vectors.
        crossed: accuracy of new queries on old vectors, through the link.
        new: accuracy of new queries on new vectors: what embedding everything anew would give.
        moved: `crossed - old` with its bootstrap interval, `(difference, low, high)`.
        tolerance: how much accuracy may be lost.
        queries: how many there were.
        tried: `crossed` of every link that was tried.
        matrix: `[old dim, new dim]` of an orthogonal link.
    """

    link: str
    old: float
    crossed: float
    new: float
    moved: tuple[float, float, float]
    tolerance: float
    queries: int
    tried: dict[str, float]
    matrix: Tensor | None = field(default=None, repr=False)

    @property
    def compatible(self) -> bool:
        return self.crossed >= self.old - self.tolerance

    def to_dict(self) -> dict[str, Any]:
        facts = {name: value for name, value in asdict(self).items() if name != "matrix"}
        return {"compatible": self.compatible, **facts}


def measure_upgrade(
    old: Float[Tensor, "samples old"],
    new: Float[Tensor, "_ new"],
    labels: Int[Tensor, " _"],
    *,
    link: str = "auto",
    tolerance: float = 0.02,
    generator: torch.Generator | None = None,
) -> UpgradeReport:
    """Whether new queries may search old vectors, on embeddings of one labelled sample by both models.

    A random half is the gallery, and what an orthogonal link is fitted to; the other half asks. "auto" takes
    "identity" (models trained to be compatible) where that is good enough, else the better of the two.

    Raises:
        ValueError: fewer than 20 labelled samples, one class, or "identity" between sizes that differ.
    """
    if link not in ("auto", *LINKS):
        raise unknown_name("link", link, ["auto", *LINKS])
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance: {tolerance}; an accuracy lost is between 0 and 1")
    if not len(old) == len(new) == len(labels):
        raise ValueError(f"old, new, labels: {len(old)}, {len(new)} and {len(labels)} rows; one sample has one number")
    known = labels >= 0
    if int(known.sum()) < LEAST_SAMPLES:
        raise ValueError(f"labels: {int(known.sum())} labelled samples; at least {LEAST_SAMPLES} are needed")
    if len(labels[known].unique()) < 2:
        raise ValueError("labels: one class; every neighbour agrees with every query")
    if link == "identity" and old.shape[1] != new.shape[1]:
        raise ValueError(f"link: 'identity' between {new.shape[1]} and {old.shape[1]} dimensions; use 'orthogonal'")
    before, after = (unit_rows(as_matrix(x[known], n), n) for x, n in ((old, "old"), (new, "new")))
    label = labels[known]
    order = torch.randperm(len(label), generator=generator or torch.Generator().manual_seed(0))
    held, asking = order[: len(order) // 2], order[len(order) // 2 :]

    def hits(query: Tensor, gallery: Tensor) -> Tensor:
        nearest = Index.build(gallery[held]).search(query[asking], 1).ids[:, 0]
        return (label[held][nearest] == label[asking]).double()

    maps: dict[str, Tensor | None] = {}
    if link != "orthogonal" and old.shape[1] == new.shape[1]:
        maps["identity"] = None
    if link != "identity":
        maps["orthogonal"] = procrustes(after[held], before[held], center=False).weight.T.float()
    crossed = {name: hits(after if m is None else after @ m.T, before) for name, m in maps.items()}
    plain = hits(before, before)
    rate = {name: float(hit.mean()) for name, hit in crossed.items()}
    good = [name for name in rate if rate[name] >= float(plain.mean()) - tolerance]
    chosen = good[0] if good else max(rate, key=lambda name: rate[name])
    moved = paired_difference(crossed[chosen], plain, generator=torch.Generator().manual_seed(0))
    fresh = float(hits(after, after).mean())
    return UpgradeReport(
        chosen, float(plain.mean()), rate[chosen], fresh, moved, tolerance, len(asking), rate, maps[chosen]
    )


def upgrade(
    kept: Index | VersionedGallery, report: UpgradeReport, *, old: SpaceInfo, new: SpaceInfo
) -> VersionedGallery:
    """The gallery that answers queries of the new space, its old vectors as they are.

    Spaces that `old` reached through identities and matrices are reached from `new` through `old`.

    Raises:
        ValueError: the report finds the spaces not compatible, or there are no vectors of `old`.
    """
    if not report.compatible:
        raise ValueError(
            f"report: new queries would find {report.crossed:.3f} where old ones find {report.old:.3f}, a loss beyond "
            f"the tolerance of {report.tolerance}; embed the gallery anew ({report.new:.3f}), fit a link on more pairs, or "
            "allow a larger tolerance"
        )
    if isinstance(kept, Index):
        gallery = VersionedGallery()
        gallery.adopt(kept)
    else:
        gallery = kept
    if old.model_id not in {space.model_id for space in gallery.spaces}:
        names = ", ".join(repr(space.model_id) for space in gallery.spaces) or "none"
        raise ValueError(f"old: the gallery holds no vectors of model {old.model_id!r}; it holds those of {names}")
    gallery.link(new, old.model_id, "identity" if report.matrix is None else report.matrix)
    for link in gallery.links:
        if link.source.model_id != old.model_id or link.kind == "function" or link.target == new.model_id:
            continue
        steps = [m for m in (link.matrix, report.matrix) if m is not None]
        by: str | Tensor = steps[0] @ steps[1] if len(steps) == 2 else steps[0] if steps else "identity"
        gallery.link(new, link.target, by)
    return gallery
