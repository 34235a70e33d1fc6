"""Rich representations: several networks side by side know more of the next task than one, however wide."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from erlangen import data, train
from erlangen.data import ArrayDataset
from erlangen.deploy import ConcatEncoder
from erlangen.objectives import MultiTeacherDistillation
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, plain_encoder, seeded
from erlangen.recipes.recipe import Budget, recipe
from erlangen.stats.linear_probe import fit_ridge_classes

NETS: dict[str, int] = {"smoke": 2, "laptop": 4, "full": 6}
EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 12, "full": 30}
DIM = 64


@recipe(
    "rich_representations",
    title="Rich representations: concatenated networks of different seeds",
    source="arXiv:2212.07346",
    claims=[
        Claim("on new classes four networks side by side beat one", "cat.shift", "above", "one.shift"),
        Claim("they beat one network with an embedding as wide", "cat.shift", "above", "wide.shift"),
        Claim("they beat the vote of four probes on one network each", "cat.shift", "above", "vote.shift"),
        Claim("the gain on new classes exceeds the gain on the old ones", "cat.gain_shift", "above", "cat.gain_same"),
        Claim("one network distilled from the four beats one of them", "distilled.shift", "above", "one.shift"),
        Claim("fine-tuned apart and then joined beats fine-tuned jointly", "two_stage.shift", "above", "joint.shift"),
        Claim(
            "four copies of one network gain nothing: less than a point",
            "copies.shift",
            "below",
            "one_first.shift",
            margin=0.01,
            control=True,
        ),
        Claim(
            "nor do they lose: within a point of that network",
            "copies.shift",
            "above",
            "one_first.shift",
            margin=-0.01,
            control=True,
        ),
    ],
    uses=[
        "erlangen.deploy.concat_encoder",
        "erlangen.objectives.distillation",
        "erlangen.train.two_stage",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "Networks learn to tell the classes 0 to 4 of CIFAR-10 at 16 x 16 apart. `shift` is the test accuracy of ridge "
        "regression on frozen features for the classes 5 to 9, `same` for the classes 0 to 4, the penalty chosen for "
        "each by its leave-one-out error; `one` is the mean of the networks by themselves, `wide` one network whose "
        "embedding is as long as the concatenation. The published networks are ResNet-50 trained to convergence on "
        "ImageNet; these see 2,000 images twelve times."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Networks of different seeds by themselves, side by side, distilled, and fine-tuned in both ways."""
    source, target = _halves(budget)
    count, epochs = NETS[budget], EPOCHS[budget]
    runs = [
        _fit(seeded(lambda: plain_encoder(source, budget), 100 * seed + i), source, epochs, i) for i in range(count)
    ]
    encoders = [run.encoder for run in runs]
    wide = _fit(seeded(lambda: plain_encoder(source, budget, embedding_dim=count * DIM), seed), source, epochs, seed)
    joined = ConcatEncoder(encoders).fit_stats(source.train)
    copies = ConcatEncoder([copy.deepcopy(encoders[0]) for _ in range(count)]).fit_stats(source.train)
    distilled = train.fit(
        seeded(lambda: plain_encoder(source, budget), 100 * seed + count),
        source,
        objective=MultiTeacherDistillation([copy.deepcopy(e) for e in encoders], cache=True),
        **_options(epochs, seed),
    )
    numbers: dict[str, float] = {}
    for name, part in (("shift", target), ("same", source)):
        alone = [_probe(encoder, part) for encoder in encoders]
        numbers[f"one.{name}"] = sum(float(_accuracy(p, part)) for p in alone) / count
        numbers[f"one_first.{name}"] = float(_accuracy(alone[0], part))
        numbers[f"vote.{name}"] = float(_accuracy(torch.stack(alone).mean(0), part))
        for other, encoder in {
            "cat": joined,
            "copies": copies,
            "wide": wide.encoder,
            "distilled": distilled.encoder,
        }.items():
            numbers[f"{other}.{name}"] = float(_accuracy(_probe(encoder, part), part))
        numbers[f"cat.gain_{name}"] = numbers[f"cat.{name}"] - numbers[f"one.{name}"]
    return numbers | _fine_tuned(encoders, target, max(1, epochs // 3), seed)


def _fine_tuned(
    encoders: list[train.PreparedEncoder], target: ArrayDataset, epochs: int, seed: int
) -> dict[str, float]:
    """Each network fine-tuned on the new classes by itself and then joined, and all of them at once."""
    tuned = train.two_stage_finetune(encoders, target, **_options(epochs, seed))
    apart = ConcatEncoder([run.encoder for run in tuned]).fit_stats(target.train)
    together = _fit(_Joint([copy.deepcopy(encoder.model) for encoder in encoders]), target, epochs, seed)
    return {
        "two_stage.shift": float(_accuracy(_probe(apart, target), target)),
        "joint.shift": float(_accuracy(_probe(together.encoder, target), target)),
    }


class _Joint(nn.Module):
    """Encoders side by side that are trained together."""

    def __init__(self, encoders: list[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.embedding_dim = sum(int(encoder.embedding_dim) for encoder in encoders)  # type: ignore[arg-type, misc]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([encoder(x) for encoder in self.encoders], 1)


def _halves(budget: Budget) -> tuple[ArrayDataset, ArrayDataset]:
    """The classes 0 to 4, and the classes 5 to 9 numbered from 0."""
    if budget == "smoke":
        loaded, kept, asked = data.load("digits"), 150, 100
    else:
        loaded = data.load("cifar10_subset", image_size=16)
        kept, asked = (2_000 if budget == "laptop" else len(loaded.splits["train"])), 1_000
    assert loaded.label is not None
    halves = []
    for first in (0, 5):
        chosen = {}
        for part, limit in (("train", kept), ("test", asked)):
            index = loaded.splits[part]
            inside = (loaded.label[index] >= first) & (loaded.label[index] < first + 5)
            chosen[part] = index[inside][:limit]
        label = torch.where((loaded.label >= first) & (loaded.label < first + 5), loaded.label - first, -1)
        halves.append(ArrayDataset(loaded.x, label, name=f"{loaded.name} from {first}", num_classes=5, splits=chosen))
    return halves[0], halves[1]


def _options(epochs: int, seed: int) -> dict:
    return {
        "epochs": epochs,
        "batch_size": 100,
        "lr": 2e-3,
        "weight_decay": 1e-4,
        "val_fraction": 0.0,
        "seed": seed,
        "quiet": True,
    }


def _fit(encoder: nn.Module, part: ArrayDataset, epochs: int, seed: int) -> train.Run:
    return train.fit(encoder, part, **_options(epochs, seed))


def _probe(encoder: Callable[[Tensor], Tensor], part: ArrayDataset) -> Tensor:
    """Scores of the test part by ridge regression on the features of the train part."""
    fitted = features(encoder, part.train)
    return fit_ridge_classes(*fitted, 5)(features(encoder, part.test)[0])


def _accuracy(scores: Tensor, part: ArrayDataset) -> Tensor:
    return (scores.argmax(1) == part.test.tensors()[1]).double().mean()
