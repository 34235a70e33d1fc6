"""Dispatch to one command, and turn errors into one line and an exit code.

Exit codes: 0 fine, 1 a finding (a broken symmetry, a failed verdict), 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from erlangen._registry import unknown_name

COMMANDS = {
    "demo": "the whole line on real digits: fit, check, audit, index, report",
    "fit": "learn a representation of your data",
    "check": "does this model respect this symmetry? the verdict",
    "audit": "look at a model on a data set, or at data alone, and write the report",
    "report": "show a report again, or what changed since an older one",
    "discover": "which symmetries do the data have, and how exactly?",
    "embed": "vectors of a data set under a run's encoder",
    "index": "build, add to, search, upgrade, or describe an index of vectors",
    "list": "the encoders, objectives, probes and recipes there are",
    "reproduce": "re-measure the claims of recipes",
    "bench": "our speed beside the peers'",
}
RESUMABLE = ("demo", "fit", "embed", "reproduce")

EXPECTED = (ValueError, TypeError, OSError, LookupError, ImportError, FloatingPointError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _dispatch(_imported(arguments))
    except SystemExit as stop:  # --help and --print_config
        return stop.code if isinstance(stop.code, int) else (0 if stop.code is None else 2)
    except KeyboardInterrupt:
        resumable = bool(arguments) and arguments[0] in RESUMABLE
        _complain("interrupted; run the same command again to resume" if resumable else "interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EXPECTED as error:
        if debug:
            raise
        _complain(_one_line(error))
        return 2
    except Exception as error:
        if debug:
            raise
        if (
            isinstance(error, MemoryError)
            or "can't allocate memory" in str(error)
            or "CUDA out of memory" in str(error)
        ):
            wanted = re.search(r"tried to allocate (\d+ bytes|[\d.]+ \w+)", str(error))
            asked = f" ({wanted[1]} in one piece)" if wanted else ""
            _complain(
                f"out of memory{asked}; give smaller sizes, smaller batches or fewer samples (--debug shows where)"
            )
            return 2
        _complain(f"{type(error).__name__}: {_one_line(error)} (--debug shows where)")
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


def _imported(arguments: list[str]) -> list[str]:
    """Import what each `--plugin` names, so that the user's own registered classes are known; the rest of the words."""
    rest, words = [], iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option != "--plugin":
            rest.append(word)
            continue
        from erlangen.cli.locate import import_module

        value = value if equals else next(words, "")
        if not value:
            raise ValueError("--plugin: needs a module or a .py file with your registered classes")
        import_module(value, "--plugin")
    return rest


def _overview() -> str:
    rows = "\n".join(f"  {name:<10} {summary}" for name, summary in COMMANDS.items())
    return (
        "erlangen: name a symmetry; learn a representation that respects it, prove that it does, keep it usable.\n\n"
        f"usage: erlangen COMMAND [options]\n\n{rows}\n\n"
        "erlangen COMMAND --help shows the options of one. Everywhere: --json, --seed, --quiet;\n"
        "--debug shows where an error came from, --plugin FILE.py imports your own registered classes.\n"
        "Exit codes: 0 fine, 1 a finding, 2 bad input, 130 interrupted.\n"
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = text.strip("'\"")
    if isinstance(error, OSError) and error.filename and str(error.filename) not in text:
        text = f"{error.filename}: {text}"
    return text if len(text) <= 800 else text[:800] + " ..."


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    _complain(f"warning: {' '.join(str(message).split())}")


def _complain(line: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"erlangen: {line}\n")
