"""Many-to-many: groups of units of several networks that belong together."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.audit.alignment.moments import PairMoments, as_samples


@dataclass(frozen=True)
class JointClusters:
    """Cluster numbers of every network's units (-1 for constant ones), and the clusters with units of all networks."""

    labels: tuple[Tensor, ...]
    mixed: list[int]
    eigenvalues: Tensor

    def members(self, cluster: int) -> tuple[list[int], ...]:
        """The units of each network in one cluster."""
        return tuple((label == cluster).nonzero().squeeze(1).tolist() for label in self.labels)


def joint_clusters(
    activations: Sequence[Tensor] | PairMoments,
    k: int | None = None,
    *,
    method: str = "spectral",
    threshold: float = 0.5,
    seed: int = 0,
) -> JointClusters:
    """Clusters of the units of several networks over the same samples, by the absolute values of all correlations.

    `"spectral"`: the `k` lowest eigenvectors of the symmetric normalised Laplacian, rows scaled to length one, k-means
    (Ng, Jordan and Weiss, "On spectral clustering", 2001). `"agglomerative"`: average linkage on `1 - |correlation|`,
    cut at `threshold` (or into `k`). Units that are constant belong to no cluster.

    Raises ValueError for a `k` below 1 or above the number of varying units, or unlike numbers of samples.

    Source: Li et al., 2016, arXiv:1511.07543.
    """
    if method not in ("spectral", "agglomerative"):
        raise unknown_name("method", method, ["spectral", "agglomerative"])
    if isinstance(activations, PairMoments):
        cross = activations.correlation()
        one, two = activations.within()
        affinity = torch.cat([torch.cat([one, cross], 1), torch.cat([cross.T, two], 1)]).abs()
        sizes, alive = [len(one), len(two)], torch.cat(activations.alive)
    else:
        rows = [as_samples(part) for part in activations]
        if len({len(r) for r in rows}) != 1:
            raise ValueError(f"activations: {[len(r) for r in rows]} samples; all networks must see the same inputs")
        both = torch.cat([r.double().cpu() for r in rows], 1)
        moments = PairMoments.of(both, both[:, :1])
        affinity, sizes, alive = moments.within()[0].abs(), [r.shape[1] for r in rows], moments.alive[0]
    affinity = affinity[alive][:, alive]
    if k is None and method == "spectral":
        raise ValueError("k: spectral clustering needs the number of clusters")
    if k is not None and not 1 <= k <= len(affinity):
        raise ValueError(f"k: {k}; between 1 and the {len(affinity)} units that vary")
    degree = affinity.sum(1)
    root = degree.rsqrt()
    values, vectors = torch.linalg.eigh(
        torch.eye(len(affinity), dtype=affinity.dtype) - root[:, None] * affinity * root
    )
    if method == "spectral":
        assert k is not None
        found = _spectral(vectors[:, :k], k, seed)
    else:
        found = _agglomerative(affinity, k, threshold)
    label = torch.full((len(alive),), -1, dtype=torch.int64)
    label[alive] = found
    parts = label.split(sizes)
    present = [set(part[part >= 0].tolist()) for part in parts]
    return JointClusters(tuple(parts), sorted(set.intersection(*present)), values)


def _spectral(vectors: Tensor, k: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans

    points = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-12)
    fitted = KMeans(k, n_init=10, random_state=seed).fit(points.numpy())
    return torch.from_numpy(fitted.labels_).long()


def _agglomerative(affinity: Tensor, k: int | None, threshold: float) -> Tensor:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = (1 - affinity).clamp(min=0).fill_diagonal_(0.0)
    tree = linkage(squareform(distance.numpy(), checks=False), "average")
    cut = fcluster(tree, threshold, "distance") if k is None else fcluster(tree, k, "maxclust")
    return torch.from_numpy(cut).long() - 1
