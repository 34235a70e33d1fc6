"""What an action is, and the actions that are built from others."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import Group


class Action(ABC):
    """A left action of a group on data: act(g, act(h, x)) == act(compose(g, h), x).

    One element broadcasts over a batch of data; a batch of elements `g` with `g.shape[:k] == x.shape[:k]` acts
    elementwise.
    """

    group: Group | None = None
    exact: bool = True
    is_trivial: bool = False

    @abstractmethod
    def __call__(self, g: Any, x: Any) -> Any: ...

    def valid_mask(self, g: Any, x: Any) -> Any:
        """Where the result is trustworthy (image borders), or None where all of it is."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.group})"


class Trivial(Action):
    """g · x = x: the action on an invariant."""

    is_trivial = True

    def __init__(self, group: Group | None = None) -> None:
        self.group = group

    def __call__(self, g: Any, x: Any) -> Any:
        return x


class Function(Action):
    """A user's own `(g, x) -> x` as an action."""

    def __init__(self, fn: Callable[[Any, Any], Any], group: Group | None = None, *, exact: bool = True) -> None:
        self.fn = fn
        self.group = group
        self.exact = exact

    def __call__(self, g: Any, x: Any) -> Any:
        return self.fn(g, x)

    def __repr__(self) -> str:
        return f"Function({getattr(self.fn, '__name__', self.fn)})"


class Compose(Action):
    """Several commuting actions of one group on the same data, the last one first: rotate fields, then permute rows."""

    def __init__(self, *actions: Action) -> None:
        if not actions:
            raise ValueError("actions: expected at least one action, given none")
        self.actions = actions
        self.group = actions[0].group
        self.exact = all(a.exact for a in actions)
        self.is_trivial = all(a.is_trivial for a in actions)

    def __call__(self, g: Any, x: Any) -> Any:
        for action in reversed(self.actions):
            x = action(g, x)
        return x

    def valid_mask(self, g: Any, x: Any) -> Any:
        return _both([a.valid_mask(g, x) for a in self.actions])

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.actions))})"


class OnProduct(Action):
    """An action of G1 x G2 x ... from actions of the factors, which have to commute.

    Args:
        group: the product.
        actions: factor number -> action of this factor; a factor that is absent acts trivially.
    """

    def __init__(self, group: Group, actions: Mapping[int, Action]) -> None:
        self.group = group
        self.actions = dict(actions)
        self.exact = all(a.exact for a in self.actions.values())
        self.is_trivial = all(a.is_trivial for a in self.actions.values())

    def __call__(self, g: Any, x: Any) -> Any:
        for i, action in self.actions.items():
            x = action(g[i], x)
        return x

    def valid_mask(self, g: Any, x: Any) -> Any:
        return _both([a.valid_mask(g[i], x) for i, a in self.actions.items()])

    def __repr__(self) -> str:
        return f"OnProduct({self.group}: {', '.join(f'{i}: {a}' for i, a in self.actions.items())})"


class PerLeaf(Action):
    """A tuple, list or dict of types that acts on a tuple, list or dict of data, leaf by leaf.

    Args:
        spec: nested tuples, lists and dicts of anything `from_type` understands.
        group: the group all of them belong to.
    """

    def __init__(self, spec: tuple[Any, ...] | list[Any] | Mapping[str, Any], group: Group) -> None:
        from erlangen.groups.actions.types import from_type

        self.group = group
        self.spec: Any
        if isinstance(spec, Mapping):
            self.spec = {key: from_type(value, group) for key, value in spec.items()}
        else:
            self.spec = tuple(from_type(value, group) for value in spec)

    @property
    def leaves(self) -> list[Action]:
        return list(self.spec.values()) if isinstance(self.spec, dict) else list(self.spec)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return all(a.exact for a in self.leaves)

    @property
    def is_trivial(self) -> bool:  # type: ignore[override]
        return all(a.is_trivial for a in self.leaves)

    def __call__(self, g: Any, x: Any) -> Any:
        return self._map(lambda action, leaf: action(g, leaf), x)

    def valid_mask(self, g: Any, x: Any) -> Any:
        masks = self._map(lambda action, leaf: action.valid_mask(g, leaf), x)
        found = masks.values() if isinstance(masks, dict) else masks
        return masks if any(m is not None for m in found) else None

    def _map(self, function: Callable[[Action, Any], Any], x: Any) -> Any:
        if isinstance(self.spec, dict):
            if not isinstance(x, Mapping) or set(x) != set(self.spec):
                given = sorted(x) if isinstance(x, Mapping) else type(x).__name__
                raise ValueError(f"x: expected a dict with keys {sorted(self.spec)}, given {given}")
            return {key: function(action, x[key]) for key, action in self.spec.items()}
        if not isinstance(x, (tuple, list)) or len(x) != len(self.spec):
            given = f"{len(x)} entries" if isinstance(x, (tuple, list)) else type(x).__name__
            raise ValueError(f"x: expected {len(self.spec)} entries for {self.spec}, given {given}")
        moved = [function(action, leaf) for action, leaf in zip(self.spec, x, strict=True)]
        if isinstance(x, list):
            return moved
        return type(x)(*moved) if hasattr(x, "_fields") else tuple(moved)

    def __repr__(self) -> str:
        return f"PerLeaf({self.spec})"


def _both(masks: list[Any]) -> Any:
    found = [m for m in masks if m is not None]
    if not found:
        return None
    out = found[0]
    for m in found[1:]:
        out = out & m
    return out


def lead_shape(batch: tuple[int, ...], x: Tensor, event: int, what: str) -> tuple[int, ...]:
    """The batch shape of the elements with ones inserted so that it lines up with the front of `x`.

    Raises:
        ValueError: `x` does not start with the elements' batch dimensions.
    """
    room = x.ndim - event
    fits = len(batch) <= room and all(b in (1, s) or s == 1 for b, s in zip(batch, x.shape, strict=False))
    if not fits:
        raise ValueError(
            f"x: {what} has shape {tuple(x.shape)}, which does not start with the batch {tuple(batch)} of elements"
        )
    return (*batch, *([1] * (room - len(batch))))


def require_float(x: Tensor, what: str) -> None:
    if not torch.is_floating_point(x) and not torch.is_complex(x):
        raise TypeError(f"x: {what} needs floating-point data, given {x.dtype}")
