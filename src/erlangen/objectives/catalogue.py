"""The objectives by name."""

import importlib
from typing import Any

from erlangen._registry import objectives

_BUILT_IN = ("supervised", "vicreg", "group_prediction")


def _import_built_in() -> None:
    for module in _BUILT_IN:
        importlib.import_module(f"erlangen.objectives.{module}")


def build(name: str, **arguments: Any) -> Any:
    """A new objective by name; `arguments` go to its constructor."""
    _import_built_in()
    return objectives.build(name, **arguments)


def get(name: str) -> Any:
    """The class behind a name."""
    _import_built_in()
    return objectives.get(name)


def names() -> list[str]:
    """The names of all objectives, a user's own included."""
    _import_built_in()
    return objectives.names()


register = objectives.register
