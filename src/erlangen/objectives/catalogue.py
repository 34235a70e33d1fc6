"""The objectives by name: importing this module registers every one that ships."""

import importlib
from typing import Any

from erlangen._registry import objectives

SHIPPED = (
    "bias_contrast",
    "generalized_cross_entropy",
    "learning_from_failure",
    "group_dro",
    "deep_hash",
    "guidance",
    "distillation",
    "sie",
    "supervised",
    "vicreg",
    "matryoshka",
    "higher_order_compatibility",
    "equiangular",
    "group_prediction",
    "ntxent",
    "obow",
    "triplet",
)
for _name in SHIPPED:
    importlib.import_module(f"erlangen.objectives.{_name}")


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
