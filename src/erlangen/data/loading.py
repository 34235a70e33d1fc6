"""`load`: anything a user calls data, as one data set in memory."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.data.archive import open_npz
from erlangen.data.array_dataset import ArrayDataset
from erlangen.data.image_folder import EXTENSIONS, read_folder
from erlangen.data.named import names, read_named, roots
from erlangen.data.raw import Raw
from erlangen.data.tables import read_arrow, read_csv
from erlangen.data.validate import as_tensor, channels_first

TABLES = (".csv", ".parquet", ".arrow", ".feather")
FORMATS = f"a folder of images, .npz, {', '.join(TABLES)}"


def load(
    data: Any,
    *,
    image_size: int | None = None,
    pad: int = 0,
    skip_unreadable: bool = False,
    label_column: str | int | None = None,
    seed: int = 0,
) -> ArrayDataset:
    """A data set by name, from a path, or from tensors, arrays or a torch `Dataset`.

    Arguments:
        data: a name (`erlangen.data.names()`), a folder of images, an .npz, .csv, .parquet or .arrow file, a pair
            (x, y), x alone, or a map-style torch `Dataset` of samples or (sample, label).
        image_size: the side in pixels that images are resized to (the middle square is kept).
        pad: pixels of zeros added on every side afterwards, so that a rotation cuts no corners off.
        skip_unreadable: leave out images that cannot be read, and list them in `.skipped`; otherwise they are an error.
        label_column: the column of a table, or the array of an .npz file, that holds the labels.
        seed: of the split into train and test where the source has none.

    Raises:
        FileNotFoundError: the named data set is nowhere; says where it was looked for and how to get it.
        ValueError: the source is unknown, empty, damaged or holds NaN; says which part.
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size: {image_size}; give a positive number of pixels")
    if isinstance(data, str) and not data.strip():
        raise ValueError(f"data: {data!r} is no name and no path; '.' is the folder one is in")
    if pad < 0:
        raise ValueError(f"pad: {pad}; give the number of pixels to add on every side, 0 for none")
    if isinstance(data, ArrayDataset):
        return _padded(data if image_size is None else _resized(data, image_size), pad)
    column = None if label_column is None else str(label_column)
    folder = partial(read_folder, image_size=image_size, skip_unreadable=skip_unreadable)
    if isinstance(data, str | os.PathLike):
        name, raw = _from_text(os.fspath(data), column, folder)
    else:
        name, raw = "data", _from_object(data)
    loaded = _padded(_finish(raw, name, image_size, seed), pad)
    if isinstance(data, str | os.PathLike):
        loaded.origin = {
            "data": text_of(data),
            "image_size": image_size,
            "pad": pad,
            "skip_unreadable": skip_unreadable,
            "label_column": column,
            "seed": seed,
        }
    return loaded


def text_of(data: "str | os.PathLike[str]") -> str:
    """A name as it is, a path from the root: what finds the same data again from anywhere."""
    text = os.fspath(data)
    return text if text in names() or not Path(text).expanduser().exists() else str(Path(text).expanduser().resolve())


def _from_text(text: str, label_column: str | None, folder: Callable[[Path], Raw]) -> tuple[str, Raw]:
    path = Path(text).expanduser()
    if text in names():
        return text, read_named(text, folder)
    if not path.exists():
        path = next((root / text for root in roots() if text and (root / text).exists()), path)
    if not path.exists():
        if path.suffix or "/" in text or os.sep in text:
            raise FileNotFoundError(f"data: no file or folder {text!r}; known names: {', '.join(names())}")
        places = ", ".join(str(place) for place in (Path.cwd(), *roots()))
        unknown = unknown_name("data", text, names())
        raise ValueError(f"{unknown}; nor is there a file or folder of that name in {places}")
    if path.is_dir():
        return path.resolve().name, folder(path)
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix.lower()
    if suffix == ".npz":
        return path.stem, open_npz(path, label_column=label_column)
    if suffix in (".csv", ".csv.gz"):
        return path.name.split(".")[0], read_csv(path, label_column=label_column)
    if suffix in TABLES:
        return path.stem, read_arrow(path, label_column=label_column)
    hint = " (a single image: give its folder)" if suffix in EXTENSIONS else ""
    raise ValueError(f"data: {text!r} ends in {suffix!r}{hint}; readable are {FORMATS}")


