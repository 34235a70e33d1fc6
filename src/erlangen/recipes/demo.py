"""The whole line on real digits: fit a plain and a symmetric encoder, check, audit, index, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erlangen import data as data_room
from erlangen import deploy, train
from erlangen.audit import Budget, audit
from erlangen.groups import parse
from erlangen.groups.actions import Image
from erlangen.groups.symmetry import Symmetry
from erlangen.nn.images import GroupCNN, PlainCNN
from erlangen.recipes.reproduce import write_atomically
from erlangen.testing import check

GROUP = "C8"
EPOCHS = 8
Tell = Callable[[str], None]


@dataclass
class DemoResult:
    """What the demo learned: numbers, sentences, the verdicts, and where the report is."""

    sentences: list[str]
    verdicts: dict[str, Any]
    numbers: dict[str, float]
    report: Path
    runs: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "sentences": self.sentences,
            "verdicts": {name: result.to_dict() for name, result in self.verdicts.items()},
            "numbers": self.numbers,
            "report": str(self.report),
            "runs": self.runs,
        }


def demo(
    out: Path, *, seed: int = 0, epochs: int = EPOCHS, quiet: bool = True, tell: Tell = lambda _: None
) -> DemoResult:
    """Fit both encoders with the same budget on upright digits, and look at what each respects.

    The digits (scikit-learn's, 8 x 8 pixels, 1,797 of them) are enlarged to 20 pixels on a canvas of 28, so that a rotation
    by 45 degrees neither cuts corners off nor meets the pixel grid. Everything is written below `out`; an interrupted
    demo goes on from where it was.
    """
    digits = data_room.load("digits", image_size=20, pad=4)
    encoders = {
        "plain": PlainCNN(width=16, embedding_dim=64),
        "symmetric": GroupCNN(GROUP, width=16, embedding_dim=64),
    }
    runs, verdicts, numbers = {}, {}, {}
    images, labels = digits.test.tensors()
    symmetry = Symmetry(GROUP, input="image", output="invariant")
    for name, encoder in encoders.items():
        tell(f"fitting the {name} encoder on {len(digits.train)} upright digits")
        torch.manual_seed(seed)
        runs[name] = train.fit(
            encoder, digits, epochs=epochs, lr=5e-3, seed=seed, out=out / name, symmetry=GROUP, quiet=quiet
        )
        verdicts[name] = check(runs[name].encoder, symmetry, images[:4], seed=seed)
        for element, accuracy in _accuracy_by_element(runs[name], images, labels).items():
            numbers[f"{name}.{element}"] = accuracy
    tell("auditing the symmetric encoder")
    symmetric = runs["symmetric"]
    report = audit(
        symmetric.encoder,
        digits,
        group=GROUP,
        classifier=symmetric.classifier,
        seed=seed,
        budget=Budget(seconds=60, samples=2_000),
    )
    tell("indexing the training digits and searching with rotated ones")
    gallery, found = _search(out, symmetric, digits, images, labels)
    numbers["search.same_class"] = found
    sentences = _sentences(numbers, verdicts, report)
    report.header["command"] = f"erlangen demo --seed {seed}"
    page = report.to_html(proof=_proof(verdicts), gallery=gallery)
    write_atomically(out / "report.html", page)
    result = DemoResult(sentences, verdicts, numbers, out / "report.html", {n: str(out / n) for n in runs})
    write_atomically(out / "demo.json", json.dumps(result.to_dict(), indent=2, default=str))
    return result


def _accuracy_by_element(run: Any, images: Tensor, labels: Tensor) -> dict[str, float]:
    group = parse(GROUP)
    act = Image(group)
    accuracy = {}
    with torch.inference_mode():
        for element in group.elements():
            predicted = run.classifier(run.encoder(act(element, images))).argmax(1)
            accuracy[group.label(element)] = float((predicted == labels).double().mean())
    return accuracy


def _search(out: Path, run: Any, digits: Any, images: Tensor, labels: Tensor) -> tuple[list[dict[str, Any]], float]:
    """Index the upright training digits; ask with rotated test digits; the share of the five neighbours of the same class."""
    group = parse(GROUP)
    train_images, train_labels = digits.train.tensors()
    index = deploy.Index.build(deploy.embed(run.encoder, digits.train), space=deploy.SpaceInfo(**run.space))
    index.save(out / "index")
    turns = torch.arange(len(images)) % int(group.order or 1)
    queries = Image(group)(turns, images)
    with torch.inference_mode():
        result = index.search(run.encoder(queries), 5)
    same = (train_labels[result.ids] == labels[:, None]).double().mean()
    rows = [
        {
            "title": f"a {int(labels[q])}, turned by {group.label(turns[q])}",
            "query": {"image": _pixels(queries[q]), "label": int(labels[q])},
            "neighbours": [
                {"image": _pixels(train_images[i]), "label": int(train_labels[i]), "score": float(s)}
                for i, s in zip(result.ids[q].tolist(), result.scores[q].tolist(), strict=True)
            ],
        }
        for q in (1, 3, 4, 6, 9)
    ]
    return rows, float(same)


def _proof(verdicts: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdicts as the report shows them, each with its worst case before and after."""
    act = Image(parse(GROUP))
    shown = []
    for name, result in verdicts.items():
        record = {**result.to_dict(), "name": f"the {name} encoder"}
        if result.worst is not None and isinstance(result.worst.x, tuple):
            x = result.worst.x[0]
            moved = act(result.worst.g, x)
            first = {"before": _pixels(x[:1]), "after": _pixels(moved[:1])}
            record["worst"] = {**(record.get("worst") or {}), **first}
        shown.append(record)
    return shown


def _pixels(image: Tensor) -> list[list[int]]:
    flat = image.reshape(-1, *image.shape[-2:])[0]
    return (flat.clamp(0, 1) * 255).round().to(torch.uint8).tolist()


def _sentences(numbers: dict[str, float], verdicts: dict[str, Any], report: Any) -> list[str]:
    """Three sentences, each made of numbers that were just measured."""

    def turned(name: str) -> float:
        values = [v for k, v in numbers.items() if k.startswith(f"{name}.") and k != f"{name}.0°"]
        return sum(values) / len(values)

    plain, symmetric = verdicts["plain"], verdicts["symmetric"]
    merged = [f"{a} and {b}" for a, b in report.header.get("merged_classes") or []]
    merging = (
        f"What no rotation-invariant encoder can tell apart it says in words: {', '.join(merged)} are merged by rotation."
        if merged
        else "No two classes are merged by rotation beyond doubt."
    )
    return [
        f"On upright digits both are good (plain {numbers['plain.0°']:.1%}, {GROUP} {numbers['symmetric.0°']:.1%}); "
        f"turned by the other elements of {GROUP} the plain encoder falls to {turned('plain'):.1%}, the symmetric one to "
        f"{turned('symmetric'):.1%}.",
        f"The checker calls the plain encoder {plain.verdict} (relative error {plain.worst_error:.1e}) and the symmetric "
        f"one {symmetric.verdict} ({symmetric.worst_error:.1e}); searching with rotated digits, "
        f"{numbers['search.same_class']:.1%} of the five nearest upright neighbours are of the same class.",
        merging,
    ]
