"""`check_module` proves what a module declares; `parametrize_with_checks` makes a pytest case of every check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from erlangen.groups.symmetry import Case
from erlangen.testing.named_checks import declared_symmetries, module_checks


def check_module(module: Any, inputs: Any = None) -> list[str]:
    """Run every named check on a module that declares `symmetries`; returns the names of the checks that passed.

    `module` is a `Case`, or a module with `inputs` (or with an attribute `example_inputs`).

    Raises:
        EquivarianceError: the first check that fails.
        ValueError: no symmetries are declared, or there are no inputs.
    """
    passed = []
    for name, run in module_checks(as_case(module, inputs)):
        run()
        passed.append(name)
    return passed


def as_case(module: Any, inputs: Any = None) -> Case:
    """A `Case` from whatever was given. Raises ValueError where there are no inputs to call the module with."""
    if isinstance(module, Case):
        return module
    given = inputs if inputs is not None else getattr(module, "example_inputs", None)
    if given is None:
        raise ValueError(f"inputs: none given for {type(module).__name__}; pass a tuple of arguments or a Case")
    return Case(module, given if isinstance(given, tuple) else (given,))


def parametrize_with_checks(cases: Iterable[Any]) -> Any:
    """A pytest decorator: the test receives `check`, one named check of one case, and calls it.

    `cases` are `Case` objects, or modules with `example_inputs`. A module without symmetries is refused here, at
    collection, so that forgetting the declaration cannot look like passing.
    """
    import pytest

    parameters = []
    for case in map(as_case, cases):
        declared_symmetries(case.module)
        parameters += [pytest.param(run, id=f"{case}-{name}") for name, run in module_checks(case)]
    return pytest.mark.parametrize("check", parameters)
