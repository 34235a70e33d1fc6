"""Real irreducible representations, and direct sums of those of O(3) in e3nn's notation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.elements import Elem, block_diagonal
from erlangen.groups.finite import Cyclic, Dihedral, Symmetric
from erlangen.groups.finite_irreps import real_irreps, young_irrep
from erlangen.groups.harmonics import wigner_D_all
from erlangen.groups.linear import helmert
from erlangen.groups.orthogonal import SO, O
from erlangen.groups.representations import FunctionRep, Rep, SignRep, TrivialRep
from erlangen.groups.unitary import SU


@dataclass(frozen=True)
class MulIr:
    """`mul` copies of the irrep of degree `degree` and parity `parity` (1 even, -1 odd)."""

    mul: int
    degree: int
    parity: int

    @property
    def dim(self) -> int:
        return self.mul * (2 * self.degree + 1)

    def __repr__(self) -> str:
        return f"{self.mul}x{self.degree}{'e' if self.parity == 1 else 'o'}"


class Irreps(Rep):
    """A direct sum such as "8x0e+4x1o" on the last axis, in e3nn's basis and `mul_ir` layout.

    Degree l has 2 l + 1 components; `e` is even and `o` odd under inversion, so vectors are `1o` and pseudovectors
    `1e`. Groups without reflections ignore parity; translations act trivially.

    Args:
        irreps: the string; a term without parity ("4x1") is taken as (-1)^l.
        group: SO(3), O(3), SE(3), E(3), a rotation group of a solid, or anything else with a 3 x 3 point matrix.
    """

    def __init__(self, irreps: str, group: Group | None = None) -> None:
        self.group = O(3) if group is None else group
        if not self.group.acts_on_points or self.group.point_dim != 3:
            raise ValueError(f"group: irreps such as {irreps!r} need SO(3), O(3), SE(3) or E(3), given {group}")
        self.terms = tuple(_parse(irreps))
        self.dim = sum(t.dim for t in self.terms)
        self.is_trivial = all(t.degree == 0 and t.parity == 1 for t in self.terms)

    @property
    def slices(self) -> list[slice]:
        """Where each term lies on the last axis."""
        out, start = [], 0
        for t in self.terms:
            out.append(slice(start, start + t.dim))
            start += t.dim
        return out

    @property
    def l_max(self) -> int:
        return max(t.degree for t in self.terms)

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        linear = self.group.point_matrix(g, 3, dtype)
        sign = torch.sign(torch.linalg.det(linear.detach()))[..., None, None]
        by_degree = wigner_D_all(self.l_max, sign * linear)
        blocks = []
        for t in self.terms:
            block = by_degree[t.degree] if t.parity == 1 else sign * by_degree[t.degree]
            blocks.extend([block] * t.mul)
        return block_diagonal(blocks)

    def __repr__(self) -> str:
        return "+".join(map(repr, self.terms))


def _parse(text: str) -> Iterator[MulIr]:
    for piece in text.replace(" ", "").split("+"):
        match = re.fullmatch(r"(?:(\d+)x)?(\d+)([eoy]?)", piece)
        if match is None or match[1] == "0":
            raise ValueError(f"irreps: cannot read {piece!r} in {text!r}; expected terms such as '8x0e' or '1o'")
        degree = int(match[2])
        parity = {"e": 1, "o": -1}.get(match[3], (-1) ** degree)
        yield MulIr(int(match[1] or 1), degree, parity)


def irrep(group: Group, *label: Any) -> Rep:
    """One irreducible representation, real but for SU(2).

    Labels: C_n and SO(2): frequency k (0 trivial; for C_n, k = n / 2 is the sign; else the plane turned k times);
    D_n and O(2): (j, k) with j = 1 for the version where flips change sign of a one-dimensional one, or k alone;
    SO(3): degree l; O(3): (l, "e" or "o"); S_n: "trivial", "sign", "standard" (dimension n - 1), or a partition such as
    (3, 1) for n <= 6; SU(2): spin 0, 1/2, 1, ... (complex); the solids: "A1", "E", "T1" and so on; other finite groups:
    the number in the list `irreps(group)`.

    Raises:
        ValueError: no such irrep; the message gives the labels.
    """
    if isinstance(group, Symmetric):
        return _symmetric_irrep(group, label)
    if isinstance(group, SO) and group.n == 3:
        return _spherical_irrep(group, label)
    if isinstance(group, SU) and group.n == 2:
        return SpinRep(group, *label)
    planar = isinstance(group, (Cyclic, Dihedral)) or (isinstance(group, SO) and group.n == 2)
    if isinstance(group, FiniteGroup) and not planar:
        return _listed_irrep(group, label)
    if not planar or not label or not all(isinstance(k, int) for k in label):
        raise ValueError(f"label: no irrep {label} of {group} is built; see the docstring of irrep for the labels")
    flips = isinstance(group, (Dihedral, O))
    j, k = (int(label[0]), int(label[1])) if len(label) == 2 else (0, int(label[0]))
    return _planar_irrep(group, j, k, flips)


def irreps(group: Group, max_label: int | None = None) -> Iterator[Rep]:
    """The real irreps of a finite group (all of them), and those up to frequency or degree `max_label` of SO(2), O(2),
    SO(3) and O(3); for SU(2) the complex ones of spin up to `max_label` / 2."""
    if isinstance(group, (Cyclic, Dihedral)):
        top, ends = group.n // 2, {0} | ({group.n // 2} if group.n % 2 == 0 else set())
    elif isinstance(group, FiniteGroup):
        yield from real_irreps(group)
        return
    elif (isinstance(group, SO) and group.n in (2, 3)) or (isinstance(group, SU) and group.n == 2):
        if max_label is None:
            raise ValueError(f"max_label: {group} has infinitely many irreps; say up to which label")
        top, ends = max_label, {0}
    else:
        raise ValueError(
            f"group: the list of irreps of {group} is not built; finite groups, SO(2), O(2), SO(3), O(3), SU(2) are"
        )
    for k in range(top + 1):
        if isinstance(group, SU):
            labels: list[tuple[Any, ...]] = [(k / 2,)]
        elif isinstance(group, SO) and group.n == 3:
            labels = [(k, "e"), (k, "o")] if isinstance(group, O) else [(k,)]
        elif isinstance(group, (Dihedral, O)):
            labels = [(0, k), (1, k)] if k in ends else [(0, k)]
        else:
            labels = [(k,)]
        for label in labels:
            yield irrep(group, *label)


class SpinRep(Rep):
    """Spin j of SU(2) on C^{2j+1}, unitary: the symmetric power Sym^{2j} of the defining representation.

    D^j comes from D^{j - 1/2} by the isometry into its product with spin 1/2: a polynomial in the entries of g.
    """

    is_complex = True

    def __init__(self, group: SU, spin: float | int = -1) -> None:
        if not isinstance(spin, (int, float)) or spin < 0 or (2 * spin) != round(2 * spin):
            raise ValueError(f"label: irreps of {group} are spins 0, 1/2, 1, 3/2, ..., given {spin}")
        self.group = group
        self.spin = float(spin)
        self.dim = round(2 * spin) + 1
        self.is_trivial = self.dim == 1

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        base = self.group.matrix(g, dtype)
        out = torch.ones_like(base[..., :1, :1])
        for k in range(1, self.dim):
            m = torch.arange(k + 1, dtype=torch.float64)
            up, down = ((k - m) / k).sqrt(), (m / k).sqrt()
            isometry = torch.zeros(2, k, k + 1, dtype=torch.float64)
            isometry[0, torch.arange(k), torch.arange(k)] = up[:k]
            isometry[1, torch.arange(k), torch.arange(1, k + 1)] = down[1:]
            c = isometry.to(base)
            out = torch.einsum("iam,...ij,...ab,jbn->...mn", c, base, out, c)
        return out

    def __repr__(self) -> str:
        return f"spin {self.spin:g}"


def _listed_irrep(group: FiniteGroup[Any], label: tuple[Any, ...]) -> Rep:
    found = list(real_irreps(group))
    names = [repr(r)[6:-1] for r in found]
    wanted = str(label[0]) if len(label) == 1 else str(label)
    if wanted not in names:
        raise ValueError(f"label: irreps of {group} are {', '.join(names)}, given {wanted}")
    return found[names.index(wanted)]


def _planar_irrep(group: Group, j: int, k: int, flips: bool) -> Rep:
    n = group.n if isinstance(group, (Cyclic, Dihedral)) else None
    high = n // 2 if n is not None else None
    real = k == 0 or (n is not None and 2 * k == n)
    if k < 0 or (high is not None and k > high) or j not in (0, 1) or (j == 1 and not (flips and real)):
        bound = "any k >= 0" if high is None else f"0 <= k <= {high}"
        raise ValueError(f"label: {group} has irreps {bound}, doubled as (1, k) only where flips allow, given {(j, k)}")
    if j == 0 and k == 0:
        return TrivialRep(group)
    if j == 1 and k == 0:
        return SignRep(group)

    def powers(g: Elem, dtype: torch.dtype | None) -> Tensor:
        base = group.matrix(g, torch.float64)
        out_type = dtype or torch.get_default_dtype()
        sign = torch.sign(torch.linalg.det(base))
        # diag(-1, 1) = -diag(1, -1): strip the flip off on the right, take the power of the rotation, put it back.
        column = torch.stack([sign, torch.ones_like(sign)], -1)[..., None, :]
        power = torch.linalg.matrix_power(base * column, k)
        if real:
            value = power[..., :1, :1].round()
            return (value * sign[..., None, None] if j else value).to(out_type)
        return (power * column).to(out_type)

    name = f"irrep({j}, {k})" if flips else f"irrep({k})"
    return FunctionRep(group, 1 if real else 2, powers, name=name)


def _spherical_irrep(group: SO, label: tuple[int | str, ...]) -> Rep:
    if not label or not isinstance(label[0], int) or label[0] < 0 or (len(label) > 1 and label[1] not in ("e", "o")):
        raise ValueError(f"label: irreps of {group} are a degree l >= 0, with 'e' or 'o' for O(3), given {label}")
    parity = str(label[1]) if len(label) > 1 else ""
    return Irreps(f"1x{label[0]}{parity}", group)


def _symmetric_irrep(group: Symmetric, label: tuple[Any, ...]) -> Rep:
    kind = label[0] if label else None
    if kind == "trivial":
        return TrivialRep(group)
    if kind == "sign":
        return SignRep(group)
    partition = kind if isinstance(kind, (tuple, list)) else (label if label and isinstance(kind, int) else None)
    if partition is not None:
        return young_irrep(group, tuple(int(p) for p in partition))
    if kind != "standard" or group.size < 2:
        raise ValueError(
            f"label: irreps of {group} are 'trivial', 'sign', 'standard' and, for n <= 6, partitions such as (3, 1), "
            f"given {label}"
        )
    basis = helmert(group.size)

    def on_sum_zero(g: Any, dtype: torch.dtype | None) -> Tensor:
        q = basis.to(g.device)
        return (q @ group.matrix(g, torch.float64) @ q.mT).to(dtype or torch.get_default_dtype())

    return FunctionRep(group, group.size - 1, on_sum_zero, name="irrep(standard)")
