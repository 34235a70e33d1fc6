"""`erlangen check TARGET`: the verdict on a run, or on any model the user names."""

from __future__ import annotations

import math
from typing import Any

from erlangen.cli.arguments import call, parser_for
from erlangen.cli.locate import is_run, locate_model, locate_object
from erlangen.cli.output import print_json, print_line

LARGEST_INPUT = 2**28
DEFAULT_SHAPES = {
    "image": (2, 1, 28, 28),
    "points": (2, 16, 3),
    "vectors": (2, 16, 3),
    "scalars": (2, 16, 4),
    "rows": (2, 8, 5),
    "sequence": (2, 3, 32),
    "rotation": (2, 3, 3),
}


def check(
    target: str,
    *,
    group: str | None = None,
    input: str | None = None,
    output: str = "invariant",
    shape: str | None = None,
    inputs: str | None = None,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Does this model respect this symmetry? Exit code 1 when it is broken or vacuous.

    Args:
        target: A run's folder, `pkg.module:factory`, or `file.py:factory`.
        group: The group, such as `C8`, `SE(3)`, `E(3) x S(n)`; left out, the symmetries that the model declares.
        input: The input's type, such as `image` or `points`; several arguments are separated by commas.
        output: The output's type; `invariant` unless given.
        shape: Shapes of random inputs, such as `2,1,28,28`; several arguments are separated by semicolons.
        inputs: `module:name` or `file.py:name` of a tensor, a tuple of them, or a function that makes one.
        json: Print the verdict as JSON.
        quiet: Print the verdict alone.
        seed: Of the random inputs and group elements.
    """
    from erlangen import Symmetry, testing

    model, declared, sample_shape = _model(target)
    symmetries = declared if group is None else [Symmetry(group, input=_types(input or "image"), output=_types(output))]
    if not symmetries:
        raise ValueError(
            f"--group: {target} declares no symmetries of its own; name one, such as --group C8 --input image"
        )
    arguments = _inputs(inputs, shape, _types(input or "image"), sample_shape, seed)
    results = [testing.check(model, symmetry, arguments, seed=seed) for symmetry in symmetries]
    if json:
        print_json([result.to_dict() for result in results])
    else:
        for result in results:
            print_line(result.verdict if quiet else str(result))
    return int(any(result.verdict in ("broken", "vacuous") for result in results))


def _made(target: str) -> Any:
    """The user's model; whatever the user's own code does wrong becomes one line."""
    try:
        model = locate_model(target, "target")
    except (ValueError, TypeError) as error:
        words = " ".join(str(error).split())
        raise ValueError(words if words.startswith("target") else f"target: {target} raised {words}") from error
    except SystemExit as error:
        raise ValueError(f"target: {target} called sys.exit({error.code}) instead of making a model") from error
    except Exception as error:
        words = " ".join(str(error).split())
        raise ValueError(f"target: {target} raised {type(error).__name__}: {words}") from error
    if not callable(model):
        raise ValueError(f"target: {target} returned a {type(model).__name__}; a model or a callable is needed")
    return model


def _model(target: str) -> tuple[Any, list[Any], tuple[int, ...] | None]:
    if not target.strip():
        raise ValueError("target: empty; give a run's folder, pkg.module:factory, or file.py:factory")
    if is_run(target):
        from erlangen import Symmetry, train

        fitted = train.load(target)
        shape = fitted.config.get("data", {}).get("sample_shape")
        declared = list(getattr(fitted.encoder, "symmetries", []) or [])
        group = fitted.config.get("fit", {}).get("symmetry")
        if not declared and group is not None:
            declared = [Symmetry(group, input="image", output="invariant")]
        return fitted.encoder, declared, tuple(shape) if shape else None
    model = _made(target)
    return model, list(getattr(model, "symmetries", []) or []), None


def _types(text: str) -> Any:
    parts = [part.strip() for part in text.split(",")]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _inputs(named: str | None, shape: str | None, types: Any, sample_shape: tuple[int, ...] | None, seed: int) -> Any:
    import torch

    if named is not None:
        found = locate_object(named, "--inputs")
        return found() if callable(found) else found
    generator = torch.Generator().manual_seed(seed)
    listed = types if isinstance(types, tuple) else (types,)
    if shape is not None:
        shapes = [_shape(part) for part in shape.split(";")]
    elif sample_shape is not None:
        shapes = [(2, *sample_shape)]
    else:
        unknown = [t for t in listed if t not in DEFAULT_SHAPES]
        if unknown:
            raise ValueError(f"--shape: needed for inputs of type {', '.join(map(repr, unknown))}, such as --shape 4,9")
        shapes = [DEFAULT_SHAPES[t] for t in listed]
    numbers = sum(math.prod(s) for s in shapes)
    if numbers > LARGEST_INPUT:
        raise ValueError(f"--shape: {numbers:.0e} numbers are asked for; at most {LARGEST_INPUT:.0e} are drawn")
    drawn = tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return drawn if len(drawn) > 1 else drawn[0]


def _shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--shape: {text!r} is not a list of sizes; write it as 2,1,28,28") from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"--shape: {text!r} has a negative size")
    return sizes


def run(argv: list[str]) -> int:
    return call(parser_for("check", check), check, argv)
