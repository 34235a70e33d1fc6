"""Arrays in an .npz file: images or vectors with labels; nothing in it is ever executed."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from erlangen.data.raw import Raw

SAMPLES = ("x", "images", "X", "data", "features", "vectors", "arr_0")
LABELS = ("y", "labels", "label", "targets", "target")


def _pick(arrays: "np.lib.npyio.NpzFile", names: tuple[str, ...], prefix: str = "") -> str | None:
    return next((prefix + name for name in names if prefix + name in arrays.files), None)


def open_npz(path: Path, *, label_column: str | None = None) -> Raw:
    """Samples (`x` or `images`) and labels (`y` or `labels`) of an .npz file, with `train_` and `test_` parts or not.

    Raises:
        ValueError: the file is damaged, holds pickled objects (refused: they can run code) or no samples.
    """
    if path.stat().st_size and not zipfile.is_zipfile(path):
        raise ValueError(f"data: {path} is damaged or not an .npz file (it is no zip archive)")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return _read(path, arrays, label_column)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError) as error:
        raise ValueError(f"data: {path} is damaged or not an .npz file ({error})") from None
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise ValueError(
                f"data: {path} holds pickled objects, which can run code and are refused; save plain arrays"
            ) from None
        raise


def _read(path: Path, arrays: "np.lib.npyio.NpzFile", label_column: str | None) -> Raw:
    labels = LABELS if label_column is None else (label_column,)
    class_names = [str(name) for name in arrays["class_names"]] if "class_names" in arrays.files else None
    train, test = _pick(arrays, SAMPLES, "train_"), _pick(arrays, SAMPLES, "test_")
    if train and test:
        train_y, test_y = _pick(arrays, labels, "train_"), _pick(arrays, labels, "test_")
        return Raw.from_parts(
            arrays[train],
            arrays[train_y] if train_y else None,
            arrays[test],
            arrays[test_y] if test_y else None,
            class_names=class_names,
        )
    samples, label = _pick(arrays, SAMPLES), _pick(arrays, labels)
    if samples is None:
        raise ValueError(
            f"data: {path} holds {', '.join(arrays.files) or 'no arrays'}; name the samples x or images "
            "(train_x and test_x for given splits) and the labels y or labels"
        )
    if label_column is not None and label is None:
        raise ValueError(f"label_column: {path} has no array {label_column!r}; it has {', '.join(arrays.files)}")
    return Raw(arrays[samples], arrays[label] if label else None, class_names)
