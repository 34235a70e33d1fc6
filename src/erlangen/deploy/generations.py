"""Stores on disk: each save writes new files beside the old and then, in one step, the manifest that names them.

A process killed at any moment leaves the old manifest with the old files, or the new one with the new.
"""

import json
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erlangen.deploy.store import VectorStore
from erlangen.train.files import read_json, read_tensors, write_json
from erlangen.train.lock import RunLock

MANIFEST = "manifest.json"
BLOCK_BYTES = 1 << 24
_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.int8: "I8", torch.int64: "I64"}


def save_stores(path: str | Path, stores: Mapping[str, VectorStore], manifest: Mapping[str, Any], kind: str) -> Path:
    """Write `manifest` with a `files` entry per store; the old files go once the new manifest stands.

    `kind` is the manifest's format; a directory that holds anything else is refused and left as it is.
    """
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"path: {str(path)!r} is a file; give a directory") from None
    foreign = [p.name for p in directory.iterdir() if not p.name.startswith((".", "vectors-")) and p.name != "run.lock"]
    old = directory / MANIFEST
    if foreign and not (old.exists() and read_json(old).get("format") == kind):
        raise ValueError(
            f"path: {str(path)!r} is not empty and not an {kind.removeprefix('erlangen ')} "
            f"({foreign[0]}, ...); choose another directory"
        )
    with RunLock(directory):
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
    return directory


def read_manifest(path: str | Path, kind: str, version: int) -> tuple[Path, dict[str, Any]]:
    """The directory and its manifest, checked to be of `kind` and `version`."""
    directory = Path(path)
    manifest = read_json(directory / MANIFEST)
    if manifest.get("format") != kind or manifest.get("format_version") != version:
        raise ValueError(f"{directory / MANIFEST}: not an {kind.removeprefix('erlangen ')} of format version {version}")
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
