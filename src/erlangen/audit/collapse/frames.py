"""The geometries that class means and classifiers collapse to: simplex, orthogonal, general orthogonal, SELI."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class FramePrediction:
    """What a theory says of the last layer, all float64 `[classes, classes]`.

    - `weight_gram`: `W W^T` of the last linear map.
    - `mean_gram`: `H^T H` of the class means (about zero unless `centred`).
    - `logits`: the product of all linear maps with the class means.
    - `collapsed`: the classes whose mean is predicted to be zero.
    """

    weight_gram: Float[Tensor, "classes classes"]
    mean_gram: Float[Tensor, "classes classes"]
    logits: Float[Tensor, "classes classes"]
    collapsed: Bool[Tensor, " classes"]
    centred: bool = False


def _counts(counts: Sequence[float] | Sequence[int] | Tensor) -> Tensor:
    n = torch.as_tensor(counts, dtype=torch.float64)
    if n.dim() != 1 or len(n) < 2:
        raise ValueError(f"counts: shape {tuple(n.shape)}; at least two classes are needed, one number for each")
    if not bool((torch.isfinite(n) & (n > 0)).all()):
        raise ValueError(f"counts: {n.tolist()}; every class needs a positive number of samples")
    return n


def _centring(classes: int) -> Tensor:
    return torch.eye(classes, dtype=torch.float64) - 1.0 / classes


def etf_prediction(num_classes: int) -> FramePrediction:
    """The simplex equiangular tight frame `I - 11^T / K` of centred class means, up to scale.

    Source: Papyan, Han and Donoho, "Prevalence of neural collapse", 2020, arXiv:2008.08186.
    """
    simplex = _centring(len(_counts([1.0] * num_classes)))
    return FramePrediction(simplex, simplex, simplex, torch.zeros(num_classes, dtype=torch.bool), centred=True)


def orthogonal_prediction(num_classes: int) -> FramePrediction:
    """The orthogonal frame `I` of class means about zero, up to scale: balanced classes, no bias."""
    frame = torch.eye(len(_counts([1.0] * num_classes)), dtype=torch.float64)
    return FramePrediction(frame, frame, frame, torch.zeros(num_classes, dtype=torch.bool))


def gof_prediction(
    counts: Sequence[float] | Sequence[int] | Tensor,
    lam_w: float | Sequence[float],
    lam_h: float,
    *,
    depth: int = 1,
    rank: int | None = None,
    bias: bool = False,
) -> FramePrediction:
    """The general orthogonal frame that deep linear layers on free features reach under squared error.

    The minimiser of `1/(2N) ||W_M ... W_1 H - Y||^2 + sum_j lam_Wj/2 ||W_j||^2 + lam_H/2 ||H||^2` with one-hot `Y`. The
    logits are diagonal, `p_k = x^M / (1 + x^M)` where x minimises `1 / (x^M + 1) + b_k x`,
    `b_k = M (N / n_k) (N lam_H lam_W1 ... lam_WM)^(1/M)`; a class with `b_k >= (M-1)^((M-1)/M) / M` collapses to zero.
    The lengths follow from stationarity: `||w_k||^2 = n_k p_k (1 - p_k) / (N lam_WM)` and
    `||h_k||^2 = p_k (1 - p_k) / (N lam_H)`, so that larger classes have longer classifiers and shorter features.

    Arguments:
        counts: samples of each class.
        lam_w: weight decay, one for all layers or one for each.
        lam_h: decay of the features.
        depth: the number M of linear layers.
        rank: the narrowest width if it is below the number of classes; only the largest classes are then kept.
        bias: a free bias in the last layer. It needs equal counts, and turns the frame into a simplex (`centred`).

    Raises ValueError for counts or decays that are not positive, and for a bias with unequal counts.

    Source: Dang, Tran, Osher, Tran-The, Ho and Nguyen, "Neural collapse in deep linear networks: from balanced to
    imbalanced data", 2023, arXiv:2301.00437.
    """
    n = _counts(counts)
    if depth < 1:
        raise ValueError(f"depth: {depth}; at least one linear layer is needed")
    decays = [float(lam_w)] * depth if isinstance(lam_w, (int, float)) else [float(v) for v in lam_w]
    if len(decays) != depth:
        raise ValueError(f"lam_w: {len(decays)} values for {depth} layers; give one, or one for each")
    if not (min(decays) > 0 and lam_h > 0):
        raise ValueError(f"lam_w, lam_h: {decays} and {lam_h}; must be positive")
    if rank is not None and rank < 1:
        raise ValueError(f"rank: {rank}; must be at least 1")
    if bias and not bool((n == n[0]).all()):
        raise ValueError("bias: a closed form is known for classes of equal size only; use bias=False")
    total = float(n.sum())
    product = float(torch.tensor([total * lam_h, *decays], dtype=torch.float64).log().sum() / depth)
    p = _logit_lengths(depth * (total / n) * torch.tensor(product, dtype=torch.float64).exp(), depth)
    if rank is not None and rank < len(n) - bias:
        if bias:
            raise ValueError(f"rank: {rank} with a bias; the simplex of {len(n)} classes needs rank {len(n) - 1}")
        p = p * torch.zeros_like(p).index_fill_(0, n.argsort(descending=True, stable=True)[:rank], 1.0)
    frame = _centring(len(n)) if bias else torch.eye(len(n), dtype=torch.float64)
    spread = p * (1 - p) / total
    return FramePrediction(
        frame * (n * spread / decays[-1]),
        frame * (spread / lam_h),
        frame * p,
        p == 0,
        centred=bias,
    )


def _logit_lengths(b: Tensor, depth: int) -> Tensor:
    """`x^M / (1 + x^M)` at the global minimum over x >= 0 of `1 / (x^M + 1) + b x`."""
    if depth == 1:
        return (1 - b.sqrt()).clamp(min=0)
    threshold = (depth - 1) ** ((depth - 1) / depth) / depth
    low = torch.full_like(b, ((depth - 1) / (depth + 1)) ** (1 / depth))  # the slope decreases from here on
    high = torch.maximum((depth / b) ** (1 / (depth + 1)), low)
    for _ in range(100):
        middle = (low + high) / 2
        steeper = depth * middle ** (depth - 1) / (1 + middle**depth) ** 2 > b
        low, high = torch.where(steeper, middle, low), torch.where(steeper, high, middle)
    power = ((low + high) / 2) ** depth
    return torch.where(b < threshold, power / (1 + power), 0.0)


def seli_prediction(counts: Sequence[float] | Sequence[int] | Tensor) -> FramePrediction:
    """The simplex-encoded-labels interpolation that cross-entropy reaches on classes of any size, up to scale.

    `Z = Y - 11^T / K = V L U^T` over all samples; `W W^T = V L V^T`, `H^T H = U L U^T`, logits `Z`. With equal counts it
    is the simplex frame.

    Source: Thrampoulidis, Kini, Vakilian and Behnia, "Imbalance trouble: revisiting neural-collapse geometry", 2022,
    arXiv:2208.05512.
    """
    n = _counts(counts)
    v, scale, qt = torch.linalg.svd(_centring(len(n)) * n.sqrt())
    features = qt.T / n.sqrt().unsqueeze(1)
    return FramePrediction(
        (v * scale) @ v.T,
        (features * scale) @ features.T,
        _centring(len(n)),
        torch.zeros(len(n), dtype=torch.bool),
    )


def frame_distance(
    gram: Float[Tensor, "classes classes"], target: Float[Tensor, "classes classes"], *, rank: int | None = None
) -> Float[Tensor, ""]:
    """`|| A / ||A|| - T / ||T|| ||_F`, from 0 (the same shape) to 2; NaN where one of them is zero.

    With a `rank` below that of a target whose non-zero eigenvalues are equal (simplex, orthogonal frame), the target is
    the nearest of its best approximations of that rank: the projection on the leading directions of `A` within it.
    """
    a, t = gram.double(), target.double()
    if rank is not None and rank < int(torch.linalg.matrix_rank(t, hermitian=True)):
        inside = t @ (a + a.T) @ t
        leading = torch.linalg.eigh(inside).eigenvectors[:, -rank:]
        t = leading @ leading.T
    scale_a, scale_t = a.norm(), t.norm()
    undefined = (scale_a == 0) | (scale_t == 0)
    return torch.where(undefined, torch.nan, (a / scale_a - t / scale_t).norm())


def gof_from_logits(
    counts: Sequence[float] | Sequence[int] | Tensor, lengths: Float[Tensor, " classes"], *, depth: int = 1
) -> FramePrediction | None:
    """The general orthogonal frame, up to scale, of a network whose decays are not known.

    Each measured diagonal logit `p_k` in (0, 1) gives an estimate of `n_k b_k`, which the theory says is one number for
    all classes; their median stands for it. None where no logit lies between 0 and 1.
    """
    n = _counts(counts)
    p = lengths.double()
    inside = (p > 1e-6) & (p < 1 - 1e-6)
    if not bool(inside.any()):
        return None
    x = (p[inside] / (1 - p[inside])) ** (1 / depth)
    scale = (n[inside] * depth * x ** (depth - 1) / (1 + x**depth) ** 2).median()
    p = _logit_lengths(scale / n, depth)
    return FramePrediction((n * p * (1 - p)).diag(), (p * (1 - p)).diag(), p.diag(), p == 0)
