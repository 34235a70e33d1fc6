"""RotNet: predicting quarter turns teaches features, and which block holds them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from erlangen import train
from erlangen.data import ArrayDataset
from erlangen.nn.images import GroupCNN
from erlangen.nn.tap import Tap
from erlangen.objectives import GroupPrediction
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, images, plain_encoder, probe_accuracy, seeded, untrained
from erlangen.recipes.recipe import Budget, recipe

EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 8, "full": 60}
CELLS = {"model.stages.0": 4, "model.stages.1": 3, "model.stages.2": 2}
GUESSING = math.log(4)


@recipe(
    "rotnet",
    title="RotNet: predict which quarter turn was applied",
    source="arXiv:1803.07728",
    claims=[
        Claim("RotNet's middle block probes better than a random encoder's", "turns4.block2", "above", "random.block2"),
        Claim("RotNet's middle block probes better than its last", "turns4.block2", "above", "turns4.block3"),
        Claim("four turns teach more than two", "turns4.block2", "above", "turns2.block2"),
        Claim("RotNet learns its task: loss below log 4", "turns4.loss", "below", GUESSING),
        Claim(
            "a C4-invariant encoder cannot: loss not below log 4",
            "invariant.loss",
            "above",
            GUESSING,
            margin=-1e-4,
            control=True,
        ),
        Claim(
            "a C4-invariant encoder names the turn no better than chance",
            "invariant.accuracy",
            "below",
            0.25,
            margin=0.01,
            control=True,
        ),
    ],
    uses=[
        "erlangen.objectives.group_prediction",
        "erlangen.nn.images.group_cnn",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "`blockN` is the test accuracy of logistic regression on block N, averaged over 4 x 4, 3 x 3 and 2 x 2 cells, "
        "so that the blocks give 256, 288 and 256 features. `loss` and `accuracy` are of the pretext task on test "
        "images; guessing gives log 4 = 1.386 and 0.25. The published network has blocks of three layers of 192 "
        "channels and sees 50,000 images for 100 epochs; here it is a small network on 16 x 16 CIFAR-10 for a few."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Four turns, two turns and no training from the same initial encoder, and an invariant one as the control."""
    pictures = images(budget)
    reference = untrained(seeded(lambda: plain_encoder(pictures, budget), seed), pictures)
    numbers = {f"random.{name}": value for name, value in _blocks(reference, pictures).items()}
    for name, group in (("turns4", "C4"), ("turns2", "C2")):
        run = _fit(seeded(lambda: plain_encoder(pictures, budget), seed), pictures, group, EPOCHS[budget], seed)
        measured = _blocks(run.encoder, pictures) | _pretext(run, pictures)
        numbers |= {f"{name}.{key}": value for key, value in measured.items()}
    channels = pictures.sample_shape[0]
    invariant = seeded(lambda: GroupCNN("C4", width=8, in_channels=channels, embedding_dim=32, stages=2), seed)
    run = _fit(invariant, pictures, "C4", max(1, EPOCHS[budget] // 4), seed)
    return numbers | {f"invariant.{key}": value for key, value in _pretext(run, pictures).items()}


def _fit(encoder: nn.Module, pictures: ArrayDataset, group: str, epochs: int, seed: int) -> train.Run:
    return train.fit(
        encoder,
        pictures,
        objective=GroupPrediction(group),
        epochs=epochs,
        batch_size=64,
        lr=2e-3,
        val_fraction=0.0,
        seed=seed,
        quiet=True,
    )


def _blocks(encoder: nn.Module, pictures: ArrayDataset) -> dict[str, float]:
    classes = int(pictures.num_classes or 0)
    accuracy = {}
    for number, (layer, cells) in enumerate(CELLS.items(), start=1):

        def pooled(x: Tensor, layer: str = layer, cells: int = cells) -> Tensor:
            with Tap(encoder, layers=[layer], pool=None) as tap:
                encoder(x)
            return adaptive_avg_pool2d(tap.activations[layer], cells).flatten(1)

        accuracy[f"block{number}"] = probe_accuracy(
            features(pooled, pictures.train), features(pooled, pictures.test), classes
        )
    return accuracy


def _pretext(run: train.Run, pictures: ArrayDataset) -> dict[str, float]:
    """Loss and accuracy of the turn on test images."""
    run.encoder.eval()
    objective = run.objective
    assert isinstance(objective, GroupPrediction)
    losses, right, count = [], [], []
    with torch.inference_mode():
        for batch in pictures.test.batches(250):
            losses.append(float(objective(run.encoder, batch).total) * len(batch))
            right.append(float(objective.metrics(run.encoder, batch)["element_accuracy"]) * len(batch))
            count.append(len(batch))
    return {"loss": sum(losses) / sum(count), "accuracy": sum(right) / sum(count)}
