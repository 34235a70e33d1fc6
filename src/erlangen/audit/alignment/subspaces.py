"""Whether two networks span the same directions, whatever axes they use for them."""

import torch

from erlangen.audit.alignment.moments import PairMoments


def subspace_overlap(moments: PairMoments, *, share: float = 0.9, k: int | None = None) -> tuple[float, int]:
    """Mean cosine of the principal angles between the networks' leading `k` principal components over the samples.

    The canonical correlations of the component scores; `k` is the larger of the two numbers of components that hold
    `share` of the variance of the standardised units, unless given. Returns (mean cosine, k).

    Source: Björck and Golub, "Numerical methods for computing angles between linear subspaces", 1973.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: {share}; must be between 0 and 1")
    alive1, alive2 = moments.alive
    within = [c[a][:, a] for c, a in zip(moments.within(), (alive1, alive2), strict=True)]
    if not all(len(c) for c in within):
        return float("nan"), 0
    spectra = [torch.linalg.eigh(c) for c in within]
    most = min(len(within[0]), len(within[1]))
    if k is None:
        needed = [int((s.flip(0).cumsum(0) / s.sum() < share - 1e-12).sum()) + 1 for s, _ in spectra]
        k = max(needed)
    if k < 1:
        raise ValueError(f"k: {k}; at least 1 is needed")
    k = min(k, most)
    (s1, u1), (s2, u2) = spectra
    cross = moments.correlation()[alive1][:, alive2]
    scores = u1[:, -k:].T @ cross @ u2[:, -k:]
    scores = scores / s1[-k:].clamp(min=1e-12).sqrt()[:, None] / s2[-k:].clamp(min=1e-12).sqrt()[None, :]
    return float(torch.linalg.svdvals(scores).clamp(max=1.0).mean()), k
