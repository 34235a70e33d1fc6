"""Maps from one group into another that keep products: what representations are restricted and induced along."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.elements import block_diagonal, map_elem
from erlangen.groups.product import Product

_PLANES = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}


class Homomorphism:
    """A map of groups with map(gh) = map(g) map(h).

    Args:
        source: where elements come from.
        target: where they go.
        map: elements of `source` to elements of `target`, in batches.
        name: identifies the map among those of the same source and target; two with equal names are equal.
    """

    def __init__(
        self, source: Group, target: Group, *, map: Callable[[Any], Any], name: str = "", coset: Any = None
    ) -> None:
        self.source = source
        self.target = target
        self.map = map
        self.name = name or f"{source} -> {target}"
        self._coset = coset

    def __call__(self, g: Any) -> Any:
        return self.map(g)

    def after(self, first: "Homomorphism") -> "Homomorphism":
        """This map after another one."""
        if first.target != self.source:
            raise ValueError(f"first: ends in {first.target}, but {self.name} starts at {self.source}")
        name = f"{self.name} after {first.name}"
        return Homomorphism(first.source, self.target, map=lambda g: self.map(first.map(g)), name=name)

    def cosets(self) -> tuple[Any, Callable[[Any], tuple[Tensor, Any]]]:
        """Representatives t of the left cosets of an injective map's image, and the split g = t_j · map(h) -> (j, h).

        Raises:
            ValueError: the index is infinite, or not known to be finite.
        """
        if self._coset is not None:
            return self._coset  # type: ignore[no-any-return]
        if isinstance(self.source, FiniteGroup) and isinstance(self.target, FiniteGroup):
            self._coset = _finite_cosets(self.source, self.target, self.map)
            return self._coset  # type: ignore[no-any-return]
        raise ValueError(
            f"hom: the index of {self.source} in {self.target} is infinite or unknown; induction needs a finite index"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Homomorphism) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str, str]:
        return self.source.name, self.target.name, self.name

    def __repr__(self) -> str:
        return f"Homomorphism({self.name})"


def subgroup(group: Group, descriptor: str | Group) -> Homomorphism:
    """The inclusion of a subgroup.

    Args:
        group: the big group.
        descriptor: a group or its name ("C4" in D8, "SO(3)" in E(3)); for groups of R^3 also a group of the plane about
            an axis, "SO(2)_z", "O(2)_x", "C4_y" or "D3_z"; for a product the name of one factor.

    Raises:
        ValueError: no such subgroup is known.
    """
    from erlangen.groups.names import parse
    from erlangen.groups.subgroups import inclusion

    if isinstance(descriptor, str) and descriptor[-2:-1] == "_" and descriptor[-1] in _PLANES:
        return _about_axis(group, parse(descriptor[:-2]), descriptor[-1])
    small = parse(descriptor)
    if isinstance(group, Product) and small != group:
        return factor_inclusion(group, small)
    embed = inclusion(small, group)
    coset = _reflection_cosets(small, group)
    return Homomorphism(small, group, map=embed, name=f"{small} in {group}", coset=coset)


def factor_inclusion(group: Product, small: Group) -> Homomorphism:
    """One factor of a product, or a subgroup of the first factor that has it, with the identity elsewhere."""
    for i, factor in enumerate(group.factors):
        try:
            inner = subgroup(factor, small)
        except ValueError:
            continue

        def embed(g: Any, i: int = i, inner: Homomorphism = inner) -> Any:
            moved = inner(g)
            batch = group.factors[i].batch_shape(moved)
            like = moved if isinstance(moved, Tensor) else None
            dtype = like.dtype if like is not None and like.is_floating_point() else None
            rest = [f.identity(batch, dtype=dtype) for f in group.factors]
            return tuple(moved if j == i else e for j, e in enumerate(rest))

        return Homomorphism(small, group, map=embed, name=f"{small} in factor {i} of {group}")
    raise ValueError(f"subgroup: no factor of {group} is known to contain {small}")


def _about_axis(group: Group, small: Group, axis: str) -> Homomorphism:
    if group.point_dim != 3 or small.point_dim != 2 or not small.is_compact:
        raise ValueError(
            f"subgroup: '{small}_{axis}' needs a group of R^3 and a compact group of the plane, in {group}"
        )
    order = torch.tensor(_PLANES[axis])
    keeps_hand = not bool((torch.linalg.det(small.matrix(small.grid(16), torch.float64)) < 0).any())
    from erlangen.groups.orthogonal import SO, O
    from erlangen.groups.subgroups import inclusion

    outer = inclusion(SO(3) if keeps_hand else O(3), group)

    def embed(g: Any) -> Any:
        plane = small.matrix(g)
        fixed = torch.ones_like(plane[..., :1, :1])
        place = torch.argsort(order).to(plane.device)
        return outer(block_diagonal([plane, fixed])[..., place, :][..., :, place])

    return Homomorphism(small, group, map=embed, name=f"{small}_{axis} in {group}")


def _finite_cosets(source: FiniteGroup[Any], target: FiniteGroup[Any], embed: Callable[[Any], Any]) -> Any:
    image = target.index(embed(source.elements()))
    if len(torch.unique(image)) < source.order:
        raise ValueError(f"hom: {source} -> {target} is not injective; induction needs a subgroup")
    table = target.table
    of_element = torch.full((target.order,), -1, dtype=torch.int64)
    inner = torch.zeros(target.order, dtype=torch.int64)
    chosen: list[int] = []
    for i in range(target.order):
        if of_element[i] < 0:
            members = table[i][image]
            of_element[members] = len(chosen)
            inner[members] = torch.arange(source.order)
            chosen.append(i)
    representatives = target.element(torch.tensor(chosen))

    def split(g: Any) -> tuple[Tensor, Any]:
        place = target.index(g)
        return of_element.to(place.device)[place], source.element(inner.to(place.device)[place])

    return representatives, split


def _reflection_cosets(small: Group, big: Group) -> Any:
    """SO(n) in O(n), SE(n) in E(n): the identity and one reflection."""
    pairs = {("SO", "O"), ("SE", "E")}
    if (type(small).__name__, type(big).__name__) not in pairs:
        return None
    flip = big.discrete_generators()[0]
    representatives = map_elem(lambda a, b: torch.stack([a, b]), big.identity(dtype=torch.float64), flip)

    def split(g: Tensor) -> tuple[Tensor, Tensor]:
        reflects = torch.linalg.det(g) < 0
        return reflects.to(torch.int64), torch.where(reflects[..., None, None], flip.to(g) @ g, g)

    return representatives, split
