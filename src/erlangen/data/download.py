"""Fetch a file once, whole and verified."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class RemoteFile:
    """A file with the places that serve it and the checksum ("sha256:..." or "md5:...") that its content must have."""

    name: str
    urls: tuple[str, ...]
    checksum: str


def digest(path: Path, algorithm: str) -> str:
    """The hexadecimal checksum of a file."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def _fetch(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as source, target.open("wb") as file:
        while block := source.read(BLOCK):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def download(remote: RemoteFile, folder: Path) -> Path:
    """The local copy of `remote` in `folder`, fetched if absent; it appears under its name only once it is verified.

    Raises:
        ConnectionError: no place could be reached, or what they served has another checksum.
    """
    path = folder / remote.name
    if path.exists():
        return path
    algorithm, _, expected = remote.checksum.partition(":")
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    for url in remote.urls:
        handle, partial_name = tempfile.mkstemp(prefix=f".{remote.name}.", dir=folder)
        os.close(handle)
        partial = Path(partial_name)
        try:
            _fetch(url, partial)
            found = digest(partial, algorithm)
            if found == expected:
                os.replace(partial, path)
                return path
            problems.append(f"{url}: {algorithm} {found}, expected {expected}")
        except (OSError, urllib.error.URLError, ValueError) as error:
            problems.append(f"{url}: {getattr(error, 'reason', error)}")
        finally:
            partial.unlink(missing_ok=True)
    raise ConnectionError("; ".join(problems))


def download_all(files: Sequence[RemoteFile], folder: Path) -> None:
    """Fetch every file that is not there yet."""
    for remote in files:
        download(remote, folder)
