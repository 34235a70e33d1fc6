"""Every registered module proves the symmetries it declares; a module joins by registering, not by writing a test."""

import importlib
import pkgutil

import pytest
import torch

import erlangen.nn
from erlangen._registry import Entry, encoders, modules
from erlangen.groups.symmetry import Case, Symmetry
from erlangen.testing import module_checks


def _import_everything() -> None:
    for found in pkgutil.walk_packages(erlangen.nn.__path__, "erlangen.nn."):
        importlib.import_module(found.name)


def _entries() -> list[Entry]:
    _import_everything()
    return [entry for registry in (encoders, modules) for entry in registry]


def _build_cases(entry: Entry) -> list[Case]:
    """The cases of one entry, the same whatever was registered or drawn before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return entry.cases() if entry.cases is not None else []


CASES = [
    (f"{entry.name}-{case}-{check}", run)
    for entry in _entries()
    for case in _build_cases(entry)
    if getattr(case.module, "symmetries", None)
    for check, run in module_checks(case)
]


@pytest.mark.parametrize("run", [pytest.param(run, id=name) for name, run in CASES])
def test_declared_symmetry(run: object) -> None:
    run()  # type: ignore[operator]


def test_the_registries_are_not_empty() -> None:
    assert CASES, "no registered module declares a symmetry and comes with cases"


def _unproved(entry: Entry) -> str:
    """Why an entry breaks the rule that every promise comes with cases; empty where it keeps it."""
    if entry.cases is not None:
        return "" if _build_cases(entry) else f"{entry.name}: its cases are empty"
    try:
        promised = entry.obj().symmetries
    except Exception as error:  # without cases the defaults must be enough to ask
        return f"{entry.name}: no cases, and built with its defaults it does not say what it promises: {error}"
    return f"{entry.name}: declares {len(promised)} symmetries and brings no cases" if promised else ""


@pytest.mark.parametrize("entry", _entries(), ids=lambda entry: entry.name)
def test_a_module_without_cases_promises_nothing(entry: Entry) -> None:
    assert not _unproved(entry)


def test_a_promise_without_cases_is_noticed() -> None:
    class Promising(torch.nn.Module):
        symmetries = (Symmetry("C4", input="image", output="image"),)

    class Silent(torch.nn.Module):
        pass

    for promise, words in ((Promising, "brings no cases"), (Silent, "does not say")):
        assert words in _unproved(Entry("x", promise, "user", ""))
