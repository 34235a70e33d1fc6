"""A recipe: one published system, what it claims, and the run that measures it."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from erlangen._registry import recipes
from erlangen.recipes.claim import Claim

Budget = Literal["smoke", "laptop", "full"]
Measure = Callable[[Budget, int], dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """`measure(budget, seed)` returns named numbers for one seed; `claims` are inequalities between them."""

    name: str
    title: str
    source: str
    claims: tuple[Claim, ...]
    measure: Measure
    seeds: dict[str, int]
    uses: tuple[str, ...]
    explanation: str = ""

    def code_hash(self) -> str:
        """Changes when the recipe's file or a module it names in `uses` changes: stored results are then stale.

        A recipe's `title` and `explanation` are left out: words may be mended without measuring again.
        """
        digest = hashlib.sha256(_without_words(Path(inspect.getfile(self.measure)).read_bytes()))
        for module in self.uses:
            digest.update(_without_words(Path(inspect.getfile(importlib.import_module(module))).read_bytes()))
        return digest.hexdigest()[:16]


WORDS = ("title", "explanation")


def _without_words(source: bytes) -> bytes:
    """The source without the arguments of `@recipe(...)` that decide nothing, where they are plain strings.

    The text is cut and not dumped from its tree: dumps differ between versions of Python.
    """
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    cuts = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "recipe":
            for word in node.keywords:
                if word.arg in WORDS and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str):
                    end = word.end_lineno, word.end_col_offset
                    assert end[0] is not None and end[1] is not None
                    cuts.append((starts[word.lineno - 1] + word.col_offset, starts[end[0] - 1] + end[1]))
    for start, stop in sorted(cuts, reverse=True):
        source = source[:start].rstrip() + source[stop:].removeprefix(b",")
    return source


def recipe(
    name: str,
    *,
    title: str,
    source: str,
    claims: Sequence[Claim],
    uses: Sequence[str],
    laptop_seeds: int = 5,
    explanation: str = "",
) -> Callable[[Measure], Recipe]:
    """Decorator for the measuring function.

    `uses` names the modules whose code the claim is about; stored results are stale when one of them changes.
    `explanation` says why a claim may fail at this size; it decides nothing.
    """

    def decorate(measure: Measure) -> Recipe:
        made = Recipe(
            name,
            title,
            source,
            tuple(claims),
            measure,
            {"smoke": 1, "laptop": laptop_seeds, "full": 2 * laptop_seeds},
            tuple(uses),
            explanation,
        )
        recipes.register(name, summary=title, paper=source)(made)
        return made

    return decorate
