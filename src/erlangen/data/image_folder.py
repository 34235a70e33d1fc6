"""A folder of images, with a folder for each class or without."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from erlangen.data.raw import Raw

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))
TEST_FOLDERS = ("test", "val", "valid", "validation")
log = logging.getLogger(__name__)


def _is_image(path: Path) -> bool:
    """By its name; a link to nowhere is an image that cannot be read, not one that is not there."""
    return path.suffix.lower() in EXTENSIONS and path.name[0] != "." and (path.is_file() or path.is_symlink())


def _images_below(folder: Path) -> list[Path]:
    """All images in and below `folder`, in order. Links to folders are followed, except to a folder that one is in."""
    found = []
    for where, inside, files in os.walk(folder, followlinks=True):
        inside[:] = [child.name for child in (Path(where, name) for name in inside) if _to_enter(child)]
        found += [path for path in (Path(where, name) for name in files) if _is_image(path)]
    return sorted(found)


def _to_enter(folder: Path) -> bool:
    if folder.name[0] == ".":
        return False
    return not (folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()))


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and _to_enter(child))


def list_images(folder: Path) -> tuple[list[Path], list[str] | None]:
    """The images of a folder in order, and the class folder of each, or `None` where the folder has none."""
    flat = sorted(path for path in folder.iterdir() if _is_image(path) and not path.is_dir())
    by_class = [(path, child.name) for child in _folders(folder) for path in _images_below(child)]
    if flat and by_class:
        raise ValueError(
            f"data: {folder} holds images ({flat[0].name}) beside folders of images ({by_class[0][1]}/); "
            "put every image into a class folder, or none"
        )
    return (flat, None) if flat else ([path for path, _ in by_class], [name for _, name in by_class] or None)


def read_image(path: Path, image_size: int | None) -> np.ndarray:
    """One image as bytes [height, width] or [height, width, 3]: upright, transparency on white, deep grey scaled.

    With `image_size` the shorter side is resized to it and the middle square is kept.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        opened.load()
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I") or image.mode == "F":
            image = Image.fromarray(_as_bytes(image))
        elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            layer = image.convert("RGBA")
            white = Image.new("RGBA", layer.size, "white")
            image = Image.alpha_composite(white, layer).convert("RGB")
        elif image.mode == "1":
            image = image.convert("L")
        elif image.mode != "L":
            image = image.convert("RGB")
        if image_size is not None:
            scale = image_size / min(image.size)
            size = (max(image_size, round(image.width * scale)), max(image_size, round(image.height * scale)))
            left, upper = (size[0] - image_size) // 2, (size[1] - image_size) // 2
            image = image.resize(size, Image.Resampling.BICUBIC)
            image = image.crop((left, upper, left + image_size, upper + image_size))
        return np.asarray(image)


def _as_bytes(image: "Image.Image") -> np.ndarray:
    """Grey of more than 8 bits as bytes: whole numbers are of 0 .. 65535, fractions of 0 .. 1 or else of 0 .. 255."""
    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        top, allowed = (1.0 if high <= 1 else 255.0), "fractions of 0 .. 1 or 0 .. 255"
    else:
        top, allowed = 65535.0, "whole numbers of 0 .. 65535"
    if not (low >= 0 and high <= top):
        raise ValueError(f"its pixels are {low:g} .. {high:g}; readable are {allowed}")
    return (values / top * 255).round().astype(np.uint8)


def _read_all(
    paths: Iterable[Path], image_size: int | None, skip: bool
) -> tuple[list[np.ndarray], list[int], list[str]]:
    from PIL import Image, UnidentifiedImageError

    images, kept, skipped = [], [], []
    for position, path in enumerate(paths):
        try:
            images.append(read_image(path, image_size))
        except (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            UnidentifiedImageError,
            Image.DecompressionBombError,
        ) as why:
            if not skip:
                reason = str(why).split("\n")[0]
                raise ValueError(
                    f"data: cannot read {path} ({reason}); repair or remove it, or leave such out with skip_unreadable"
                ) from None
            skipped.append(str(path))
            continue
        kept.append(position)
    if skipped:
        more = ", ..." if len(skipped) > 5 else ""
        log.warning(
            "left out %d of %d images, unreadable: %s",
            len(skipped),
            len(skipped) + len(kept),
            ", ".join(skipped[:5]) + more,
        )
    return images, kept, skipped


def _stack(images: list[np.ndarray], paths: list[Path]) -> torch.Tensor:
    """Images as [N, C, H, W] bytes: three channels as soon as one image has colour."""
    first = images[0].shape[:2]
    for image, path in zip(images, paths, strict=True):
        if image.shape[:2] != first:
            raise ValueError(
                f"image_size: {path} is {image.shape[1]} x {image.shape[0]}, {paths[0]} is {first[1]} x {first[0]}; "
                "images of different sizes need image_size, the side that all are resized to"
            )
    channels = 3 if any(image.ndim == 3 for image in images) else 1
    out = torch.empty(len(images), channels, *first, dtype=torch.uint8)
    for target, image in zip(out, images, strict=True):
        array = torch.from_numpy(np.array(image))
        target.copy_(array.permute(2, 0, 1) if array.ndim == 3 else array[None])
    return out


def read_folder(folder: Path, *, image_size: int | None = None, skip_unreadable: bool = False) -> Raw:
    """Images of a folder; the folders in it are the classes, and `train/` beside `test/` (or `val/`) are the splits.

    Raises:
        ValueError: no images, an unreadable one (unless skipped on request), or different sizes without `image_size`.
    """
    children = {child.name.lower(): child for child in _folders(folder)}
    held_out = next((children[name] for name in TEST_FOLDERS if name in children), None)
    parts = [children["train"], held_out] if "train" in children and held_out else [folder]
    paths: list[Path] = []
    names: list[str] | None = []
    counts = []
    for part in parts:
        if part is None:
            continue
        found, classes = list_images(part)
        if not found:
            kinds = " ".join(sorted(EXTENSIONS))
            raise ValueError(f"data: no images in {part}; images end in {kinds}")
        paths += found
        counts.append(len(found))
        names = None if names is None or classes is None else names + classes
    images, kept, skipped = _read_all(paths, image_size, skip_unreadable)
    if not images:
        raise ValueError(f"data: none of the {len(paths)} images in {folder} can be read")
    x = _stack(images, [paths[position] for position in kept])
    splits = None
    if len(counts) == 2:
        is_train = torch.tensor([position < counts[0] for position in kept])
        splits = {"train": is_train.nonzero()[:, 0], "test": (~is_train).nonzero()[:, 0]}
    if names is None:
        return Raw(x, None, None, splits, skipped)
    class_names = sorted(set(names))
    number = {name: position for position, name in enumerate(class_names)}
    return Raw(x, torch.tensor([number[names[position]] for position in kept]), class_names, splits, skipped)
