"""From what a user types to a model: a run's folder, `pkg.module:factory`, or `file.py:factory`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any


def is_run(target: str) -> bool:
    return Path(target).is_dir()


def locate_object(target: str, argument: str) -> Any:
    """The object behind `module:name` or `path/to/file.py:name`; the user's own code is imported, as asked."""
    module_name, colon, attribute = target.rpartition(":")
    if not colon or not attribute or not module_name:
        kind = "there is no such folder" if "/" in target or Path(target).suffix == "" else "no object is named"
        raise ValueError(
            f"{argument}: {target!r}: {kind}; give a run's folder, pkg.module:factory, or file.py:factory (a colon "
            "before the name)"
        )
    module = import_module(module_name, argument)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = ", ".join(n for n in vars(module) if not n.startswith("_"))[:300]
            raise ValueError(f"{argument}: {module_name} has no {part!r}; it has: {public}")
        found = getattr(found, part)
    return found


def locate_model(target: str, argument: str) -> Any:
    """A model: an `nn.Module`, a class or factory that makes one without arguments, or any callable."""
    import inspect

    from torch import nn

    found = locate_object(target, argument)
    if isinstance(found, nn.Module) or not callable(found):
        if not callable(found):
            raise TypeError(f"{argument}: {target} is a {type(found).__name__}; a model or a callable is needed")
        return found
    required = [
        p
        for p in inspect.signature(found).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if inspect.isclass(found) and required:
        names = ", ".join(p.name for p in required)
        raise TypeError(f"{argument}: {target} needs arguments ({names}); name a factory without arguments instead")
    return found if required else found()


def import_module(name: str, argument: str) -> Any:
    """The module behind a dotted name or the path of a .py file."""
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise ValueError(f"{argument}: there is no file {name}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)
        sys.path.insert(0, str(path.parent.resolve()))
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ValueError(f"{argument}: {name} fails when it is run: {type(error).__name__}: {error}") from error
        return module
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:
        words = " ".join(str(error).split())
        raise ValueError(f"{argument}: cannot import {name!r} ({type(error).__name__}: {words})") from error
