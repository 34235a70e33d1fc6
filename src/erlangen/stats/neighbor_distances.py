"""Exact distances to the nearest neighbours within one set, fast: candidates in float32, distances in float64."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

TREE_FEATURES = 6  # up to here a tree prunes enough to beat products of matrices
TREE_DIMENSION = 5.5  # on a surface of few dimensions too, once its axes are those of greatest variance
MOST_TREE_FEATURES = 128
GROUP = 32
LANES = 16  # groups lie side by side, a whole number of vector registers of them
TILE = 2048
SPARE = 2


def neighbor_distances(
    x: Float[Tensor, "n features"], k: int, *, block_bytes: int = 1 << 24
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Euclidean distances from every row to its `k` nearest other rows, nearest first, and which rows these are.

    Distances are computed in float64 from differences, so that those of duplicates are exactly 0 and none is lost to
    cancellation; beside the answer at most about `block_bytes` are held. Few features, or rows that a sample says lie
    on a surface of few dimensions, are searched by a k-d tree (of a rotated copy). Otherwise blocks of products in
    float32 propose candidates (the smallest of each group of columns first, so that no full row is ever sorted); a row
    for which the rounding of float32 leaves a doubt is searched again in float64.
    """
    n, features = x.shape
    if not 1 <= k < n:
        raise ValueError(f"k: {k}; must be between 1 and the {n - 1} other rows")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x: contains NaN or infinite values, which have no nearest neighbours")
    x = x.detach().double().cpu()
    x = x - x.mean(0)
    if features <= TREE_FEATURES:
        return _by_tree(x, k)
    if n <= 4 * (k + SPARE) or n <= 512:
        return _exactly(x, torch.arange(n), k, block_bytes)
    if n >= 4000 and features <= MOST_TREE_FEATURES and _surface(x, block_bytes) < TREE_DIMENSION:
        return _by_tree(x @ torch.linalg.eigh(x.T @ x)[1].flip(1), k)
    scale = float(x.abs().max())
    x = x / scale if scale > 0 else x  # float32 neither overflows nor underflows
    distances, rows = _by_candidates(x, k, block_bytes)
    return distances * (scale if scale > 0 else 1.0), rows


def _surface(x: Tensor, block_bytes: int) -> float:
    """Roughly the dimension of the surface that the rows lie on, from a thousand of them."""
    some = x[:: max(1, len(x) // 1000)]
    near, _ = _exactly(some, torch.arange(len(some)), 2, block_bytes)
    ratio = (near[:, 1] / near[:, 0]).log()[near[:, 0] > 0]
    return len(ratio) / float(ratio.sum()) if len(ratio) else math.inf


def _by_tree(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    _, found = cKDTree(x.numpy()).query(x.numpy(), k + 1)
    rows = torch.from_numpy(found)
    # a row is among its own neighbours, first unless it has duplicates; where more duplicates than k hide it, drop one
    own = rows == torch.arange(len(x)).unsqueeze(1)
    own[~own.any(1), -1] = True
    return _sorted(x, torch.arange(len(x)), rows[~own].view(len(x), k))


def _by_candidates(x: Tensor, k: int, block_bytes: int) -> tuple[Tensor, Tensor]:
    n, features = x.shape
    single = x.float()
    norms = single.square().sum(1)
    tiles = math.ceil(n / TILE)  # a tile of scores is reduced while it is in the cache
    width = math.ceil(n / (tiles * GROUP * LANES)) * GROUP * LANES
    bank = torch.zeros(features + 1, tiles * width)
    bank[:-1, :n], bank[-1, :n], bank[-1, n:] = -2 * single.T, norms, torch.inf
    banks = [part.contiguous() for part in bank.split(width, 1)]
    query = torch.cat([single, torch.ones(n, 1)], 1)
    groups = width // GROUP
    take = k + SPARE
    block = max(16, min(n, 128, block_bytes // (4 * tiles * width)))
    score, least = torch.empty(tiles, block, width), torch.empty(block, tiles, groups)
    members = torch.arange(GROUP) * groups
    line = torch.arange(block).unsqueeze(1) * width
    # |computed - true| of a product of this many terms in float32, for centred rows of these lengths
    slack = 2.0 * (features + 4) ** 0.5 * 2.0**-23 * (norms.double() + float(norms.max()))
    distances, rows = torch.empty(n, k, dtype=torch.float64), torch.empty(n, k, dtype=torch.int64)
    doubtful = []
    for start in range(0, n, block):
        own = torch.arange(start, min(start + block, n))
        count = len(own)
        for tile in range(tiles):
            part = score[tile, :count]
            torch.mm(query[own], banks[tile], out=part)
            if start // width <= tile <= (start + count - 1) // width:
                mine = (own // width == tile).nonzero().squeeze(1)
                part[mine, own[mine] % width] = torch.inf
            torch.amin(part.view(count, GROUP, groups), 1, out=least[:count, tile])
        # the smallest elements lie in the groups whose minima are smallest
        flat = least[:count].flatten(1)
        near_groups = flat.topk(min(take, flat.shape[1]), largest=False, sorted=False).indices
        place = (near_groups.remainder(groups).unsqueeze(2) + members).flatten(1)
        of_tile = (near_groups // groups).repeat_interleave(GROUP, 1)
        best = score.take(of_tile * (block * width) + line[:count] + place).topk(take, largest=False)
        candidates = (of_tile * width + place).gather(1, best.indices)
        near, which = _sorted(x, own, candidates)
        distances[own], rows[own] = near[:, :k], which[:, :k]
        # whatever is not a candidate is at least as far as the last one, up to rounding
        beyond = best.values[:, -1].double() + norms[own].double() - slack[own]
        doubtful.append(own[near[:, k - 1].square() > beyond])
    again = torch.cat(doubtful)
    if len(again):
        distances[again], rows[again] = _exactly(x, again, k, block_bytes)
    return distances, rows


def _chunks(rows: Tensor, size: int) -> Iterator[Tensor]:
    return iter(rows.split(max(1, size)))


def _exactly(x: Tensor, rows: Tensor, k: int, block_bytes: int) -> tuple[Tensor, Tensor]:
    """All distances of some rows in float64."""
    near, which = [], []
    for own in _chunks(rows, block_bytes // (8 * len(x))):
        distance = torch.cdist(x[own], x, compute_mode="donot_use_mm_for_euclid_dist")
        distance[torch.arange(len(own)), own] = torch.inf
        best = distance.topk(k, largest=False)
        near.append(best.values)
        which.append(best.indices)
    return torch.cat(near), torch.cat(which)


def _sorted(x: Tensor, own: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of the candidates in float64, nearest first."""
    parts = []
    size = max(1, (1 << 21) // (x.shape[1] * candidates.shape[1]))
    for mine, theirs in zip(own.split(size), candidates.split(size), strict=True):
        parts.append((x[theirs] - x[mine].unsqueeze(1)).square().sum(2).sqrt())
    distance, order = torch.cat(parts).sort(1)
    return distance, candidates.gather(1, order)
