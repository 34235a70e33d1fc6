"""Debiasing: digits whose colour gives the class away, learned with and without views in another colour."""

from __future__ import annotations

import torch

from erlangen import data, train
from erlangen.data import ArrayDataset
from erlangen.data.biased_digits import BiasedDigits, Recolor, biased_digits
from erlangen.objectives import BiasContrast, CrossEntropy, GeneralizedCrossEntropy, Objective
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
        "erlangen.data.biased_digits",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "`test` is the accuracy on digits whose colour is drawn independently of the class, `gain` its difference to "
        "the plain classifier, `moved` the relative change of the embedding when a test digit is recoloured. The views "
        "in another colour are exact (the group that permutes colours acts on the image), where the published method "
        "learns an image translator: these numbers are the upper bound of what a learned one could give."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """A plain, a bias-greedy and two contrastive classifiers from the same initial encoder."""
    digits = data.load("digits")
    numbers: dict[str, float] = {}
    for name, ratio in RATIOS.items():
        biased = biased_digits(digits, conflict_ratio=ratio, seed=seed)
        numbers[f"{name}.conflicting"] = biased.conflicting
        cases: dict[str, tuple[Objective, Recolor | None]] = {
            "plain": (CrossEntropy(), None),
            "greedy": (GeneralizedCrossEntropy(), None),
            "contrast": (BiasContrast(width=64), Recolor()),
            "same_color": (BiasContrast(width=64), Recolor(keep=True)),
        }
        for case, (objective, views) in cases.items():
            if case == "same_color" and name != "none":
                continue
            run = _fit(biased, objective, views, budget, seed)
            numbers[f"{name}.{case}.test"] = _accuracy(run, biased.dataset.test)
            numbers[f"{name}.{case}.moved"] = _moved(run, biased.dataset.test)
            numbers[f"{name}.{case}.gain"] = numbers[f"{name}.{case}.test"] - numbers[f"{name}.plain.test"]
    return numbers


def _fit(biased: BiasedDigits, objective: Objective, views: Recolor | None, budget: Budget, seed: int) -> train.Run:
    return train.fit(
        seeded(lambda: plain_encoder(biased.dataset, "smoke"), seed),
        biased.dataset,
        objective=objective,
        views=views,
        epochs=EPOCHS[budget],
        batch_size=64,
        lr=2e-3,
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
