"""Relative representations: a head for one network, put on another that was trained apart from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from erlangen import train
from erlangen.audit.latent_similarity import latent_similarity
from erlangen.audit.matryoshka import nearest_accuracy
from erlangen.deploy.compat import AnchorSet, RelativeProjection, procrustes, relative, stitch
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, images, plain_encoder, seeded
from erlangen.recipes.recipe import Budget, recipe

EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 8, "full": 40}
ANCHORS, SWEEP = 64, (8, 16, 32, 64, 128)
HEAD_STEPS = 300
CODE, HIDDEN = 64, 256
DECODER_STEPS: dict[str, int] = {"smoke": 20, "laptop": 300, "full": 5_000}
Embedded = tuple[Tensor, Tensor]


@recipe(
    "relative_representations",
    title="Relative representations: stitching without training",
    source="arXiv:2209.15430",
    claims=[
        Claim(
            "a stitched head is 20 points better on relative coordinates",
            "stitched.relative",
            "above",
            "stitched.absolute",
            margin=0.2,
        ),
        Claim(
            "stitching costs less than 5 points on relative coordinates",
            "stitched.relative",
            "above",
            "own.relative",
            margin=-0.05,
        ),
        Claim(
            "relative coordinates cost a head less than 5 points", "own.relative", "above", "own.absolute", margin=-0.05
        ),
        Claim(
            "search in the other network's gallery: 20 points better on relative coordinates",
            "across.relative",
            "above",
            "across.absolute",
            margin=0.2,
        ),
        Claim("64 anchors stitch better than 8", "anchors.64", "above", "anchors.8"),
        Claim(
            "a decoder under the other autoencoder: 20 points of variance more on relative coordinates",
            "decoded.stitched.relative",
            "above",
            "decoded.stitched.absolute",
            margin=0.2,
        ),
        Claim(
            "relative coordinates cost an autoencoder less than 10 points of variance",
            "decoded.own.relative",
            "above",
            "decoded.own.absolute",
            margin=-0.1,
        ),
        Claim(
            "with the anchors in another order the decoder explains less than nothing",
            "decoded.shuffled",
            "below",
            0.0,
            control=True,
        ),
        Claim(
            "with the anchors in another order the stitched head is near chance (0.1)",
            "stitched.shuffled",
            "below",
            0.1,
            margin=0.1,
            control=True,
        ),
        Claim(
            "absolute search across networks is near chance", "across.absolute", "below", 0.1, margin=0.1, control=True
        ),
    ],
    uses=[
        "erlangen.deploy.compat.relative_projection",
        "erlangen.deploy.compat.anchors",
        "erlangen.deploy.compat.stitched",
        "erlangen.deploy.compat.orthogonal_map",
        "erlangen.audit.latent_similarity",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "Two networks from different seeds, trained on the labels of 16 x 16 CIFAR-10 images. `own` is the test accuracy "
        "of a small head on the network it was trained on, `stitched` on the other one; `across` is 1-nearest-neighbour "
        "accuracy with queries by one and the gallery by the other, `across.procrustes` after a rotation fitted on the "
        "same 64 anchors. `anchors.k` is the stitched accuracy with k anchors drawn uniformly, `anchors.fps` and "
        "`anchors.kmeans` with 64 selected ones. `mrr` is how well a test image finds itself in the other space. "
        "`decoded` is the share of the test images' variance that an autoencoder explains, a perceptron with a code of 64: "
        "its own decoder (`own`) or that of one from another seed (`stitched`), on the code itself or on the cosines of the "
        "code with those of the anchors, which are encoded anew at every step of the training."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Both networks, then heads and searches on their cached embeddings."""
    pictures = images(budget)
    spaces = []
    for start in (seed, seed + 1000):
        run = train.fit(
            seeded(lambda: plain_encoder(pictures, budget), start),
            pictures,
            objective="cross_entropy",
            epochs=EPOCHS[budget],
            batch_size=64,
            lr=2e-3,
            val_fraction=0.0,
            seed=start,
            quiet=True,
        )
        spaces.append((features(run.encoder, pictures.train), features(run.encoder, pictures.test)))
    (fit_a, ask_a), (fit_b, ask_b) = spaces
    generator = torch.Generator().manual_seed(seed)
    anchors = AnchorSet.select(fit_a[0], min(ANCHORS, len(fit_a[0])), generator=generator)
    one, two = (RelativeProjection(anchors.of(fit[0])) for fit in (fit_a, fit_b))
    head = _head(fit_a, seed)
    numbers = {"own.absolute": _accuracy(head, ask_a), "stitched.absolute": _accuracy(head, ask_b)}
    head = _head(_map(one, fit_a), seed)
    order = torch.randperm(len(anchors), generator=generator)
    shuffled = RelativeProjection(anchors.of(fit_b[0])[order])
    numbers |= {
        "own.relative": _accuracy(head, _map(one, ask_a)),
        "stitched.relative": _accuracy(head, _map(two, ask_b)),
        "stitched.shuffled": _accuracy(head, _map(shuffled, ask_b)),
        "across.absolute": nearest_accuracy(fit_b, ask_a),
        "across.relative": nearest_accuracy(_map(two, fit_b), _map(one, ask_a)),
        "across.self": nearest_accuracy(fit_b, ask_b),
        "mrr.absolute": latent_similarity(ask_a[0], ask_b[0]).mrr,
        "mrr.relative": latent_similarity(one(ask_a[0]), two(ask_b[0])).mrr,
    }
    rotation = procrustes(anchors.of(fit_a[0]), anchors.of(fit_b[0]))
    numbers["across.procrustes"] = nearest_accuracy(fit_b, _map(rotation, ask_a))
    chosen = {str(k): AnchorSet.select(fit_a[0], k, generator=generator) for k in SWEEP}
    for method in ("fps", "kmeans"):
        chosen[method] = AnchorSet.select(fit_a[0], ANCHORS, method=method, generator=generator)
    for name, some in chosen.items():
        first, second = (RelativeProjection(some.of(fit[0])) for fit in (fit_a, fit_b))
        numbers[f"anchors.{name}"] = _accuracy(_head(_map(first, fit_a), seed), _map(second, ask_b))
    train_x, test_x = (part.tensors()[0].flatten(1) for part in (pictures.train, pictures.test))
    return numbers | _decoded(train_x, test_x, torch.tensor(anchors.index), order, budget, seed)


