"""Every registered module proves the symmetries it declares; a module joins by registering, not by writing a test."""

import importlib
import pkgutil

import pytest
import torch

import erlangen.nn
from erlangen._registry import encoders, modules
from erlangen.groups.symmetry import Case
from erlangen.testing import module_checks


def _import_everything() -> None:
    for found in pkgutil.walk_packages(erlangen.nn.__path__, "erlangen.nn."):
        importlib.import_module(found.name)


def _cases() -> list[tuple[str, Case]]:
    _import_everything()
    torch.manual_seed(0)
    entries = [entry for registry in (encoders, modules) for entry in registry]
    return [(f"{entry.name}-{case}", case) for entry in entries if entry.cases is not None for case in entry.cases()]


CASES = [
    (f"{name}-{check}", run)
    for name, case in _cases()
    if getattr(case.module, "symmetries", None)
    for check, run in module_checks(case)
]


@pytest.mark.parametrize("run", [pytest.param(run, id=name) for name, run in CASES])
def test_declared_symmetry(run: object) -> None:
    run()  # type: ignore[operator]


def test_the_registries_are_not_empty() -> None:
    assert CASES, "no registered module declares a symmetry and comes with cases"
