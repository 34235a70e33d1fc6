"""Is the predicted embedding of a moved object nearest to the view it predicts? Ranks, hits and the error of the pose found."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.groups import rotations

KS = (1, 2, 5, 10)


def _similarity(predicted: Tensor, gallery: Tensor) -> Tensor:
    """Cosines of each prediction with its own views `[n, views, d]`, or with one gallery for all, `[views, d]`."""
    unit, views = (torch.nn.functional.normalize(z, dim=-1) for z in (predicted, gallery))
    return unit @ views.mT if gallery.ndim == 2 else (views @ unit.unsqueeze(-1)).squeeze(-1)


def _check(predicted: Tensor, gallery: Tensor, **others: Tensor) -> None:
    if gallery.ndim not in (2, 3) or gallery.shape[-1] != predicted.shape[-1]:
        wanted = f"[views, {predicted.shape[-1]}] or [{len(predicted)}, views, {predicted.shape[-1]}]"
        raise ValueError(f"gallery: shape {list(gallery.shape)}; {wanted} is needed")
    if gallery.ndim == 3 and len(gallery) != len(predicted):
        raise ValueError(f"gallery: views for {len(gallery)} predictions, there are {len(predicted)}")
    if gallery.shape[-2] < 2:
        raise ValueError(f"gallery: {gallery.shape[-2]} views; with fewer than 2 there is nothing to rank")
    for name, value in {"predicted": predicted, "gallery": gallery, **others}.items():
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name}: some entries are NaN or infinite")


def view_ranks(
    predicted: Float[Tensor, "n d"], gallery: Float[Tensor, "*n_views d"], target: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """The place of the target view among all views by cosine, from 1; views that tie share the mean of their places.

    So a predictor that gives one answer for everything ranks in the middle, not first.

    Arguments:
        predicted: the predicted embeddings.
        gallery: the views to find it among, `[n, views, d]` (of the same object) or `[views, d]`.
        target: which of them each prediction should be.

    Raises:
        ValueError: shapes that do not fit, fewer than two views, or values that are not finite.
    """
    _check(predicted, gallery)
    score = _similarity(predicted, gallery)
    if int(target.min()) < 0 or int(target.max()) >= score.shape[1]:
        raise ValueError(f"target: {int(target.min())} .. {int(target.max())}; views are 0 .. {score.shape[1] - 1}")
    own = score.gather(1, target[:, None])
    better = (score > own).sum(1)
    tied = (score == own).sum(1) - 1
    return 1 + better + tied.to(score.dtype) / 2


def mrr_hits(
    predicted: Float[Tensor, "n d"],
    gallery: Float[Tensor, "*n_views d"],
    target: Int[Tensor, " n"],
    *,
    ks: Sequence[int] = KS,
) -> dict[str, float]:
    """`mrr`, the mean of 1 / rank, and `hit@k`, the share of ranks up to k, of `view_ranks`.

    As in Q. Garrido, L. Najman, Y. LeCun, 2023, arXiv:2302.10283: predictions from one view of an object to each of its
    views, ranked among these. Guessing gives a hit@k of k / views.
    """
    rank = view_ranks(predicted, gallery, target)
    return {"mrr": float((1 / rank).mean()), **{f"hit@{k}": float((rank <= k).double().mean()) for k in ks}}


def prediction_retrieval_error(
    predicted: Float[Tensor, "n d"],
    gallery: Float[Tensor, "*n_views d"],
    pose: Tensor,
    wanted: Float[Tensor, "n 3 3"],
) -> dict[str, float]:
    """How far the pose of the view nearest to a prediction is from the pose that was to be predicted.

    `error` is the mean of 1 - |q · q'| over quaternions, as in the paper, in [0, 1]; `degrees` the mean angle. Uniformly
    random rotations are 0.576 and 126.5° apart on average.

    Arguments:
        predicted, gallery: as for `view_ranks`.
        pose: the rotation of every view of the gallery, `[..., views, 3, 3]`.
        wanted: the rotation each prediction is of.
    """
    _check(predicted, gallery, pose=pose, wanted=wanted)
    if pose.shape[:-2] != gallery.shape[:-1]:
        raise ValueError(f"pose: shape {list(pose.shape)}; the gallery has {list(gallery.shape[:-1])} views")
    nearest = _similarity(predicted, gallery).argmax(1)
    found = pose[nearest] if gallery.ndim == 2 else pose[torch.arange(len(nearest), device=nearest.device), nearest]
    angle = rotations.geodesic_distance(found.double(), wanted.double())
    return {"error": float((1 - (angle / 2).cos()).mean()), "degrees": float(angle.rad2deg().mean())}


def pose_r2(predicted: Float[Tensor, "n k"], true: Float[Tensor, "n k"]) -> dict[str, float]:
    """The share of the variance of pose parameters that is predicted, 1 - Σ (true - predicted)² / Σ (true - mean)².

    `r2` takes the mean of each coordinate and averages over coordinates; `r2_global` takes one mean of all entries, as the
    released code of the paper does, which makes the number larger where coordinates have different means.

    Raises:
        ValueError: shapes that differ, or fewer than two samples.
    """
    if predicted.shape != true.shape or len(true) < 2:
        raise ValueError(
            f"predicted: shape {list(predicted.shape)}, true {list(true.shape)}; at least two samples each"
        )
    predicted, true = predicted.double(), true.double()
    error = (true - predicted).square()
    each = 1 - error.sum(0) / (true - true.mean(0)).square().sum(0)
    return {"r2": float(each.mean()), "r2_global": float(1 - error.sum() / (true - true.mean()).square().sum())}
