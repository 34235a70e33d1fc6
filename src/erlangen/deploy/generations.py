"""Stores on disk: each save writes new files beside the old and then, in one step, the manifest that names them.

A process killed at any moment leaves the old manifest with the old files, or the new one with the new. One process at a
time writes; one that comes with what it read before another's save is refused, so that nobody's vectors are forgotten.
"""

import json
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from erlangen.deploy.store import VectorStore
from erlangen.train.files import read_json, read_tensors, write_json
from erlangen.train.lock import RunLock

MANIFEST = "manifest.json"
LOCK = "run.lock"
BLOCK_BYTES = 1 << 24
_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.int8: "I8", torch.int64: "I64"}


Result = TypeVar("Result")
Seen = dict[str, tuple[int, int]]  # directories and which of their manifests an object was read from or saved as
_WRITING: set[tuple[str, int]] = set()
READS = 20


@contextmanager
def writing(path: str | Path, argument: str = "path") -> Iterator[Path]:
    """Keep every other process and thread from writing the directory `path` until the block ends.

    What is opened, changed and saved inside is one step to the others; `save` takes this by itself, and inside the
    block once more without waiting. Where nothing is written, nothing is left: neither a lock nor a directory.

    Raises:
        RunDirectoryError: another writer is at it; its process is named.
    """
    directory = Path(path)
    key = (os.path.realpath(directory), threading.get_ident())
    if key in _WRITING:
        yield directory
        return
    missing = [p for p in (directory, *directory.parents) if not p.exists()]
    locked_before = (directory / LOCK).exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{argument}: {str(path)!r} is a file; give a directory") from None
    with RunLock(directory, argument):
        before = _stamp(directory)
        _WRITING.add(key)
        try:
            yield directory
        finally:
            _WRITING.discard(key)
            if not locked_before and _stamp(directory) == before:
                (directory / LOCK).unlink(missing_ok=True)
                with suppress(OSError):  # one that somebody put something into stays
                    for made in missing:
                        made.rmdir()


def save_stores(
    path: str | Path,
    stores: Mapping[str, VectorStore],
    manifest: Mapping[str, Any],
    kind: str,
    seen: Seen | None = None,
) -> Path:
    """Write `manifest` with a `files` entry per store; the old files go once the new manifest stands.

    `kind` is the manifest's format; a directory that holds anything else is refused and left as it is. So is one that
    `seen` knows with another manifest: somebody saved there after the caller read it.
    """
    with writing(path) as directory:
        place = os.path.realpath(directory)
        known, there = (seen or {}).get(place), _stamp(directory)
        if known is not None and there is not None and known != there:
            raise ValueError(
                f"path: {str(path)!r} was saved by another since it was opened here; open it again and repeat"
            )
        _save(directory, stores, manifest, kind)
        written = _stamp(directory)
        if seen is not None and written is not None:
            seen[place] = written
    return directory


def _save(directory: Path, stores: Mapping[str, VectorStore], manifest: Mapping[str, Any], kind: str) -> None:
    foreign = [p.name for p in directory.iterdir() if not p.name.startswith((".", "vectors-")) and p.name != LOCK]
    old = directory / MANIFEST
    if foreign and not (old.exists() and read_json(old).get("format") == kind):
        raise ValueError(
            f"path: {str(directory)!r} is not empty and not {_called(kind)} "
            f"({foreign[0]}, ...); choose another directory"
        )
    numbers = [int(p.stem.removeprefix("vectors-")) for p in directory.glob("vectors-??????.safetensors")]
    following = 1 + max(numbers, default=0)
    files = {}
    try:
        for offset, (name, store) in enumerate(stores.items()):
            files[name] = f"vectors-{following + offset:06d}.safetensors"
            write_store(directory / files[name], store)
        write_json(old, {**manifest, "files": files})
    except BaseException:
        named = _named(old)
        for file in files.values():
            if file not in named:
                (directory / file).unlink(missing_ok=True)
        raise
    for stale in [*directory.glob("vectors-*.safetensors"), *directory.glob(".*.tmp")]:
        if stale.name not in files.values():
            stale.unlink(missing_ok=True)


