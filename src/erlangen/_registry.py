"""One way to find a class by name: encoders, objectives, probes and recipes each have a `Registry`."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


def nearest(name: str, allowed: list[str], count: int = 3) -> list[str]:
    """The names in `allowed` that look most like `name`, best first."""
    close = difflib.get_close_matches(name.lower(), [a.lower() for a in allowed], n=count, cutoff=0.3)
    by_lower = {a.lower(): a for a in allowed}
    return [by_lower[c] for c in close]


def unknown_name(argument: str, given: object, allowed: list[str]) -> ValueError:
    """The error for a name nobody knows: it names the argument, what came, the nearest names and all of them."""
    close = nearest(str(given), allowed)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return ValueError(f"{argument}: unknown {given!r}{hint} Known: {', '.join(sorted(allowed))}")


@dataclass(frozen=True)
class Entry:
    """What a registry knows of one name."""

    name: str
    obj: Any
    room: str
    summary: str
    paper: str | None = None
    cases: Callable[[], list[Any]] | None = None
    tags: dict[str, Any] = field(default_factory=dict)


class Registry:
    """Names -> constructors, filled by a decorator.

    A registered class remembers the arguments it was built with in `init_arguments`, so that a checkpoint can rebuild
    it from JSON; only registered names are ever rebuilt, so that a checkpoint cannot run code of its own.
    """

    def __init__(self, kind: str, catalogue: str | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        self._catalogue = catalogue

    def _fill(self) -> None:
        """Import, once and on the first question, the module whose imports register everything that ships."""
        if self._catalogue is not None:
            catalogue, self._catalogue = self._catalogue, None
            importlib.import_module(catalogue)

    def register(
        self,
        name: str,
        *,
        summary: str = "",
        paper: str | None = None,
        cases: Callable[[], list[Any]] | None = None,
        **tags: Any,
    ) -> Callable[[T], T]:
        """Decorator that adds a class or function under `name`; `cases` builds small instances for the checker."""

        def decorate(obj: T) -> T:
            if name in self._entries and self._entries[name].obj is not obj:
                old = self._entries[name].obj
                same = (getattr(old, "__module__", 0), getattr(old, "__qualname__", 0)) == (
                    getattr(obj, "__module__", 1),
                    getattr(obj, "__qualname__", 1),
                )
                if not same:  # the same definition executed twice (a reloaded module) simply replaces itself
                    raise ValueError(f"name: {name!r} is already registered as one of the {self.kind}; choose another")
            doc = summary or (inspect.getdoc(obj) or "").split("\n")[0]
            module = getattr(obj, "__module__", "")
            room = ".".join(module.split(".")[1:3]) if module.startswith("erlangen.") else "user"
            self._entries[name] = Entry(name, obj, room, doc, paper, cases, tags)
            if inspect.isclass(obj):
                _remember_init(obj)
                obj.registered_name = name  # type: ignore[attr-defined]
            return obj

        return decorate

    def entry(self, name: str) -> Entry:
        self._fill()
        if name not in self._entries:
            raise unknown_name(self.kind.rstrip("s"), name, self.names())
        return self._entries[name]

    def get(self, name: str) -> Any:
        return self.entry(name).obj

    def build(self, name: str, **arguments: Any) -> Any:
        return self.get(name)(**arguments)

    def names(self) -> list[str]:
        self._fill()
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter([self._entries[n] for n in self.names()])

    def __len__(self) -> int:
        self._fill()
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self.names())})"


def _remember_init(cls: type) -> None:
    """Wrap `cls.__init__` so that the outermost call stores its arguments, by name, in `self.init_arguments`."""
    original = cls.__init__  # type: ignore[misc]
    if getattr(original, "_remembers", False) and "__init__" in vars(cls):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        outermost = "init_arguments" not in vars(self)
        if outermost:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = dict(list(bound.arguments.items())[1:])
            for parameter in signature.parameters.values():
                if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                    given.update(given.pop(parameter.name, {}))
            object.__setattr__(self, "init_arguments", given)
        original(self, *args, **kwargs)

    init._remembers = True  # type: ignore[attr-defined]
    cls.__init__ = init  # type: ignore[misc]


encoders = Registry("encoders", "erlangen.nn.catalogue")
modules = Registry("modules", "erlangen.nn.catalogue")
objectives = Registry("objectives", "erlangen.objectives.catalogue")
probes = Registry("probes", "erlangen.audit.catalogue")
recipes = Registry("recipes", "erlangen.recipes.catalogue")
REGISTRIES = {r.kind: r for r in (encoders, modules, objectives, probes, recipes)}
