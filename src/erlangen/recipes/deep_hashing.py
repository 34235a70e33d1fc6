"""Deep hashing: binary codes from few labels, with unlabelled and with mixed images."""

from __future__ import annotations

import torch
from torch import Tensor

from erlangen import data, train
from erlangen.data import ArrayDataset
from erlangen.nn.images import ClassGenerator, PlainCNN
from erlangen.objectives import DeepHash
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, plain_encoder, seeded, untrained
from erlangen.recipes.recipe import Budget, recipe
from erlangen.stats.retrieval import mean_average_precision
from erlangen.train import HashGAN

BITS = 32
LABELLED: dict[str, int] = {"smoke": 60, "laptop": 200, "full": 1_000}
UNLABELLED: dict[str, int] = {"smoke": 100, "laptop": 1_000, "full": 10_000}
EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 12, "full": 40}
STEPS: dict[str, int] = {"smoke": 5, "laptop": 300, "full": 4_000}
ASKED, GALLERY, READERS = 300, 2_000, 1_000


@recipe(
    "deep_hashing",
    title="Deep semantic hashing from few labels",
    source="arXiv:1804.08275",
    claims=[
        Claim("learned codes beat random hyperplanes on raw pixels", "learned.map", "above", "pixels.map"),
        Claim("learned codes beat a random encoder's", "learned.map", "above", "random.map"),
        Claim("mixed samples do not hurt: within 2 points", "mixed.map", "above", "learned.map", margin=-0.02),
        Claim(
            "unlabelled samples do not hurt: within 2 points", "unlabelled.map", "above", "learned.map", margin=-0.02
        ),
        Claim(
            "images of a generator do not hurt: within 2 points", "gan.map", "above", "without_gan.map", margin=-0.02
        ),
        Claim("images of a generator help", "gan.map", "above", "without_gan.map"),
        Claim("they are of the class that was asked for, by their nearest real digit", "gan.read", "above", 0.5),
        Claim(
            "those of an unfitted generator are not (0.1 is chance)",
            "unfitted.read",
            "below",
            0.1,
            margin=0.1,
            control=True,
        ),
        Claim("without the balance terms bits are less balanced", "unbalanced.imbalance", "above", "learned.imbalance"),
        Claim(
            "codes learned from permuted labels do not beat those of true ones",
            "permuted.map",
            "below",
            "learned.map",
            control=True,
        ),
    ],
    uses=[
        "erlangen.objectives.deep_hash",
        "erlangen.objectives.ac_gan",
        "erlangen.nn.hash_head",
        "erlangen.nn.images.class_generator",
        "erlangen.train.hash_gan",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "`map` is the mean average precision of Hamming ranking with 32 bits, 300 test digits asking 2,000 other "
        "training digits of MNIST at 16 x 16, its mean over the orders of ties. The networks see 200 labelled digits. "
        "The published method draws its synthetic samples from a conditional generative adversarial network trained on "
        "CIFAR-10. `gan` does so with a small one on the 200 labelled and 1,000 unlabelled digits, `without_gan` is the same "
        "network, steps and images without the generator; `read` is how often the nearest of 1,000 labelled gallery "
        "digits has the class that was asked for. A generator of 300 steps draws poor digits, and poor digits do not help; "
        "`full` gives it 4,000. `mixed` has mixtures of two digits of a class in the generator's place."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Codes from labels alone, with mixtures, with unlabelled samples, without balance, and from permuted labels."""
    labelled, more, gallery, asked = _parts(budget, seed)
    generator = torch.Generator().manual_seed(seed)
    permuted = ArrayDataset(
        labelled.x, _labels(labelled)[torch.randperm(len(labelled), generator=generator)], num_classes=10, splits={}
    )
    cases = {
        "learned": (labelled, DeepHash(BITS)),
        "mixed": (labelled, DeepHash(BITS, mixing=True)),
        "unlabelled": (more, DeepHash(BITS)),
        "unbalanced": (labelled, DeepHash(BITS, balance=0.0)),
        "permuted": (permuted, DeepHash(BITS)),
    }
    numbers: dict[str, float] = {}
    for name, (part, objective) in cases.items():
        run = train.fit(
            seeded(lambda: plain_encoder(labelled, budget), seed),
            part,
            objective=objective,
            epochs=EPOCHS[budget] if part is not more else max(1, EPOCHS[budget] * len(labelled) // len(more)),
            batch_size=50,
            lr=2e-3,
            val_fraction=0.0,
            seed=seed,
            quiet=True,
        )
        codes = [objective.codes(features(run.encoder, p)[0]) for p in (asked, gallery)]
        numbers[f"{name}.map"] = _precision(codes[0], codes[1], asked, gallery)
        numbers[f"{name}.imbalance"] = float((2 * codes[1].double().mean(0) - 1).abs().mean())
    numbers |= _adversarial(more, gallery, asked, budget, seed)
    reference = untrained(seeded(lambda: plain_encoder(labelled, budget), seed), labelled)
    for name, rows in (
        ("random", [features(reference, p)[0] for p in (asked, gallery)]),
        ("pixels", [p.tensors()[0].flatten(1) for p in (asked, gallery)]),
    ):
        planes = torch.randn(rows[0].shape[1], BITS, generator=generator)
        centre = rows[1].mean(0)
        found = [(r - centre) @ planes > 0 for r in rows]
        numbers[f"{name}.map"] = _precision(found[0], found[1], asked, gallery)
    return numbers


def _adversarial(
    more: ArrayDataset, gallery: ArrayDataset, asked: ArrayDataset, budget: Budget, seed: int
) -> dict[str, float]:
    """Codes learned against a generator and without it, and whether its images are of the class they are told."""
    numbers = {}
    models: dict[str, HashGAN] = {}
    for name, synthetic in (("gan", True), ("without_gan", False)):
        model = HashGAN(BITS, STEPS[budget], lr=2e-3, synthetic=synthetic)
        model.fit(seeded(lambda: PlainCNN(8, in_channels=1, embedding_dim=64), seed), more, seed=seed)
        codes = [torch.cat([model.codes(b.x) for b in part.batches(500)]) for part in (asked, gallery)]
        numbers[f"{name}.map"] = _precision(codes[0], codes[1], asked, gallery)
        models[name] = model
    x, label = (part[:READERS] for part in gallery.tensors())
    told = torch.arange(10).repeat(20)
    _, height, width = more.sample_shape
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unfitted = ClassGenerator(10, (1, height, width)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        drawn = {"gan": models["gan"].sample(told, seed=seed), "unfitted": unfitted.sample(told, generator=generator)}
    for name, images in drawn.items():
        nearest = torch.cdist(images.flatten(1), x.flatten(1)).argmin(1)
        numbers[f"{name}.read"] = float((label[nearest] == told).double().mean())
    return numbers


def _precision(query: Tensor, codes: Tensor, asked: ArrayDataset, gallery: ArrayDataset) -> float:
    signs = [2.0 * c.float() - 1 for c in (query, codes)]
    return float(mean_average_precision(signs[0] @ signs[1].T, _labels(asked)[:, None] == _labels(gallery)))


def _labels(part: ArrayDataset) -> Tensor:
    assert part.label is not None
    return part.label


def _parts(budget: Budget, seed: int) -> tuple[ArrayDataset, ArrayDataset, ArrayDataset, ArrayDataset]:
    """Labelled samples, those with unlabelled ones, the gallery (no sample of both) and the queries."""
    loaded = data.load("digits") if budget == "smoke" else data.load("mnist", image_size=16)
    order = torch.randperm(len(loaded.train), generator=torch.Generator().manual_seed(seed))
    count, extra = LABELLED[budget], UNLABELLED[budget]
    seen = loaded.train.subset(order[: count + extra])
    hidden = torch.where(torch.arange(count + extra) < count, _labels(seen), -1)
    more = ArrayDataset(seen.x, hidden, num_classes=10, splits={})
    gallery = loaded.train.subset(order[count + extra : count + extra + GALLERY])
    labelled = ArrayDataset(seen.x[:count], _labels(seen)[:count], num_classes=10, splits={})
    return labelled, more, gallery, loaded.test.subset(torch.arange(min(ASKED, len(loaded.test))))
