"""Groups by name: "C8", "SE(3)", "E(3) x S5"."""

import re
from collections.abc import Callable

from erlangen._registry import unknown_name
from erlangen.groups.affine import SE, E, Translation
from erlangen.groups.base import Group
from erlangen.groups.finite import Cyclic, Dihedral, Symmetric
from erlangen.groups.linear import SL, GLPlus
from erlangen.groups.orthogonal import SO, O
from erlangen.groups.polyhedral import Icosahedral, Octahedral, Tetrahedral
from erlangen.groups.product import Product
from erlangen.groups.scaling import Scaling
from erlangen.groups.unitary import SU, U

ALLOWED = ["C8", "D4", "S5", "S(n)", "O", "T", "I", "SO(2)", "SO(3)", "O(3)", "SE(3)", "E(3)", "T(2)", "Scaling"]
ALLOWED += ["GL+(2)", "SL(2)", "SU(3)", "U(2)"]

_SIZED: dict[str, Callable[[int], Group]] = {
    "C": Cyclic,
    "D": Dihedral,
    "S": Symmetric,
    "SO": SO,
    "O": O,
    "SE": SE,
    "E": E,
    "T": Translation,
    "TRANSLATION": Translation,
    "GL+": GLPlus,
    "GLPLUS": GLPlus,
    "SL": SL,
    "SU": SU,
    "U": U,
}
_PLAIN: dict[str, Callable[[], Group]] = {
    "S(N)": Symmetric,
    "O": Octahedral,
    "OCTAHEDRAL": Octahedral,
    "T": Tetrahedral,
    "TETRAHEDRAL": Tetrahedral,
    "I": Icosahedral,
    "ICOSAHEDRAL": Icosahedral,
    "SCALING": Scaling,
}


def parse(group: str | Group) -> Group:
    """The group a name stands for; a `Group` passes through.

    Known: `C8`, `D4`, `S5` (or `C(8)` and so on), `S(n)` with the size read from the data later, `SO(n)`, `O(n)`,
    `SE(n)`, `E(n)`, `T(n)` or `Translation(n)`, `Scaling`, `GL+(n)`, `SL(n)`, `SU(n)`, `U(n)`,
    the rotation groups `O` (or `Octahedral`), `T`
    (`Tetrahedral`), `I` (`Icosahedral`), and products with `x` or `×` between any of them.

    Raises:
        ValueError: the name is unknown; the message lists the allowed forms.
        TypeError: `group` is neither a string nor a `Group`.
    """
    if isinstance(group, Group):
        return group
    if not isinstance(group, str):
        raise TypeError(f"group: expected a name such as 'C8' or a Group, given {type(group).__name__}")
    factors = [_parse_one(piece, group) for piece in re.split(r"\s*×\s*|\s+[xX]\s+", group.strip())]
    return factors[0] if len(factors) == 1 else Product(*factors)


def _parse_one(piece: str, whole: str) -> Group:
    text = piece.strip().upper().replace(" ", "")
    if text in _PLAIN:
        return _PLAIN[text]()
    match = re.fullmatch(r"([A-Z]+\+?)_?(?:\((\d+)\)|(\d+))", text)
    if match is None or match[1] not in _SIZED:
        raise unknown_name("group", piece if piece == whole else f"{piece} (in {whole})", ALLOWED)
    if match[3] is not None and match[1] not in ("C", "D", "S", "SO", "O", "SE", "E", "T", "SU", "SL"):
        raise unknown_name("group", whole, ALLOWED)
    return _SIZED[match[1]](int(match[2] or match[3]))