def _called(kind: str) -> str:
    noun = kind.removeprefix("erlangen ")
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def read_settled(path: str | Path, read: Callable[[], Result]) -> tuple[Result, Seen]:
    """What `read` makes of the directory, and the manifest it read; again where somebody saved in the middle of it."""
    directory = Path(path)
    for turn in range(READS):
        before = _stamp(directory)
        try:
            result = read()
        except ValueError:
            if _stamp(directory) == before:
                raise
        else:
            if _stamp(directory) == before or turn == READS - 1:
                return result, {} if before is None else {os.path.realpath(directory): before}
    raise ValueError(f"path: {str(path)!r} changes faster than it can be read; wait for its writer")


def _stamp(directory: Path) -> tuple[int, int] | None:
    """Which manifest stands: each save puts a new file in its place."""
    try:
        there = os.stat(directory / MANIFEST)
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns


def read_manifest(path: str | Path, kind: str, version: int) -> tuple[Path, dict[str, Any]]:
    """The directory and its manifest, checked to be of `kind` and `version`."""
    directory = Path(path)
    manifest = read_json(directory / MANIFEST)
    if manifest.get("format") != kind:
        raise ValueError(f"{directory / MANIFEST}: not {_called(kind)}")
    found = manifest.get("format_version")
    if found != version:
        older = isinstance(found, int) and found < version
        advice = "build it anew from its vectors" if older else "a newer erlangen reads it"
        raise ValueError(
            f"{directory / MANIFEST}: {_called(kind)} of format version {found!r}, not {version}; {advice}"
        )
    return directory, manifest


def read_store(directory: Path, manifest: Mapping[str, Any], name: str, *, mmap: bool) -> VectorStore:
    """The store that the manifest calls `name`; a missing, truncated or foreign file is an error that names it."""
    files = manifest.get("files")
    file = files.get(name) if isinstance(files, dict) else None
    if not isinstance(file, str) or Path(file).name != file or not file.startswith("vectors-"):
        raise ValueError(f"{directory / MANIFEST}: points outside the directory ({file!r})")
    tensors = read_tensors(directory / file, mmap=mmap)
    ids, data, scales = tensors.get("ids"), tensors.get("vectors"), tensors.get("scales")
    sound = ids is not None and data is not None and ids.ndim == 1 and data.ndim == 2 and len(ids) == len(data)
    if not sound or ids.dtype != torch.int64 or (data.dtype == torch.int8) != (scales is not None):  # type: ignore[union-attr]
        raise ValueError(f"{directory / file}: holds no ids and vectors that fit each other")
    if data.dtype not in _DTYPES or (scales is not None and scales.shape != ids.shape):  # type: ignore[union-attr]
        raise ValueError(f"{directory / file}: holds no ids and vectors that fit each other")
    if not bool((ids.diff() > 0).all()) or (len(ids) and int(ids[0]) < 0):  # type: ignore[union-attr,index,arg-type]
        raise ValueError(f"{directory / file}: its ids are not ascending")
    return VectorStore(ids, data, scales)  # type: ignore[arg-type]


def write_store(path: Path, store: VectorStore) -> None:
    """A safetensors file of the ids, vectors and scales, a block at a time, under its name only once it is whole."""
    tensors = {"ids": store.ids, "vectors": store.data}
    if store.scales is not None:
        tensors["scales"] = store.scales
    header: dict[str, Any] = {}
    offset = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for tensor in tensors.values():
                for block in _blocks(tensor):
                    file.write(block.contiguous().numpy().data.cast("B") if block.numel() else b"")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        _discard(temporary)
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"{path}: not written ({reason}); nothing was changed. Make room and run again"
        ) from error
    except BaseException:
        _discard(temporary)
        raise


def _blocks(tensor: Tensor) -> tuple[Tensor, ...]:
    width = tensor[:1].numel() * tensor.element_size()
    return tensor.detach().cpu().split(max(1, BLOCK_BYTES // max(width, 1)))


def _named(manifest: Path) -> tuple[str, ...]:
    try:
        return tuple(read_json(manifest).get("files", {}).values())
    except (ValueError, AttributeError):
        return ()


def _discard(temporary: str | None) -> None:
    if temporary is not None and os.path.exists(temporary):
        os.unlink(temporary)
