"""Parsers made from signatures, so that an option exists once: as an argument of the function or class it sets."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace


def parser_for(command: str, function: Callable[..., Any], *, config: bool = False) -> ArgumentParser:
    """A parser whose options are the arguments of `function`; required ones are positional.

    With `config`, `--config file.yaml` holds the same options and `--print_config` writes them out.
    """
    parser = ArgumentParser(
        prog=f"erlangen {command}",
        description=(function.__doc__ or "").split("\n\n")[0],
        exit_on_error=False,
        default_meta=False,
    )
    if config:
        parser.add_argument("--config", action=ActionConfigFile, help="a YAML file with any of these options")
    parser.add_function_arguments(function, as_positional=True, fail_untyped=False)
    return parser


def call(parser: ArgumentParser, function: Callable[..., int], argv: list[str]) -> int:
    """Parse and call `function` with what was parsed."""
    return function(**plain(parser.parse_args(as_typed(argv, switches(function)))))


def switches(function: Callable[..., Any]) -> set[str]:
    """The arguments of `function` that are true or false."""
    return {name for name, p in inspect.signature(function).parameters.items() if p.annotation in (bool, "bool")}


def as_typed(argv: list[str], flags: set[str]) -> list[str]:
    """`--image-size` is `--image_size`, and a switch alone means true."""
    words = []
    for position, word in enumerate(argv):
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            option = "--" + option[2:].replace("-", "_")
            following = argv[position + 1].lower() if position + 1 < len(argv) else ""
            if option[2:] in flags and not equals and following not in ("true", "false"):
                equals, value = "=", "true"
            word = option + equals + value
        words.append(word)
    return words


def plain(namespace: Namespace) -> dict[str, Any]:
    """The parsed options as a dictionary, without the parser's own keys."""
    given = namespace.as_dict()
    given.pop("config", None)
    return given


def value_of(argv: list[str], option: str, config_files: bool = True) -> str | None:
    """The value of `--option` in `argv` or, failing that, in a `--config` file: for options that shape the parser."""
    flag = f"--{option}"
    for position, word in enumerate(argv):
        if word == flag and position + 1 < len(argv):
            return argv[position + 1]
        if word.startswith(flag + "="):
            return word.split("=", 1)[1]
    path = value_of(argv, "config", config_files=False) if config_files else None
    if path is None:
        return None
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except yaml.YAMLError as error:
        raise ValueError(f"--config: {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"--config: {path} must hold options by name, it holds {type(content).__name__}")
    found = content.get(option)
    return None if found is None else str(found)


def progress_allowed(quiet: bool) -> bool:
    """Progress bars go to standard error, and only where a person watches."""
    return not quiet and sys.stderr.isatty()
