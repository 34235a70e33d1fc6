"""The objectives by name: importing this module registers every one that ships."""

from typing import Any

from erlangen._registry import objectives
from erlangen.objectives import group_prediction, supervised, vicreg

SHIPPED = (supervised, vicreg, group_prediction)


def build(name: str, **arguments: Any) -> Any:
    """A new objective by name; `arguments` go to its constructor."""
    return objectives.build(name, **arguments)


def get(name: str) -> Any:
    """The class behind a name."""
    return objectives.get(name)


def names() -> list[str]:
    """The names of all objectives, a user's own included."""
    return objectives.names()


register = objectives.register
