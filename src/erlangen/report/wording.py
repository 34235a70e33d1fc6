"""Numbers, sizes and names as a person reads them, and text made safe for HTML."""

import html
import math
import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_PERCENT = re.compile(r"(\d) %")
_SPECIAL = {"knn": "kNN", "rankme": "RankMe", "cka": "CKA", "lie": "Lie", "rsa": "RSA", "twonn": "TwoNN", "mle": "MLE"}
_SPECIAL |= {name: name.upper() for name in ("nc1", "nc2", "nc3", "nc4", "cdnv", "ccgp")}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def escape(value: Any) -> str:
    """`value` as text that is inert in HTML, both between tags and inside quoted attributes."""
    return html.escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True)


def prose(value: Any) -> str:
    """A sentence, escaped, that never breaks between a number and its per cent sign."""
    return _PERCENT.sub("\\1\N{NO-BREAK SPACE}%", escape(value))


def figure_text(value: float | int) -> str:
    """Three significant digits; powers of ten outside 0.001 to 100,000: `0.0312`, `1,797`, `3.1 × 10⁻⁷`."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", "−")
    if size >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    digits = max(0, 2 - math.floor(math.log10(size)))
    return f"{value:.{digits}f}".replace("-", "−")


def short_number(value: float | int) -> str:
    """The shortest form, for axis labels: `0.5`, `1e-7`."""
    if not math.isfinite(value):
        return "–"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def size_text(count: float | int) -> str:
    """Bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return ""


def seconds_text(seconds: float | int) -> str:
    """A duration: `40 ms`, `8.4 s`, `3 min 10 s`."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def count_text(value: Any) -> str:
    """An integer with thousands separators; anything else as it is."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return f"{value:,.0f}"
    return str(value)


def title_of(metric: str, probe: str = "") -> str:
    """A dotted key in words: `equivariance.rotation.relative_error` is `Equivariance · rotation · relative error`."""
    words = [part.replace("_", " ") for part in (metric or probe).split(".") if part]
    words = [_SPECIAL.get(part, " ".join(_SPECIAL.get(w, w) for w in part.split())) for part in words]
    if not words:
        return "(unnamed)"
    return " · ".join(
        [words[0][:1].upper() + words[0][1:] if words[0] not in _SPECIAL.values() else words[0], *words[1:]]
    )


def slug(text: str) -> str:
    """An id for anchors: letters, digits and dashes, one to one with `text`."""
    return "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}-" if c not in "._" else "-" for c in text)
