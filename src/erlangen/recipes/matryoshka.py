"""Matryoshka: what the prefixes of one embedding are worth, next to truncation, PCA and networks of that size."""

from __future__ import annotations

import torch
from torch import Tensor

from erlangen import train
from erlangen.audit.matryoshka import matryoshka_curve, nearest_accuracy, principal_components
from erlangen.data import ArrayDataset
from erlangen.deploy import AdaptiveClassifier, ExactIndex, FunnelSearch
from erlangen.nn import MatryoshkaHead
from erlangen.objectives import CrossEntropy, Matryoshka, Objective
from erlangen.recipes.characters import characters
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, plain_encoder, seeded
from erlangen.recipes.recipe import Budget, recipe

DIMS = (8, 16, 32, 64)
ALONE = (8, 16)
EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 12, "full": 60}
SHORTLISTS, RANKS = (200, 50), 10
Embedded = tuple[Tensor, Tensor]


@recipe(
    "matryoshka",
    title="Matryoshka representations: every prefix an embedding",
    source="arXiv:2205.13147",
    claims=[
        Claim("8 of 64: trained prefixes beat truncation by 5 points", "mrl.8", "above", "truncated.8", margin=0.05),
        Claim("16 of 64: they beat it by 3 points", "mrl.16", "above", "truncated.16", margin=0.03),
        Claim("the whole embedding loses less than 3 points", "mrl.64", "above", "truncated.64", margin=-0.03),
        Claim("8 of 64: within 5 points of a network of 8", "mrl.8", "above", "alone.8", margin=-0.05),
        Claim("16 of 64: within 5 points of a network of 16", "mrl.16", "above", "alone.16", margin=-0.05),
        Claim("8 of 64: trained prefixes beat 8 principal components of the plain network", "mrl.8", "above", "pca.8"),
        Claim(
            "8 of 64 on characters that the PCA did not see: trained prefixes beat it", "mrl.new", "above", "pca.new"
        ),
        Claim("a funnel of 16, 32 and 64: mAP@10 within 0.5 points", "funnel", "above", "exact", margin=-0.005),
        Claim("the funnel over trained prefixes beats one over principal components", "funnel", "above", "pca.funnel"),
        Claim("short heads for the sure: accuracy within 2 points", "cascade", "above", "cascade.whole", margin=-0.02),
        Claim("they need less than 80 % of the dimensions on average", "cascade.size", "below", 0.8),
        Claim(
            "as many stopped at random lose more than the sure",
            "cascade.random",
            "below",
            "cascade",
            control=True,
        ),
        Claim(
            "a rotation keeps the whole embedding and costs the prefix",
            "rotated.8",
            "below",
            "mrl.8",
            control=True,
        ),
        Claim(
            "rotated, the whole embedding is what it was", "rotated.64", "above", "mrl.64", margin=-1e-3, control=True
        ),
    ],
    uses=[
        "erlangen.objectives.matryoshka",
        "erlangen.nn.matryoshka_head",
        "erlangen.audit.matryoshka",
        "erlangen.deploy.adaptive_classifier",
        "erlangen.deploy.funnel",
        "erlangen.recipes.characters",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "`mrl.m`, `truncated.m` and `alone.m` are 1-nearest-neighbour accuracies on held-out drawings of 242 characters "
        "from the first m of 64 dimensions: of a Matryoshka embedding, of an ordinary one, and of a network with m "
        "dimensions; `pca.m` are m centred principal components of the ordinary embedding, a strong baseline here: "
        "an ordinary embedding of this size has few directions to spare. `new`: 8 dimensions on half of the characters, "
        "the PCA fitted on the other half. `funnel` and `exact` are mAP@10 of the Matryoshka embedding, `work` the share "
        "of multiplications that the funnel leaves, `pca.funnel` and `pca.exact` those of the ordinary embedding after a PCA "
        "that keeps all dimensions. `cascade` is the accuracy of the heads in turn, each for the samples that it is sure of, "
        "with thresholds learned on half of the held-out drawings and measured on the other; `cascade.random` stops as many "
        "at every length, drawn at random. The paper is on ImageNet with 2,048 dimensions."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """A Matryoshka network, an ordinary one, and two small ones, from the same seed on the same drawings."""
    drawings = characters(budget)
    objective = Matryoshka(dims=DIMS)
    fitted, asked = _embed(drawings, budget, seed, objective, DIMS[-1])
    numbers = {f"mrl.{m}": nearest_accuracy((fitted[0][:, :m], fitted[1]), (asked[0][:, :m], asked[1])) for m in DIMS}
    turn = torch.linalg.qr(torch.randn(DIMS[-1], DIMS[-1], generator=torch.Generator().manual_seed(seed))).Q
    for m in (DIMS[0], DIMS[-1]):
        turned = [((rows @ turn)[:, :m], label) for rows, label in (fitted, asked)]
        numbers[f"rotated.{m}"] = nearest_accuracy(turned[0], turned[1])
    numbers |= _retrieval(fitted, asked)
    assert objective.head is not None
    numbers |= _cascade(objective.head.eval(), asked, seed)
    plain = _embed(drawings, budget, seed, CrossEntropy(), DIMS[-1])
    curve = matryoshka_curve(*plain, DIMS)
    for m, prefix, pca in zip(curve.dims, curve.prefix, curve.pca, strict=True):
        numbers |= {f"truncated.{m}": prefix, f"pca.{m}": pca}
    mean, directions = principal_components(plain[0][0])
    turned = [((rows - mean) @ directions, label) for rows, label in plain]
    numbers |= {f"pca.{name}": value for name, value in _retrieval(turned[0], turned[1]).items() if name != "work"}
    halves = [_half((fitted, asked), 1), _half(plain, 1)]
    seen = _half(plain, 0)[0][0]
    numbers["mrl.new"] = matryoshka_curve(*halves[0], DIMS[:1]).prefix[0]
    numbers["pca.new"] = matryoshka_curve(*halves[1], DIMS[:1], pca_from=seen).pca[0]
    for m in ALONE:
        numbers[f"alone.{m}"] = nearest_accuracy(*_embed(drawings, budget, seed, CrossEntropy(), m))
    return numbers


def _embed(
    drawings: ArrayDataset, budget: Budget, seed: int, objective: Objective, dim: int
) -> tuple[Embedded, Embedded]:
    run = train.fit(
        seeded(lambda: plain_encoder(drawings, budget, embedding_dim=dim), seed),
        drawings,
        objective=objective,
        epochs=EPOCHS[budget],
        batch_size=64,
        lr=3e-3,
        val_fraction=0.0,
        seed=seed,
        quiet=True,
    )
    return features(run.encoder, drawings.train), features(run.encoder, drawings.test)


def _half(parts: tuple[Embedded, Embedded], which: int) -> tuple[Embedded, Embedded]:
    """The rows whose class number is even (0) or odd (1)."""
    first, second = ((rows[label % 2 == which], label[label % 2 == which]) for rows, label in parts)
    return first, second


def _retrieval(gallery: Embedded, asked: Embedded) -> dict[str, float]:
    """mAP@10 through the funnel and of the exact search, and what the funnel leaves to be multiplied."""
    index = ExactIndex.build(gallery[0])
    funnel = FunnelSearch(index, DIMS[1:], SHORTLISTS)
    hits = {"funnel": funnel.search(asked[0], RANKS), "exact": index.search(asked[0], RANKS)}
    numbers = {n: _mean_average_precision(gallery[1][h.ids] == asked[1][:, None]) for n, h in hits.items()}
    work = funnel.multiply_adds()
    return {**numbers, "work": work["funnel"] / work["exact"]}


def _cascade(head: MatryoshkaHead, asked: Embedded, seed: int) -> dict[str, float]:
    """The heads in turn, each for those that it is sure of; and as many stopped without asking."""
    order = torch.randperm(len(asked[0]), generator=torch.Generator().manual_seed(seed))
    held, rest = order[::2], order[1::2]
    cascade = AdaptiveClassifier.fit(head, asked[0][held], asked[1][held], tolerance=0.01)
    z, label = asked[0][rest], asked[1][rest]
    found = cascade(z)
    dims = found.dim[torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))]
    with torch.no_grad():
        by_length = {m: head.at(z, m).argmax(1) for m in DIMS}
    blind = torch.stack([by_length[m] for m in DIMS])[
        torch.searchsorted(torch.tensor(DIMS), dims), torch.arange(len(z))
    ]
    guesses = {"cascade": found.label, "cascade.whole": by_length[DIMS[-1]], "cascade.random": blind}
    numbers = {name: float((guess == label).double().mean()) for name, guess in guesses.items()}
    return {**numbers, "cascade.size": float(found.dim.double().mean()) / DIMS[-1]}


def _mean_average_precision(hit: Tensor) -> float:
    """mAP over the ranks that were returned: the precision at every hit, averaged over the hits; 0 without any."""
    hits = hit.double()
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
    return float(((precision * hits).sum(1) / hits.sum(1).clamp(min=1)).mean())
