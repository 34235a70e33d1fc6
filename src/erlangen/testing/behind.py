"""What stands behind a callable: the modules it uses, and a private copy that shares nothing with it."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

DEPTH = 6


def modules_behind(model: Any) -> list[nn.Module]:
    """The modules that a callable uses: itself, its owner, its closure, its globals by name, its partial arguments.

    Functions that it calls by a name of its own module, and plain objects with modules as attributes, are followed.
    """
    found: list[nn.Module] = []
    _collect(model, found, set(), DEPTH, getattr(_plain(model), "__module__", None))
    return found


def _plain(model: Any) -> Any:
    while isinstance(model, functools.partial):
        model = model.func
    return model


def _collect(value: Any, found: list[nn.Module], seen: set[int], depth: int, home: str | None) -> None:
    if depth < 0 or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        if not any(value is m for root in found for m in root.modules()):
            found.append(value)
        return
    for part in _parts(value, home):
        _collect(part, found, seen, depth - 1, home)


def _parts(value: Any, home: str | None) -> Iterator[Any]:
    """What a callable or a container leads to."""
    if isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, types.MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, types.FunctionType):
        yield from _cells(value)
        yield from (v for v in _globals_used(value).values() if _is_followed(v, home))
        yield from value.__defaults__ or ()
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
    elif _is_object(value):
        yield from vars(value).values()


def _cells(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that has no value yet
            continue


def _globals_used(function: types.FunctionType) -> dict[str, Any]:
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return {n: function.__globals__[n] for n in sorted(names) if n in function.__globals__}


def _is_followed(value: Any, home: str | None) -> bool:
    """Globals: modules, objects that hold some, and functions written in the same file."""
    if isinstance(value, (types.FunctionType, type)):
        return getattr(value, "__module__", None) == home and not isinstance(value, type)
    return isinstance(value, (nn.Module, functools.partial, types.MethodType, list, tuple, dict)) or _is_object(value)


def _is_object(value: Any) -> bool:
    """A plain object of a user's or a library's class, whose attributes may be modules."""
    if isinstance(value, (Tensor, np.ndarray, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)):
        return False
    return hasattr(value, "__dict__")


def private_copy(model: Any) -> Any:
    """A copy of the model that shares nothing with it; raises what `copy.deepcopy` raises where none can be made."""
    return _own(model, {}, DEPTH, getattr(_plain(model), "__module__", None), required=True)


def _own(value: Any, memo: dict[Any, Any], depth: int, home: str | None, *, required: bool = False) -> Any:
    if id(value) in memo:
        return memo[id(value)]
    if depth < 0:
        return value
    if isinstance(value, functools.partial):
        func = _own(value.func, memo, depth - 1, home, required=required)
        args = [_own(a, memo, depth - 1, home) for a in value.args]
        clone: Any = functools.partial(
            func, *args, **{k: _own(v, memo, depth - 1, home) for k, v in value.keywords.items()}
        )
    elif isinstance(value, types.MethodType):
        function = _own(value.__func__, memo, depth - 1, home)
        clone = types.MethodType(function, _own(value.__self__, memo, depth - 1, home, required=required))
    elif isinstance(value, types.FunctionType):
        return _own_function(value, memo, depth, home)
    elif isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType)):
        return value
    elif isinstance(value, (nn.Module, Tensor, np.ndarray)) or required:
        clone = copy.deepcopy(value, memo)
    elif isinstance(value, (list, dict)) or _is_object(value):
        try:
            clone = copy.deepcopy(value, memo)
        except Exception:  # a handle to the outside (a file, a lock): shared as it is
            return value
    elif isinstance(value, tuple) and type(value) is tuple:
        clone = tuple(_own(v, memo, depth - 1, home) for v in value)
    else:
        return value
    memo[id(value)] = clone
    return clone


def _own_function(function: types.FunctionType, memo: dict[Any, Any], depth: int, home: str | None) -> Any:
    """A function with cells and globals of its own, so that neither its modules nor its counters are shared."""
    mine = getattr(function, "__module__", None) == home
    if not mine and not function.__closure__:
        return function
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    scope = dict(function.__globals__) if mine else function.__globals__
    clone = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, cells if cells else None
    )
    clone.__kwdefaults__ = function.__kwdefaults__
    clone.__module__, clone.__qualname__, clone.__doc__ = function.__module__, function.__qualname__, function.__doc__
    clone.__dict__.update(function.__dict__)
    memo[id(function)] = clone  # before its parts: a function may hold itself
    for new, old in zip(cells, function.__closure__ or (), strict=True):
        try:
            content = old.cell_contents
        except ValueError:
            continue
        new.cell_contents = _own(content, memo, depth - 1, home)
    if mine:
        for name, value in _globals_used(function).items():
            if _is_followed(value, home) or isinstance(value, (Tensor, np.ndarray)):
                scope[name] = _own(value, memo, depth - 1, home)
    return clone


def wanted(model: Any) -> Callable[..., Any]:
    """The function behind a compiled model: the eager one, which computes the same and needs no compiler."""
    for name in ("_orig_mod", "_torchdynamo_orig_callable"):
        eager = getattr(model, name, None)
        if callable(eager):
            return wanted(eager)  # type: ignore[no-any-return]
    return model  # type: ignore[no-any-return]
