"""Small arrays as PNG data URIs."""

import base64
import binascii
import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from erlangen.report.wording import escape

LARGEST = 64
_URI = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+\Z")


def png_uri(image: Any) -> str | None:
    """A PNG of at most 64 pixels a side, as a data URI; None where `image` is not a picture.

    `image` is `[H][W]` or `[H][W][3]` (or `[1 or 3][H][W]`) of 0..255, or of 0..1 in floating point, or a PNG data
    URI already.
    """
    if isinstance(image, str):
        return image if _URI.match(image) else None
    array = _pixels(image)
    if array is None:
        return None
    from PIL import Image

    picture = Image.fromarray(array)
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + binascii.b2a_base64(buffer.getvalue(), newline=False).decode()


def _pixels(image: Any) -> np.ndarray | None:
    """`image` as uint8 `[H, W]` or `[H, W, 3]`."""
    if hasattr(image, "detach"):
        image = image.detach().cpu().numpy()
    try:
        array = np.asarray(image)
    except ValueError:
        return None
    if array.dtype == object or array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "uifb":
        return None
    if array.ndim == 3 and array.shape[-1] not in (1, 3) and array.shape[0] in (1, 3):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] not in (1, 3):
        return None
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype.kind == "f":
        array = np.nan_to_num(array.astype(np.float64))
        scale = 255.0 if array.max() <= 1.0 + 1e-6 else 1.0
        array = array * scale
    return np.ascontiguousarray(np.clip(np.rint(array), 0, 255).astype(np.uint8))


def is_png(uri: str) -> bool:
    """Whether a data URI really holds a PNG."""
    try:
        return base64.b64decode(uri.split(",", 1)[1], validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    except (IndexError, binascii.Error):
        return False


def picture(image: Any, alternative: str, *, size: int = 84) -> str:
    """An `<img>`, or a quiet placeholder where there is nothing to show."""
    uri = png_uri(image) if image is not None else None
    if uri is None:
        return f'<span class="nopicture" style="--size:{size}px">no picture</span>'
    return f'<img src="{uri}" alt="{escape(alternative)}" width="{size}" height="{size}" loading="lazy">'


def before_after(pair: Mapping[str, Any]) -> str:
    """One figure: the picture before and after the group element, and its caption."""
    caption = escape(pair.get("caption") or "")
    pictures = picture(pair.get("before"), "before")
    if pair.get("after") is not None:
        pictures += '<span class="arrow" aria-hidden="true">→</span>' + picture(pair.get("after"), "after")
    return f'<figure class="pair"><div class="pictures">{pictures}</div><figcaption>{caption}</figcaption></figure>'
