"""Indexes and vectors as a shell names them: by a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_any(path: str, *, mmap: bool, dsn: str | None = None) -> Any:
    """The `Index` or `VersionedGallery` in a folder."""
    from erlangen import deploy
    from erlangen.deploy.gallery import FORMAT
    from erlangen.train.files import read_json

    is_index(path)
    if read_json(Path(path) / "manifest.json").get("format") == FORMAT:
        return deploy.VersionedGallery.open(path, mmap=mmap)
    return deploy.Index.open(path, mmap=mmap, dsn=dsn)


def is_index(path: str) -> None:
    if not Path(path).is_dir():
        raise ValueError(f"index: there is no folder {path!r}; erlangen index build makes one")
    if not (Path(path) / "manifest.json").exists():
        raise ValueError(f"index: {path!r} is not an index (it has no manifest.json)")


def read_vectors(path: str, argument: str) -> tuple[Any, Any]:
    """Vectors and their space: a folder that `erlangen embed` wrote, or a file of vectors, whose space has no name."""
    from erlangen import data, deploy

    if Path(path).is_dir():
        return deploy.open_embeddings(path), deploy.embedding_space(path)
    if not Path(path).exists():
        raise ValueError(f"{argument}: there is no {path!r}; give a folder that erlangen embed wrote, .csv or .npz")
    loaded = data.load(path)
    if loaded.kind != "vector":
        raise ValueError(f"{argument}: {path!r} holds images; embed them first with erlangen embed")
    return loaded.x.float(), None
