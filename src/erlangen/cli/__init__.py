"""The `erlangen` command: parse, call one function, print."""

from erlangen.cli.main import main

__all__ = ["main"]