def _decoded(x: Tensor, asked: Tensor, anchors: Tensor, order: Tensor, budget: Budget, seed: int) -> dict[str, float]:
    """What decoders explain of test images under the encoder they were trained with, and under the other one."""
    numbers = {}
    for kind in ("absolute", "relative"):
        one, two = (_autoencoder(x, anchors if kind == "relative" else None, budget, s) for s in (seed, seed + 1000))
        pieces = {"own": (one[0], anchors), "stitched": (two[0], anchors)}
        if kind == "relative":
            pieces["shuffled"] = (two[0], anchors[order])
        for name, (encoder, rows) in pieces.items():
            with torch.no_grad():
                projection = RelativeProjection(encoder(x[rows])) if kind == "relative" else nn.Identity()
            rest = (stitch(encoder, projection, one[1])(asked) - asked).square().sum()
            label = "decoded.shuffled" if name == "shuffled" else f"decoded.{name}.{kind}"
            numbers[label] = 1 - float(rest / (asked - x.mean(0)).square().sum())
    return numbers


def _autoencoder(x: Tensor, anchors: Tensor | None, budget: Budget, seed: int) -> tuple[nn.Module, nn.Module]:
    """An encoder and a decoder of its code, or of the cosines of its code with those of the anchors."""
    pixels, read = x.shape[1], CODE if anchors is None else len(anchors)
    encoder, decoder = seeded(
        lambda: nn.ModuleList(
            [
                nn.Sequential(nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CODE)),
                nn.Sequential(nn.Linear(read, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, pixels)),
            ]
        ),
        seed,
    ).children()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(DECODER_STEPS[budget]):
        batch = x[torch.randint(len(x), (128,), generator=generator)]
        code = encoder(batch)
        if anchors is not None:
            code = relative(code, encoder(x[anchors]))
        optimizer.zero_grad()
        (decoder(code) - batch).square().mean().backward()
        optimizer.step()
    return encoder.eval(), decoder.eval()


def _map(projection: nn.Module, rows: Embedded) -> Embedded:
    with torch.no_grad():
        return projection(rows[0]), rows[1]


def _head(fitted: Embedded, seed: int) -> nn.Module:
    """Layer norm and a hidden layer of 64, fitted to all rows at once."""
    dim, classes = fitted[0].shape[1], int(fitted[1].max()) + 1
    head = seeded(lambda: nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, classes)), seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(HEAD_STEPS):
        rows = torch.randint(len(fitted[0]), (256,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(head(fitted[0][rows]), fitted[1][rows]).backward()
        optimizer.step()
    return head.eval()


@torch.no_grad()
def _accuracy(head: nn.Module, asked: Embedded) -> float:
    return float((head(asked[0]).argmax(1) == asked[1]).double().mean())
