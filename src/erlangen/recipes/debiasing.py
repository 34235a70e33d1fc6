"""Debiasing: digits whose colour gives the class away, learned with and without views in another colour."""

from __future__ import annotations

from typing import Any

import torch

from erlangen import data, train
from erlangen.data import ArrayDataset
from erlangen.data.biased_digits import BiasedDigits, Recolor, biased_digits, palette
from erlangen.objectives import (
    BiasContrast,
    CrossEntropy,
    GeneralizedCrossEntropy,
    GroupDRO,
    LearningFromFailure,
    Objective,
)
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import plain_encoder, seeded
from erlangen.recipes.recipe import Budget, recipe

RATIOS = {"none": 0.0, "two_percent": 0.02}
EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 8, "full": 30}


@recipe(
    "debiasing",
    title="Debiasing by views of another bias",
    source="arXiv:2112.01021",
    claims=[
        Claim(
            "without counter-examples a plain classifier goes by colour: below 40 %", "none.plain.test", "below", 0.4
        ),
        Claim("views in another colour lift it by 20 points and more", "none.contrast.gain", "above", 0.2),
        Claim("so they do with 2 % of counter-examples", "two_percent.contrast.gain", "above", 0.2),
        Claim("so do views by a translator that is learned from the biased data", "none.learned.gain", "above", 0.2),
        Claim("the exact views are better than the learned ones", "none.contrast.test", "above", "none.learned.test"),
        Claim("learned views do it with 2 % of counter-examples too", "two_percent.learned.gain", "above", 0.2),
        Claim(
            "without counter-examples learned views are better than learning from failure",
            "none.learned.test",
            "above",
            "none.failure.test",
        ),
        Claim(
            "with 2 % they still are better than robust groups, which are told all colours",
            "two_percent.learned.test",
            "above",
            "two_percent.robust.test",
        ),
        Claim(
            "generalised cross-entropy goes by colour even more",
            "two_percent.greedy.test",
            "below",
            "two_percent.plain.test",
        ),
        Claim("features then hardly move with the colour", "none.contrast.moved", "below", "none.plain.moved"),
        Claim(
            "second views of the same colour do not help: gain below 5 points",
            "none.same_color.gain",
            "below",
            0.05,
            control=True,
        ),
    ],
    uses=[
        "erlangen.objectives.bias_contrast",
        "erlangen.objectives.generalized_cross_entropy",
        "erlangen.objectives.learning_from_failure",
        "erlangen.objectives.group_dro",
        "erlangen.objectives.bias_translation",
        "erlangen.nn.images.translator",
        "erlangen.train.bias_translator",
        "erlangen.data.biased_digits",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "`test` is the accuracy on digits whose colour is drawn independently of the class, `gain` its difference to "
        "the plain classifier, `moved` the relative change of the embedding when a test digit is recoloured. The views "
        "in another colour of `contrast` are exact (the group that permutes colours acts on the image): the upper bound of "
        "what learned ones can give. Those of `learned` come from a small translator between the classes, learned from the "
        "same biased images without a word on colour; `moved_to_target` is the share of its translations that have the "
        "colour that goes with the target. `failure` (arXiv:2007.02561) weighs samples by the failure of a biased network, "
        "`robust` is group DRO (arXiv:1911.08731) and is told the colour of every training image. All are of the last "
        "epoch: no unbiased images choose it."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Classifiers of every kind from the same initial encoder."""
    digits = data.load("digits")
    numbers: dict[str, float] = {}
    for name, ratio in RATIOS.items():
        biased = biased_digits(digits, conflict_ratio=ratio, seed=seed)
        numbers[f"{name}.conflicting"] = biased.conflicting
        exact, learned = Recolor(), _translator(biased, budget, seed)
        numbers[f"{name}.learned.moved_to_target"] = _moved_to_target(learned, biased)
        attribute = biased.attribute[biased.dataset.splits["train"]].tolist()
        cases: dict[str, tuple[Objective, Any]] = {
            "plain": (CrossEntropy(), None),
            "contrast": (BiasContrast(width=64), exact),
            "learned": (BiasContrast(width=64), learned.views()),
            "failure": (LearningFromFailure(), None),
        }
        if name == "none":
            cases["same_color"] = (BiasContrast(width=64), Recolor(keep=True))
        else:
            cases |= {
                "greedy": (GeneralizedCrossEntropy(), None),
                "robust": (GroupDRO(0.1, attribute=attribute), None),
            }
        for case, (objective, views) in cases.items():
            run = _fit(biased, objective, views, budget, seed)
            numbers[f"{name}.{case}.test"] = _accuracy(run, biased.dataset.test)
            numbers[f"{name}.{case}.moved"] = _moved(run, biased.dataset.test)
            numbers[f"{name}.{case}.gain"] = numbers[f"{name}.{case}.test"] - numbers[f"{name}.plain.test"]
    return numbers


def _translator(biased: BiasedDigits, budget: Budget, seed: int) -> train.BiasTranslator:
    """Between the classes of the biased images."""
    return train.BiasTranslator(16, epochs=2 if budget == "smoke" else 12, lr=4e-3).fit(biased.dataset, seed=seed)


def _moved_to_target(translator: train.BiasTranslator, biased: BiasedDigits) -> float:
    """The share of test digits that have the colour of the next class once they are translated to it."""
    x, own = biased.dataset.test.tensors()[0], biased.attribute[biased.dataset.splits["test"]]
    hues = palette(10)
    target = (own + 1) % 10
    moved = translator.transform(x, target).clamp_min(0).flatten(2).sum(2)
    return float(((moved @ hues.T / hues.norm(dim=1)).argmax(1) == target).double().mean())


def _fit(biased: BiasedDigits, objective: Objective, views: Any, budget: Budget, seed: int) -> train.Run:
    return train.fit(
        seeded(lambda: plain_encoder(biased.dataset, "smoke"), seed),
        biased.dataset,
        objective=objective,
        views=views,
        epochs=EPOCHS[budget],
        batch_size=128,
        lr=4e-3,
        val_fraction=0.0,
        seed=seed,
        quiet=True,
    )


def _accuracy(run: train.Run, part: ArrayDataset) -> float:
    x, label = part.tensors()
    with torch.inference_mode():
        logits = run.objective.predict(run.encoder(x))  # type: ignore[operator]
    return float((logits.argmax(1) == label).double().mean())


def _moved(run: train.Run, part: ArrayDataset) -> float:
    x, other, _ = Recolor()(part.tensors()[0], torch.Generator().manual_seed(0))
    with torch.inference_mode():
        z, z2 = run.encoder(x), run.encoder(other)
        return float((z - z2).norm() / (z - z.mean(0)).norm())
