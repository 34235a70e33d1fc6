"""λ-orthogonality: a new model's map into an old gallery, between free and rigid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from erlangen import train
from erlangen.data import ArrayDataset
from erlangen.deploy.compat import Adapter
from erlangen.nn.images import PlainCNN
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, images, seeded
from erlangen.recipes.recipe import Budget, recipe

EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 8, "full": 40}
LAMBDAS = (0.5, 2.0, 8.0)
OLD_CLASSES, DIM, STEPS = 5, 32, 200
Embedded = tuple[Tensor, Tensor]


@recipe(
    "lambda_orthogonality",
    title="λ-orthogonality: adapting to an old gallery without losing the new space",
    source="Ricci, Biondi, Pernici, Patras, Del Bimbo, 2025",
    claims=[
        Claim("the free map serves the old gallery better than the rigid one", "free.across", "above", "rigid.across"),
        Claim("the free map loses more of the new space", "free.held_out", "below", "rigid.held_out"),
        Claim(
            "lambda 2: a point more on the old gallery than rigid",
            "lambda2.across",
            "above",
            "rigid.across",
            margin=0.01,
        ),
        Claim("lambda 2: at most half of the free map's loss", "lambda2.loss", "below", "half_of_free_loss"),
        Claim(
            "lambda 8 serves the old gallery no worse than lambda 0.5",
            "lambda8.across",
            "above",
            "lambda0.5.across",
            margin=-0.01,
        ),
        Claim("the bound holds: ||W'W - I|| stays within lambda 2", "lambda2.gap", "below", 2.0, margin=1e-4),
        Claim("the rigid map changes nothing in the new space", "rigid.loss", "below", 1e-3, control=True),
        Claim(
            "without a map the old gallery is near chance (0.2)", "none.across", "below", 0.2, margin=0.15, control=True
        ),
    ],
    uses=[
        "erlangen.deploy.compat.adapter",
        "erlangen.deploy.compat.orthogonal_map",
        "erlangen.objectives.lambda_orthogonality",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "The old network has seen 5 of CIFAR-10's classes and half of their images, the new one is twice as wide and has "
        "seen all 10. The map is fitted on training images of the 5 old classes with their labels. `across` is mAP of "
        "test queries by the mapped new network in the old one's gallery, 5 classes; `held_out` is mAP of the mapped new "
        "network among test images of the other 5 classes, `loss` what it lost against the network without a map. "
        "lambda is in units of the Frobenius norm for 32 dimensions, as many as the old network has channels. "
        "16 x 16 pixels and a few epochs: with some hundred pairs for each class, which both networks have learned by "
        "heart, more freedom fits the pairs better and unseen queries worse, so that the rigid map is hard to beat."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Two networks, and every kind of map on their cached embeddings."""
    pictures = images(budget)
    classes = torch.arange(OLD_CLASSES)
    few = _of_classes(pictures.train, classes)
    old_net = _fit(few.subset(torch.arange(0, len(few), 2)), budget, seed + 1000, width=8)
    new_net = _fit(pictures.train, budget, seed, width=8 if budget == "smoke" else 16)
    asked, others = _of_classes(pictures.test, classes), _of_classes(pictures.test, classes + OLD_CLASSES)
    new, old = features(new_net, few)[0], features(old_net, few)
    gallery, query, held_out = features(old_net, asked), features(new_net, asked), features(new_net, others)
    reference = mean_average_precision(held_out, held_out)
    numbers = {"none.across": mean_average_precision(query, gallery), "none.held_out": reference}
    kinds = {"rigid": Adapter(DIM, DIM, constraint="orthogonal"), "free": Adapter(DIM, DIM, constraint="none")}
    kinds |= {f"lambda{lam:g}": Adapter(DIM, DIM, lam=lam) for lam in LAMBDAS}
    for name, adapter in kinds.items():
        with torch.inference_mode(False):
            adapter.fit(new, *old, steps=STEPS, generator=torch.Generator().manual_seed(seed))
        mapped = _map(adapter, held_out)
        numbers[f"{name}.across"] = mean_average_precision(_map(adapter, query), gallery)
        numbers[f"{name}.held_out"] = mean_average_precision(mapped, mapped)
        numbers[f"{name}.loss"] = reference - numbers[f"{name}.held_out"]
        numbers[f"{name}.gap"] = adapter.distortion().frobenius
    return numbers | {"half_of_free_loss": numbers["free.loss"] / 2}


def mean_average_precision(query: Embedded, gallery: Embedded) -> float:
    """mAP by cosine over the whole ranking; a query that is itself in the gallery (the same tensor) is left out."""
    scores = normalize(query[0], dim=1) @ normalize(gallery[0], dim=1).T
    if query[0] is gallery[0]:
        scores.fill_diagonal_(-torch.inf)
    order = scores.argsort(dim=1, descending=True)
    if query[0] is gallery[0]:
        order = order[:, :-1]
    hit = (gallery[1][order] == query[1][:, None]).double()
    precision = hit.cumsum(1) / torch.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / hit.sum(1).clamp(min=1)).mean())


def _of_classes(part: ArrayDataset, classes: Tensor) -> ArrayDataset:
    assert part.label is not None
    return part.subset(torch.isin(part.label, classes).nonzero()[:, 0])


def _map(adapter: nn.Module, rows: Embedded) -> Embedded:
    with torch.no_grad():
        return adapter(rows[0]), rows[1]


def _fit(part: ArrayDataset, budget: Budget, seed: int, *, width: int) -> nn.Module:
    run = train.fit(
        seeded(lambda: PlainCNN(width, in_channels=part.sample_shape[0], embedding_dim=DIM), seed),
        part,
        objective="cross_entropy",
        epochs=EPOCHS[budget],
        batch_size=64,
        lr=2e-3,
        val_fraction=0.0,
        seed=seed,
        quiet=True,
    )
    return run.encoder
