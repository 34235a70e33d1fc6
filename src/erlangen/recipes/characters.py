"""What the recipes on handwritten characters share: hundreds of classes of drawings, cut into a train and a test part."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from erlangen import data
from erlangen.data import ArrayDataset
from erlangen.data.named import roots
from erlangen.recipes.recipe import Budget

SIDE, HELD_OUT = 16, 6


def characters(budget: Budget) -> ArrayDataset:
    """Omniglot's small background sets at 16 x 16 pixels: 242 characters by 20 people, 6 drawings of each held out.

    The digits at "smoke", which ship with scikit-learn. Source: B. Lake, R. Salakhutdinov, J. Tenenbaum,
    "Human-level concept learning through probabilistic program induction", 2015.

    Raises:
        FileNotFoundError: names the places where the files were looked for.
    """
    if budget == "smoke":
        loaded = data.load("digits")
        parts = {"train": loaded.splits["train"][:300], "test": loaded.splits["test"][:150]}
        return ArrayDataset(loaded.x, loaded.label, name="digits", class_names=loaded.class_names, splits=parts)
    pictures, names, drawers = [], [], []
    for number in (1, 2):
        stored = _open(f"images_background_small{number}.npz")
        width = int(stored["image_width"])
        pictures.append(np.unpackbits(stored["images_packed"], axis=2)[:, :, :width])
        names.append(stored["character_names"][stored["character"]])
        drawers.append(stored["drawer"])
    drawn, name = torch.from_numpy(np.concatenate(pictures)).float(), np.concatenate(names)
    small = interpolate(drawn[:, None], size=(SIDE, SIDE), mode="area")
    # the two files share an alphabet: the same drawings under the same name are one
    classes, inverse = np.unique(name, return_inverse=True)
    label = torch.from_numpy(inverse)
    drawer = torch.from_numpy(np.concatenate(drawers).astype(np.int64))
    keys = label * 100 + drawer
    first = torch.from_numpy(np.unique(keys.numpy(), return_index=True)[1])
    small, label, drawer = small[first], label[first], drawer[first]
    test = drawer > 20 - HELD_OUT
    splits = {"train": (~test).nonzero()[:, 0], "test": test.nonzero()[:, 0]}
    return ArrayDataset(small, label, name="omniglot_small", class_names=list(classes), splits=splits)


def _open(name: str) -> dict[str, np.ndarray]:
    looked = [root / "omniglot" / name for root in roots()]
    for file in looked:
        if file.is_file():
            with np.load(file, allow_pickle=False) as stored:
                return dict(stored)
    raise FileNotFoundError(f"data: {name} is not in {' or '.join(str(f.parent) for f in looked)}")
