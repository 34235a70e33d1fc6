"""The elements of a group that an audit moves its inputs by."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.elements import map_elem

MOST_ELEMENTS = 32
CIRCLE = 16


@dataclass
class Orbit:
    """Elements other than the identity with their action on inputs; `exact[i]` says that moving by element i and back
    gives the input bit for bit."""

    name: str
    group: Any
    action: Any
    elements: list[Any]
    labels: list[str]
    exact: list[bool] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.elements)

    def move(self, i: int, x: Tensor) -> Tensor:
        return self.action(self.elements[i], x)

    def there_and_back(self, i: int, x: Tensor) -> Tensor:
        return self.action(self.group.inverse(self.elements[i]), self.action(self.elements[i], x))

    def inverse_of(self, i: int) -> int | None:
        """The place in `elements` of the inverse of element i; None if it is not there."""
        inverse = self.group.inverse(self.elements[i])
        for j, g in enumerate(self.elements):
            if float(self.group.distance(inverse, g)) < 1e-4:
                return j
        return None


def build_orbit(group: Any, x: Tensor, *, seed: int) -> Orbit:
    """The orbit of a group (a name, a group, or an action of one) on inputs like `x`.

    All elements of a finite group of at most 32, 16 equally spaced ones of a circle, else a grid or sample. Raises
    ValueError for a group that cannot act on the inputs.
    """
    from erlangen.groups import actions, parse

    action = group if hasattr(group, "group") and callable(group) else None
    resolved = action.group if action is not None else parse(group)
    if action is None:
        action = actions.from_type("image" if x.dim() == 4 else "points" if x.dim() == 3 else "vectors", resolved)
    order = resolved.order
    if order is not None and order > MOST_ELEMENTS:
        generator = torch.Generator().manual_seed(seed)
        batch, count = resolved.sample(MOST_ELEMENTS, generator=generator), MOST_ELEMENTS
    else:
        batch = resolved.grid(CIRCLE)
        count = int(_length(batch))
    elements = [map_elem(lambda e, i=i: e[i], batch) for i in range(count)]  # type: ignore[misc]
    identity = resolved.identity()
    kept = [g for g in elements if float(resolved.distance(g, _like(identity, g))) > 1e-6]
    if not kept:
        raise ValueError(f"group: {resolved.name} has no element but the identity; name one that moves the input")
    orbit = Orbit(resolved.name, resolved, action, kept, [str(resolved.label(g)) for g in kept])
    sample = x[:2]
    orbit.move(0, sample)
    orbit.exact = [torch.equal(orbit.there_and_back(i, sample), sample) for i in range(len(orbit))]
    return orbit


def _length(batch: Any) -> int:
    while isinstance(batch, tuple):
        batch = batch[0]
    return len(batch)


def _like(identity: Any, g: Any) -> Any:
    return map_elem(lambda e, h: e.to(h.dtype), identity, g)
