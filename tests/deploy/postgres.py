"""A PostgreSQL server with pgvector of the tests' own, on a Unix socket, gone when they are."""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest


class NoServerError(Exception):
    """Why there is no server."""


def installation() -> Path:
    """Where `initdb` and `postgres` with pgvector are: the wheel pgserver, else the system's packages."""
    wheel = find_spec("pgserver")
    candidates = []
    if wheel is not None and wheel.submodule_search_locations:
        candidates.append(Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin")
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists():
            shared = subprocess.run([folder / "pg_config", "--sharedir"], capture_output=True, text=True).stdout.strip()
            if (Path(shared) / "extension" / "vector.control").exists():
                return folder
    raise NoServerError("no PostgreSQL with pgvector here: pip install pgserver, or install postgresql-NN-pgvector")


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """The connection string of a fresh server; as root it runs under another user, as PostgreSQL wants."""
    binaries = installation()
    folder = Path(tempfile.mkdtemp(prefix="erl_pg_", dir="/tmp"))  # short: a socket's path is at most 107 bytes
    who = {"user": "nobody"} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(folder, "nobody")

    def command(*words: object) -> None:
        call = [str(binaries / str(words[0])), *map(str, words[1:])]
        done = subprocess.run(call, capture_output=True, text=True, timeout=100, cwd=folder, **who)
        if done.returncode:
            raise NoServerError(f"{words[0]} failed: {' '.join(done.stderr.split())[-300:]}")

    data = folder / "data"
    try:
        command("initdb", "-D", data, "-U", "tester", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB -c max_connections=20"
        command("pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
        try:
            yield f"host={folder} user=tester dbname=postgres"
        finally:
            command("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoServerError(f"no server could be started ({error})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _server() -> str | NoServerError:
    if find_spec("psycopg") is None:
        return NoServerError("the extra erlangen[pgvector] is not installed")
    stack = contextlib.ExitStack()
    try:
        dsn = stack.enter_context(running_server())
    except NoServerError as error:
        return error
    atexit.register(stack.close)
    return dsn


def server() -> str:
    """The connection string of a server that runs until the tests end; skips with the reason where there is none."""
    found = _server()
    if isinstance(found, NoServerError):
        pytest.skip(str(found))
    return found
