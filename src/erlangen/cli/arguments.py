"""Parsers made from signatures, so that an option exists once: as an argument of the function or class it sets."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace


def make_parser(command: str, description: str) -> ArgumentParser:
    """A parser that raises where others print their usage and exit."""
    return ArgumentParser(prog=f"erlangen {command}", description=description, exit_on_error=False, default_meta=False)


def parser_for(command: str, function: Callable[..., Any]) -> ArgumentParser:
    """A parser whose options are the arguments of `function`.

    Arguments before the `*` are positional, those behind it are options, and a switch is `False` by default.
    """
    parser = make_parser(command, inspect.cleandoc(function.__doc__ or "").split("\n\n")[0])
    add_options(parser, function)
    return parser


def add_options(
    parser: Any,
    function: Callable[..., Any],
    *,
    skip: Iterable[str] = (),
    prefix: str = "",
    words: Mapping[str, str] | None = None,
    fallback: Mapping[str, str] | None = None,
    options_only: bool = False,
) -> None:
    """Give `parser` an option for every argument of a function or class, with the words of its docstring.

    `words` are said instead of the docstring's, `fallback` where the docstring is silent. A type that cannot be
    written on a command line is left out where the argument has a default.
    """
    target = function.__init__ if inspect.isclass(function) else function  # type: ignore[misc]
    hints = typing.get_type_hints(target)
    documented = {
        **(fallback or {}),
        **documented_arguments(target.__doc__),
        **documented_arguments(function.__doc__),
        **(words or {}),
    }
    for parameter in inspect.signature(function).parameters.values():
        name, default = parameter.name, parameter.default
        if name in set(skip) or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = hints.get(name, Any)
        facts: dict[str, Any] = {"help": documented.get(name) or f"of {function.__name__}."}
        required = default is inspect.Parameter.empty
        if parameter.kind is not parameter.KEYWORD_ONLY and not options_only:
            facts |= {} if required else {"nargs": "?", "default": default}
            parser.add_argument(name, type=kind, **facts)
        elif kind is bool and default is False:
            parser.add_argument(f"--{prefix}{name}", action="store_true", **facts)
        else:
            facts |= {"required": True} if required else {"default": default}
            try:
                parser.add_argument(f"--{prefix}{name}", type=kind, **facts)
            except ValueError:
                if required:
                    raise


def documented_arguments(docstring: str | None) -> dict[str, str]:
    """The words of a docstring on each argument; `a, b: words` speaks of both."""
    from docstring_parser import parse

    found = {}
    for entry in parse(inspect.cleandoc(docstring or "")).params:
        for name in re.split(r",\s*", entry.arg_name):
            found[name] = " ".join((entry.description or "").split())
    return found


def parse(parser: ArgumentParser, argv: list[str]) -> dict[str, Any]:
    """The options in `argv`, by name; what cannot be parsed is a one-line `ValueError`."""
    from argparse import ArgumentError

    try:
        return plain(parser.parse_args(as_typed(argv)))
    except ArgumentError as error:
        raise ValueError(in_one_line(str(error.message), parser)) from None


def in_one_line(message: str, parser: ArgumentParser) -> str:
    """A parser's complaint in the words of the command line."""
    text = " ".join(message.split())
    missing = re.search(r'Key "([\w.]+)" is required', text) or re.search(r'Option "([\w.]+)" is required', text)
    if missing:
        return f"{missing[1]}: needed; {parser.prog} --help shows how"
    listed = re.search(r"the following arguments are required: (.*)", text)
    if listed:
        return f"{listed[1]}: needed; {parser.prog} --help shows how"
    unknown = re.search(r"[Uu]nrecognized arguments: (.*)", text)
    if unknown:
        return _unknown_option(unknown[1], parser)
    key = re.search(r"""(?:Key|Option|Keys?|key) ['"]([\w.]+)['"] is not (?:expected|accepted)""", text)
    if key:
        return _unknown_option(f"--{key[1]}", parser)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    choice = re.search(
        r"""^(?:Parser key )?["']?([\w.]+)["']?:.*typing\.Literal\[([^\]]*)\].*(?:Got|Given) value:(.*)""", text
    )
    if choice:
        allowed = choice[2].replace("'", "")
        return f"--{choice[1]}: unknown {choice[3].strip()!r}; allowed: {allowed}"
    text = re.sub(r'^(?:Problem with given config file|Parser key) ["\']([^"\']+)["\']:', r"\1:", text)
    return f"{text}; {parser.prog} --help shows what is allowed" if len(text) < 400 else text[:400] + " ..."


def _unknown_option(given: str, parser: ArgumentParser) -> str:
    from erlangen._registry import nearest

    options = [o for action in parser._actions for o in action.option_strings if o.startswith("--")]
    first = given.split()[0].split("=")[0]
    close = nearest(first, options)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{first}: unknown{hint} {parser.prog} --help shows what there is"


def call(parser: ArgumentParser, function: Callable[..., int], argv: list[str]) -> int:
    """Parse and call `function` with what was parsed."""
    given = parse(parser, argv)
    parameters = inspect.signature(function).parameters.values()
    first = [given.pop(p.name) for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return function(*first, **given)


def as_typed(argv: list[str]) -> list[str]:
    """`--image-size` is `--image_size`."""
    words = []
    for word in argv:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            word = "--" + option[2:].replace("-", "_") + equals + value
        words.append(word)
    return words


def plain(namespace: Namespace) -> dict[str, Any]:
    """The parsed options as a dictionary, without the parser's own keys."""
    given = namespace.as_dict()
    given.pop("config", None)
    return given


def value_of(argv: list[str], option: str, content: Mapping[str, Any]) -> str | None:
    """The value of `--option` in `argv` or, failing that, in a configuration: for options that shape the parser."""
    found: str | None = None
    for position, word in enumerate(argv):
        if word == f"--{option}" and position + 1 < len(argv):
            found = argv[position + 1]
        elif word.startswith(f"--{option}="):
            found = word.split("=", 1)[1]
    if found is not None:
        return found
    return None if content.get(option) is None else str(content[option])


def read_config(argv: list[str]) -> dict[str, Any]:
    """The content of the `--config` file in `argv`; nothing where there is none."""
    path = value_of(argv, "config", {})
    if path is None:
        return {}
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise ValueError(f"--config: cannot read {path} ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"--config: {path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"--config: {path} must hold options by name, it holds {type(content).__name__}")
    return content


def progress_allowed(quiet: bool) -> bool:
    """Progress bars go to standard error, and only where a person watches."""
    return not quiet and sys.stderr.isatty()
