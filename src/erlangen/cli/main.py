"""Dispatch to one command, and turn errors into one line and an exit code.

Exit codes: 0 fine, 1 a finding (a broken symmetry, a failed verdict), 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from erlangen._registry import unknown_name

COMMANDS = {
    "demo": "the whole line on real digits: fit, check, audit, index, report",
    "fit": "learn a representation of your data",
    "check": "does this model respect this symmetry? the verdict",
    "audit": "look at a model on a data set and write the report",
    "embed": "vectors of a data set under a run's encoder",
    "index": "build, add to, search, or describe an index of vectors",
    "list": "the encoders, objectives, probes and recipes there are",
    "reproduce": "re-measure the claims of recipes",
    "bench": "our speed beside the peers'",
}

EXPECTED = (ValueError, TypeError, OSError, LookupError, ImportError, FloatingPointError, argparse.ArgumentError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        return _dispatch(arguments)
    except SystemExit as stop:  # argparse's own --help and usage errors
        return stop.code if isinstance(stop.code, int) else (0 if stop.code is None else 2)
    except KeyboardInterrupt:
        _complain("interrupted; run the same command again to resume")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EXPECTED as error:
        if debug:
            raise
        _complain(_one_line(error))
        return 2
    except RuntimeError as error:
        if debug:
            raise
        _complain(f"{_one_line(error)} (--debug shows where)")
        return 2


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0
    if arguments[0] in ("-V", "--version", "version"):
        from erlangen import __version__

        sys.stdout.write(f"erlangen {__version__}\n")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise unknown_name("command", name, list(COMMANDS))
    return int(importlib.import_module(f"erlangen.cli.{name}_command").run(rest))


def _overview() -> str:
    rows = "\n".join(f"  {name:<10} {summary}" for name, summary in COMMANDS.items())
    return (
        "erlangen: name a symmetry; learn a representation that respects it, prove that it does, keep it usable.\n\n"
        f"usage: erlangen COMMAND [options]\n\n{rows}\n\n"
        "erlangen COMMAND --help shows the options of one. Everywhere: --json, --seed, --quiet, --debug.\n"
        "Exit codes: 0 fine, 1 a finding, 2 bad input.\n"
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = text.strip("'\"")
    if isinstance(error, OSError) and error.filename and str(error.filename) not in text:
        text = f"{error.filename}: {text}"
    return text


def _complain(line: str) -> None:
    sys.stderr.write(f"erlangen: {line}\n")
