"""A symmetry as a value: `f(g·x) = g·f(x)`, stated once and understood by layers, the checker and the audit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

PERMUTED_AXIS = {"rows": -2, "points": -2, "vectors": -2, "scalars": -2, "sequence": -2, "mask": -1}


@dataclass(frozen=True)
class Case:
    """A small instance of a module with inputs it accepts: what the checker needs to prove its symmetries.

    `tolerance` is the largest relative error in float64 that counts as passing, for modules whose symmetry is
    approximate by construction (resampled images); `None` asks for exactness.
    """

    module: Any
    inputs: tuple[Any, ...]
    name: str = ""
    tolerance: float | None = None

    def __str__(self) -> str:
        return self.name or type(self.module).__name__


@dataclass(frozen=True)
class UserGroup:
    """Stands in for a group that the user only knows how to draw from; it has no composition and no parts."""

    draw: Callable[..., Any]
    name: str = "the given transformations"

    def sample(
        self,
        batch: tuple[int, ...] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
        radius: float | int | None = None,
    ) -> Any:
        if batch:
            raise ValueError(f"batch: {batch} given, but user-written transformations are drawn one at a time; pass ()")
        if generator is None:
            generator = torch.Generator().manual_seed(torch.initial_seed() % 2**63)
        return self.draw(generator, torch.float64 if dtype is None else dtype)

    def __str__(self) -> str:
        return self.name


class Symmetry:
    """`f(g·x) = g·f(x)` for every `g` of a group; invariance is the trivial output action.

    `group` is a string ("SE(3)", "C8", "E(3) x S(n)") or a `Group`. `input` and `output` are types: a short name
    (`points vectors scalars image mask sequence rows graph sphere field rotation invariant`), an irreps string, an
    `Action`, a function `(g, x) -> x`, or a tuple, list or dict of these. A tuple `input` matches the tuple of
    arguments; any other `input` is the type of the single argument.

    Raises ValueError for an unknown group or type, and for a group that cannot act on a type.
    """

    group: Any
    input_action: Any
    output_action: Any

    def __init__(self, group: Any, input: Any = "points", output: Any = "invariant") -> None:
        from erlangen.groups import actions, parse

        self.group = parse(group)
        self.input_type, self.output_type = input, output
        self.input_action = actions.from_type(input, self.group)
        self.output_action = actions.from_type(output, self.group)
        self._user: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    @classmethod
    def from_functions(
        cls,
        sample: Any,
        act_input: Any,
        act_output: Any,
        *,
        name: str = "the given transformations",
    ) -> Symmetry:
        """A symmetry for which no group object exists, from three plain functions.

        `sample(generator, dtype) -> g` draws any object, `act_input(g, args) -> args` moves the tuple of arguments
        and `act_output(g, out) -> out` the output; the model is called as `f(*args)`.
        """
        for argument, function in (("sample", sample), ("act_input", act_input), ("act_output", act_output)):
            if not callable(function):
                raise TypeError(f"{argument}: a function is needed, got {type(function).__name__}")
        self = cls.__new__(cls)
        self.group = UserGroup(sample, name)
        self.input_type, self.output_type = act_input, act_output
        self.input_action, self.output_action = act_input, act_output
        self._user = (act_input, act_output)
        return self

    @property
    def is_user_written(self) -> bool:
        return self._user is not None

    @property
    def takes_many(self) -> bool:
        """Whether the input type describes the tuple of arguments (rather than the one argument)."""
        return isinstance(self.input_type, tuple)

    def resolved(self, args: tuple[Any, ...]) -> Symmetry:
        """The same symmetry with the size of every `S(n)` read from the arguments."""
        if self.is_user_written or not _unsized(self.group):
            return self
        inputs = args if self.takes_many else args[0]
        size = _find_size(self.input_type, inputs)
        if size is None:
            raise ValueError(
                f"group: the n of {self.group} cannot be read from the inputs under type {self.input_type!r}; "
                "give the size, for example 'S5'"
            )
        group = self.group.infer_size(size) if hasattr(self.group, "infer_size") else self.group.with_size(size)
        return Symmetry(group, self.input_type, self.output_type)

    def act_input(self, g: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """`g·x` on the tuple of arguments."""
        if self._user is not None:
            moved = self._user[0](g, args)
            return moved if isinstance(moved, tuple) else (moved,)
        if self.takes_many:
            if len(args) != len(self.input_type):
                raise ValueError(
                    f"input: {len(self.input_type)} types for {len(args)} arguments; give one type per argument"
                )
            return tuple(self.input_action(g, args))
        if len(args) != 1:
            raise ValueError(
                f"input: one type ({self.input_type!r}) for {len(args)} arguments; give a tuple of {len(args)} types"
            )
        return (self.input_action(g, args[0]),)

    def act_output(self, g: Any, out: Any) -> Any:
        """`g·f(x)` on whatever the model returned."""
        if self._user is not None:
            return self._user[1](g, out)
        return self.output_action(g, out)

    def __str__(self) -> str:
        if self.is_user_written:
            return self.group.name
        return f"{self.group}: {_words(self.input_type)} -> {_words(self.output_type)}"

    def __repr__(self) -> str:
        return f"Symmetry({str(self)!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Symmetry:
        return copy.copy(self)


def _words(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    if isinstance(kind, (tuple, list)):
        return "(" + ", ".join(_words(k) for k in kind) + ")"
    if isinstance(kind, dict):
        return "{" + ", ".join(f"{name}: {_words(k)}" for name, k in kind.items()) + "}"
    return getattr(kind, "__name__", type(kind).__name__)


def _unsized(group: Any) -> bool:
    factors = getattr(group, "factors", None)
    if factors is not None:
        return any(_unsized(f) for f in factors)
    return type(group).__name__ == "Symmetric" and getattr(group, "n", 0) is None


def _find_size(kind: Any, value: Any) -> int | None:
    """The number of things that a permutation in `kind` would permute in `value`."""
    if isinstance(kind, (tuple, list)) and isinstance(value, (tuple, list)):
        pairs = list(zip(kind, value, strict=False))
    elif isinstance(kind, dict) and isinstance(value, dict):
        pairs = [(kind[name], value[name]) for name in kind if name in value]
    else:
        return _leaf_size(kind, value)
    return next((n for n in (_find_size(k, v) for k, v in pairs) if n is not None), None)


def _leaf_size(kind: Any, value: Any) -> int | None:
    if hasattr(value, "num_nodes"):
        return int(value.num_nodes)
    shape = tuple(getattr(value, "shape", ()))
    axes = getattr(kind, "axes", None)
    axis = PERMUTED_AXIS.get(kind) if isinstance(kind, str) else (axes[0] if axes else None)
    if axis is None or len(shape) < abs(axis if axis < 0 else axis + 1):
        return None
    return int(shape[axis])
