"""Which model may query whose gallery: the compatibility matrix of a sequence of models."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from erlangen._registry import unknown_name
from erlangen.deploy.compat.pairs import check_finite

Metric = Callable[[Tensor, Tensor, Tensor, Tensor], float]
Samples = tuple[Tensor, Tensor]


def identification(query: Tensor, query_label: Tensor, gallery: Tensor, gallery_label: Tensor) -> float:
    """Share of queries whose nearest class centre is their own class's.

    A centre is the mean of a class's unit vectors, made unit again; nearness is the inner product. Queries of classes
    that the gallery lacks count as wrong.
    """
    classes, place = gallery_label.unique(return_inverse=True)
    sums = torch.zeros(len(classes), gallery.shape[1], dtype=gallery.dtype, device=gallery.device)
    centres = normalize(sums.index_add_(0, place, normalize(gallery, dim=1)), dim=1)
    return float((classes[(query @ centres.T).argmax(1)] == query_label).double().mean())


def nearest_neighbour(query: Tensor, query_label: Tensor, gallery: Tensor, gallery_label: Tensor) -> float:
    """Share of queries whose nearest gallery vector by cosine has their class."""
    best = (normalize(query, dim=1) @ normalize(gallery, dim=1).T).argmax(1)
    return float((gallery_label[best] == query_label).double().mean())


METRICS: dict[str, Metric] = {"identification": identification, "nearest": nearest_neighbour}


def compatibility_matrix(
    models: Sequence[Callable[[Tensor], Tensor]],
    gallery: Samples,
    query: Samples,
    *,
    metric: Literal["identification", "nearest"] | Metric = "identification",
) -> Float[Tensor, "models models"]:
    """`M[i, j]`: queries by model i against the gallery that model j made, for j <= i; NaN above the diagonal.

    Arguments:
        models: encoders from oldest to newest, of one output size; modules are run in evaluation mode.
        gallery, query: `(samples, labels)`.
        metric: "identification" (the nearest class centre), "nearest" (the nearest vector), or a function of
            `(query, query_label, gallery, gallery_label)`.

    Raises:
        ValueError: no models, or models whose embeddings differ in size, which no inner product can compare.
    """
    if not models:
        raise ValueError("models: none given")
    if isinstance(metric, str) and metric not in METRICS:
        raise unknown_name("metric", metric, list(METRICS))
    score: Metric = METRICS[metric] if isinstance(metric, str) else metric
    galleries = [_embed(model, gallery[0], f"models[{i}]") for i, model in enumerate(models)]
    queries = [_embed(model, query[0], f"models[{i}]") for i, model in enumerate(models)]
    sizes = [g.shape[1] for g in galleries]
    if len(set(sizes)) > 1:
        raise ValueError(f"models: embeddings of {', '.join(map(str, sizes))} dimensions; one size can be compared")
    matrix = torch.full((len(models), len(models)), torch.nan, dtype=torch.float64)
    for i in range(len(models)):
        for j in range(i + 1):
            matrix[i, j] = score(queries[i], query[1], galleries[j], gallery[1])
    return matrix


def average_compatibility(matrix: Float[Tensor, "models models"]) -> float:
    """AC: the share of pairs i > j with `M[i, j] > M[j, j]`, strictly: the new query beats the old model on its gallery.

    Source: N. Biondi, F. Pernici, M. Bruni, A. Del Bimbo, "CoReS", 2023; used by N. Biondi et al., 2024,
    arXiv:2405.02581. Raises ValueError for fewer than two models.
    """
    t = len(matrix)
    if matrix.shape != (t, t) or t < 2:
        raise ValueError(f"matrix: shape {tuple(matrix.shape)}; a square one of at least two models is needed")
    below = torch.ones(t, t, dtype=torch.bool).tril(-1)
    return float((matrix > matrix.diagonal()[None, :])[below].double().mean())


def average_metric(matrix: Float[Tensor, "models models"]) -> float:
    """AA: the mean of the lower triangle with the diagonal."""
    return float(matrix[torch.ones_like(matrix, dtype=torch.bool).tril()].mean())


def pairwise_compatibility(
    new: Float[Tensor, "samples dim"], old: Float[Tensor, "samples dim"], labels: Int[Tensor, " samples"]
) -> tuple[float, float]:
    """The definition itself, as the share of pairs for which it holds: `(same class, different class)`.

    For pairs i != j of one class `d(new_i, old_j) <= d(old_i, old_j)`, of different classes `>=`, with Euclidean
    distances of unit vectors. Both 1 is compatibility in the strict sense. Source: Y. Shen, Y. Xiong, W. Xia, S. Soatto,
    "Towards backward-compatible representation learning", 2020, arXiv:2003.11942.
    """
    if new.shape != old.shape or len(labels) != len(new):
        raise ValueError(f"new, old, labels: {tuple(new.shape)}, {tuple(old.shape)}, {len(labels)}; one size is needed")
    check_finite("new", new)
    check_finite("old", old)
    unit = normalize(old.double(), dim=1)
    across, within = normalize(new.double(), dim=1) @ unit.T, unit @ unit.T
    other = ~torch.eye(len(new), dtype=torch.bool, device=new.device)
    same = (labels[:, None] == labels[None, :]) & other
    nearer, farther = across >= within - 1e-12, across <= within + 1e-12
    return float(nearer[same].double().mean()), float(farther[~same & other].double().mean())


@torch.no_grad()
def _embed(model: Callable[[Tensor], Tensor], x: Tensor, name: str, chunk: int = 512) -> Tensor:
    training = getattr(model, "training", None)
    if isinstance(model, torch.nn.Module):
        model.eval()
    try:
        rows = torch.cat([model(part) for part in x.split(chunk)])
    finally:
        if isinstance(model, torch.nn.Module):
            model.train(bool(training))
    check_finite(name, rows)
    return rows
