"""Files that are either the old one or the new one, never a part of either."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically: temporary file beside it, fsync, rename.

    Raises `OSError` with the original errno (a full disk: `ENOSPC`) and leaves neither a temporary file nor a changed
    `path`.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        _discard(temporary)
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"{path}: not written ({reason}); nothing was changed. Make room and run again"
        ) from error
    except BaseException:
        _discard(temporary)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as safetensors, atomically; tensors that share memory are stored once each."""
    write_bytes(path, to_safetensors({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, metadata))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is not one is a `ValueError` naming it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"{path}: not readable as JSON ({_one_line(error)})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def read_tensors(path: Path, *, mmap: bool = False) -> dict[str, Tensor]:
    """Read a safetensors file; a missing, truncated or foreign file is a `ValueError` naming it."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: truncated or not a safetensors file ({_one_line(error)})") from None
    return tensors if mmap else {name: torch.clone(tensor) for name, tensor in tensors.items()}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _discard(temporary: str | None) -> None:
    if temporary is not None and os.path.exists(temporary):
        os.unlink(temporary)


def _sync_directory(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:  # some file systems do not open directories; the rename itself is still atomic
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
