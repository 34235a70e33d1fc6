"""From the name of a type ("points", "image", "8x0e+4x1o") to the action of a group on it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from erlangen._registry import unknown_name
from erlangen.groups.actions.base import Action, Function, OnProduct, PerLeaf, Trivial
from erlangen.groups.actions.graph import Graph
from erlangen.groups.actions.image import Image
from erlangen.groups.actions.linear import LeftMul, Linear, Points, Vectors
from erlangen.groups.actions.permute import Permute, Sequence
from erlangen.groups.actions.sphere import Sphere
from erlangen.groups.affine import Euclidean, Translation
from erlangen.groups.base import Group
from erlangen.groups.finite import Cyclic, Dihedral, Symmetric
from erlangen.groups.names import parse
from erlangen.groups.product import Product
from erlangen.groups.scaling import Scaling

_IRREPS = re.compile(r"\s*(\d+\s*x\s*)?\d+[eoy]?(\s*\+\s*(\d+\s*x\s*)?\d+[eoy]?)*\s*")
Maker = Callable[[Group, bool], Action | None]


def _rows(group: Group, axis: int = -2) -> Action | None:
    return Permute(group, axes=(axis,)) if isinstance(group, Symmetric) else None


def _moves_points(group: Group) -> bool:
    return group.acts_on_points


def _moves_plane(group: Group) -> bool:
    return group.acts_on_points and group.point_dim in (None, 2)


def _points(group: Group, has_rows: bool) -> Action | None:
    return Points(group) if _moves_points(group) else _rows(group)


def _vectors(group: Group, has_rows: bool) -> Action | None:
    return Vectors(group) if _moves_points(group) else _rows(group)


def _scalars(group: Group, has_rows: bool) -> Action | None:
    return _rows(group) or Trivial(group)


def _image(group: Group, has_rows: bool) -> Action | None:
    return Image(group) if _moves_plane(group) else None


def _field(group: Group, has_rows: bool) -> Action | None:
    return Image(group, channels="vector") if _moves_plane(group) else None


def _mask(group: Group, has_rows: bool) -> Action | None:
    if has_rows or not _moves_plane(group):
        return _rows(group, -1) or Trivial(group)
    return Image(group, mode="nearest")


def _sequence(group: Group, has_rows: bool) -> Action | None:
    known = isinstance(group, (Cyclic, Dihedral, Symmetric)) or group == Translation(1)
    return Sequence(group) if known else None


def _rotation(group: Group, has_rows: bool) -> Action | None:
    return LeftMul(group) if _moves_points(group) and not isinstance(group, Scaling) else None


def _sphere(group: Group, has_rows: bool) -> Action | None:
    return Sphere(group) if _moves_points(group) and group.point_dim == 3 else None


def _invariant(group: Group, has_rows: bool) -> Action | None:
    return Trivial(group)


_PLANE = "C_n, D_n, SO(2), O(2), SE(2), E(2), T(2), Scaling"
_SPACE = "C_n, D_n, SO(n), O(n), SE(n), E(n), T(n), Octahedral"
_MAKERS: dict[str, tuple[Maker, str]] = {
    "points": (_points, f"{_SPACE}, Scaling, S_n"),
    "vectors": (_vectors, f"{_SPACE}, Scaling, S_n"),
    "scalars": (_scalars, "every group"),
    "image": (_image, _PLANE),
    "field": (_field, _PLANE),
    "mask": (_mask, "every group"),
    "sequence": (_sequence, "C_n, D_n, S_n, T(1)"),
    "rows": (lambda group, has_rows: _rows(group), "S_n"),
    "sphere": (_sphere, "SO(3), O(3), SE(3), E(3), Octahedral"),
    "rotation": (_rotation, _SPACE),
    "invariant": (_invariant, "every group"),
}
SHORT_NAMES = sorted([*_MAKERS, "graph"])


def from_type(spec: Any, group: str | Group) -> Action:
    """The action of `group` on data of the type `spec`.

    Args:
        spec: a short name; an irreps string such as "8x0e+4x1o" (the last axis, for groups of R^3); an `Action`; a
            function `(g, x) -> x`; or a tuple, list or dict of these.
        group: a group or its name. In a product every factor acts on what it understands: `points` under "E(3) x S5"
            moves by E(3) and has its rows permuted by S5; `image` under "C4 x S5" sees only C4.

    Short names and the shapes they mean:
        points `[..., N, n]`, vectors `[..., N, n]` (no translation), scalars `[..., N, C]`, rows `[..., N, C]`,
        image `[..., H, W]`, field `[..., 2, H, W]`, mask (per row `[..., N]` under S_n, else per pixel `[..., H, W]`),
        sequence `[..., T, C]`, graph (PyG `Data`),
        sphere `[..., H, W]` (equirectangular, see `Sphere`), rotation `[..., n, n]`, invariant (anything).

    Raises:
        ValueError: the name is unknown, or the group cannot act on this type; the message says which groups can.
    """
    group = parse(group)
    if isinstance(spec, Action):
        return spec
    if isinstance(spec, str):
        return _named(spec.strip(), group)
    if isinstance(spec, (tuple, list, Mapping)):
        return PerLeaf(spec, group)
    if callable(spec):
        return Function(spec, group)
    raise TypeError(f"type: expected a name, an Action, a function or a tuple, list or dict, given {spec!r}")


def _named(name: str, group: Group) -> Action:
    if name == "graph":
        return Graph(group)
    if name in _MAKERS:
        maker, can = _MAKERS[name]
        return _per_factor(lambda f, has_rows: maker(f, has_rows), name, can, group)
    if _IRREPS.fullmatch(name):
        return _per_factor(lambda f, has_rows: _irreps(name, f), name, "SO(3), O(3), SE(3), E(3), Octahedral", group)
    raise unknown_name("type", name, [*SHORT_NAMES, "8x0e+4x1o"])


def _irreps(text: str, group: Group) -> Action | None:
    from erlangen.groups.irreps import Irreps

    if not group.acts_on_points or group.point_dim != 3:
        return None
    return Linear(Irreps(text, group))


def _per_factor(maker: Maker, name: str, can: str, group: Group) -> Action:
    if not isinstance(group, Product):
        action = maker(group, isinstance(group, Symmetric))
        if action is None:
            raise ValueError(f"group: {group} cannot act on {name!r}; these can: {can}")
        return action
    has_rows = any(isinstance(f, Symmetric) for f in group.factors)
    found = {i: maker(f, has_rows) for i, f in enumerate(group.factors)}
    actions = {i: a for i, a in found.items() if a is not None}
    if not actions:
        raise ValueError(f"group: {group} cannot act on {name!r}; these can: {can}")
    moving = [group.factors[i] for i, a in actions.items() if not a.is_trivial and group.factors[i].acts_on_points]
    clash = [f for f in moving if not isinstance(f, Scaling)]
    if len(clash) > 1 or (len(moving) > 1 and isinstance(clash[0], Euclidean)):
        names = " and ".join(f.name for f in moving)
        raise ValueError(f"group: {names} do not commute on {name!r}, so {group} does not act on it")
    if not any(not a.is_trivial for a in actions.values()):
        return Trivial(group)
    return OnProduct(group, {i: a for i, a in actions.items() if not a.is_trivial})
