"""The built-in probes, a file each; `erlangen.audit.probes` answers as the registry of all probes."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from erlangen._registry import Entry
from erlangen._registry import probes as _registry


class _Probes(ModuleType):
    """The name is both this package and the registry, whichever was imported first."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_registry, name)

    def __contains__(self, name: object) -> bool:
        return name in _registry

    def __iter__(self) -> Iterator[Entry]:
        return iter(_registry)

    def __len__(self) -> int:
        return len(_registry)


sys.modules[__name__].__class__ = _Probes