def _from_object(data: Any) -> Raw:
    if isinstance(data, tuple | list) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        return Raw(as_tensor(data[0]), data[1])
    if isinstance(data, Tensor | np.ndarray):
        return Raw(as_tensor(data))
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, tuple | list | dict | bytes):
        return _from_dataset(data)
    raise TypeError(
        f"data: {type(data).__name__}; give a name ({', '.join(names())}), a path ({FORMATS}), (x, y), or a torch "
        "Dataset with a length"
    )


def _from_dataset(data: Any) -> Raw:
    if len(data) == 0:
        raise ValueError("data: the data set is empty")
    samples, labels = [], []
    for position in range(len(data)):
        item = data[position]
        x, y = (item[0], item[1]) if isinstance(item, tuple | list) and len(item) >= 2 else (item, None)
        if not isinstance(x, Tensor | np.ndarray):
            raise TypeError(f"data: sample {position} is a {type(x).__name__}; give tensors or arrays")
        samples.append(as_tensor(x))
        if samples[-1].shape != samples[0].shape:
            raise ValueError(
                f"image_size: sample {position} has shape {tuple(samples[-1].shape)}, sample 0 "
                f"{tuple(samples[0].shape)}; make all samples of a data set one shape"
            )
        labels.append(None if y is None else int(y))
    return Raw(torch.stack(samples), None if None in labels else torch.tensor(labels))


def _finish(raw: Raw, name: str, image_size: int | None, seed: int) -> ArrayDataset:
    x = as_tensor(raw.x)
    kind: Literal["image", "vector"] = "vector" if x.ndim == 2 else "image"
    if kind == "image":
        x = channels_first(x)
        if not x.is_floating_point() and x.dtype != torch.uint8:
            low, high = int(x.min()), int(x.max())
            if low < 0 or high > 255:
                raise ValueError(f"x: integer images hold {low} .. {high}; give bytes 0 .. 255 or floats")
            x = x.to(torch.uint8)
    data = ArrayDataset(
        x,
        raw.label,
        name=name,
        kind=kind,
        class_names=raw.class_names,
        splits=raw.splits,
        skipped=raw.skipped,
        seed=seed,
    )
    return data if image_size is None else _resized(data, image_size)


def _resized(data: ArrayDataset, image_size: int) -> ArrayDataset:
    """The images resized so that the shorter side is `image_size`, middle square kept."""
    if data.kind != "image":
        raise ValueError(f"image_size: {data.name!r} holds vectors; image_size is for images")
    height, width = data.sample_shape[1:]
    if (height, width) == (image_size, image_size):
        return data
    scale = image_size / min(height, width)
    size = (max(image_size, round(height * scale)), max(image_size, round(width * scale)))
    upper, left = (size[0] - image_size) // 2, (size[1] - image_size) // 2
    parts = []
    for chunk in data.x.split(1024):
        moved = F.interpolate(chunk.float(), size, mode="bilinear", antialias=True, align_corners=False)
        moved = moved[..., upper : upper + image_size, left : left + image_size]
        parts.append(moved.round().clamp(0, 255).to(torch.uint8) if data.x.dtype == torch.uint8 else moved)
    return _with_images(data, torch.cat(parts))


def _padded(data: ArrayDataset, pad: int) -> ArrayDataset:
    """The images on a canvas of zeros, `pad` pixels wider on every side."""
    if pad == 0:
        return data
    if data.kind != "image":
        raise ValueError(f"pad: {data.name!r} holds vectors; pad is for images")
    return _with_images(data, F.pad(data.x, (pad, pad, pad, pad)))


def _with_images(data: ArrayDataset, x: Tensor) -> ArrayDataset:
    """The same samples, labels and parts with other pixels."""
    return ArrayDataset(
        x,
        data.label,
        name=data.name,
        class_names=data.class_names,
        num_classes=data.num_classes if data.class_names is None else None,
        splits=data.splits,
        skipped=data.skipped,
    )
