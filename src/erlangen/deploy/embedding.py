"""Embeddings of a whole data set, in memory or on disk, a batch at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen.data import ArrayDataset, load
from erlangen.train import model_id
from erlangen.train.files import read_json, write_json
from erlangen.train.lock import RunLock

FORMAT = "erlangen embeddings"
FORMAT_VERSION = 1
BYTES_BETWEEN_MARKS = 32 << 20


def embed(
    encoder: nn.Module,
    data: Any,
    *,
    out: str | Path | None = None,
    batch_size: int = 256,
    resume: bool = True,
) -> Tensor | Path:
    """Embed every sample of `data`, in order.

    Arguments:
        encoder: samples in, `[batch, dim]` out; runs in eval mode and is given back in the mode it had.
        data: an `ArrayDataset` or whatever `data.load` takes (all of it, train and test parts).
        out: a directory for `vectors.npy` and `manifest.json`; None returns the `[count, dim]` tensor.
        batch_size: samples per forward pass; memory is one batch beyond the encoder.
        resume: go on with an unfinished `out`; False starts over.

    Returns:
        The tensor, or the directory: read it with `open_embeddings`, or hand it to `Index.build`.

    Raises:
        ValueError: the encoder gives NaN (the sample is named), or `out` holds embeddings of something else.
    """
    if isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size: must be at least 1, got {batch_size!r}")
    dataset = data if isinstance(data, ArrayDataset) else load(data)
    training = encoder.training
    encoder.eval()
    try:
        if out is None:
            return _in_memory(encoder, dataset, batch_size)
        return _on_disk(encoder, dataset, Path(out), batch_size, resume)
    finally:
        encoder.train(training)


def open_embeddings(path: str | Path) -> Float[Tensor, "count dim"]:
    """The finished embeddings in a directory, memory-mapped (copy on write).

    Raises:
        ValueError: missing, unfinished or truncated; the file is named.
    """
    directory = Path(path)
    manifest = _manifest(directory)
    if not manifest.get("complete"):
        raise ValueError(
            f"{directory}: unfinished ({manifest.get('done')} of {manifest.get('count')}); embed again to go on"
        )
    try:
        array = np.load(directory / "vectors.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{directory / 'vectors.npy'}: truncated or not an array ({error})") from None
    if array.shape != (manifest["count"], manifest["space"]["dim"]) or array.dtype != np.float32:
        raise ValueError(f"{directory / 'vectors.npy'}: {array.dtype} {array.shape} does not match the manifest")
    return torch.from_numpy(array)


def embedding_space(source: str | Path | nn.Module, dim: int | None = None) -> Mapping[str, Any]:
    """The space of a directory of embeddings, or of what an encoder gives."""
    if isinstance(source, nn.Module):
        width = dim if dim is not None else int(source.embedding_dim)  # type: ignore[arg-type]
        name = model_id(source)
        prefixes = getattr(source, "prefixes", None)
        nested = {} if prefixes is None else {"prefixes": list(prefixes)}
        return {"model_id": name, "dim": width, "metric": "cosine", "normalized": False, "dtype": "float32", **nested}
    return dict(_manifest(Path(source))["space"])


def _in_memory(encoder: nn.Module, dataset: ArrayDataset, batch_size: int) -> Tensor:
    result: Tensor | None = None
    for start in range(0, len(dataset), batch_size):
        part = _embedded(encoder, dataset, start, batch_size)
        if result is None:
            result = torch.empty(len(dataset), part.shape[1])
        result[start : start + len(part)] = part
    if result is None:
        raise ValueError("data: no samples to embed")
    return result


def _on_disk(encoder: nn.Module, dataset: ArrayDataset, directory: Path, batch_size: int, resume: bool) -> Path:
    if len(dataset) == 0:
        raise ValueError("data: no samples to embed")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"out: {str(directory)!r} is a file; give a directory") from None
    with RunLock(directory):
        source = {"model_id": model_id(encoder), "data": dataset.fingerprint(), "count": len(dataset)}
        manifest = _resumable(directory, source) if resume else None
        if manifest is not None and manifest["complete"]:
            return directory
        done = manifest["done"] if manifest is not None else 0
        first = _embedded(encoder, dataset, done, batch_size)
        width = first.shape[1]
        partial = directory / "vectors.partial.npy"
        shape = (len(dataset), width)
        if done == 0:
            foreign = [p.name for p in directory.iterdir() if p.name not in _OWN and not p.name.startswith(".")]
            if foreign:
                raise ValueError(f"out: {str(directory)!r} is not empty and holds no embeddings ({foreign[0]}, ...)")
            (directory / "manifest.json").unlink(missing_ok=True)
            (directory / "vectors.npy").unlink(missing_ok=True)
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        else:
            array = np.lib.format.open_memmap(partial, mode="r+")
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "source": source, "count": len(dataset)}
        head["space"] = dict(embedding_space(encoder, width))
        mark = max(batch_size, BYTES_BETWEEN_MARKS // (4 * width))
        marked = done
        for start in range(done, len(dataset), batch_size):
            part = first if start == done else _embedded(encoder, dataset, start, batch_size)
            array[start : start + len(part)] = part.numpy()
            if start + len(part) - marked >= mark:
                array.flush()
                marked = start + len(part)
                write_json(directory / "manifest.json", {**head, "complete": False, "done": marked})
        array.flush()
        del array
        partial.replace(directory / "vectors.npy")
        write_json(directory / "manifest.json", {**head, "complete": True, "done": len(dataset)})
    return directory


_OWN = ("manifest.json", "vectors.npy", "vectors.partial.npy", "run.lock")


def _resumable(directory: Path, source: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest to go on from; None to start over; an error where the directory holds something else."""
    if not (directory / "manifest.json").exists():
        return None
    manifest = _manifest(directory)
    old = manifest.get("source", {})
    differing = [key for key in source if old.get(key) != source[key]]
    if differing:
        raise ValueError(
            f"out: {str(directory)!r} holds embeddings with another {' and '.join(differing)}; "
            "choose another directory or resume=False"
        )
    file = "vectors.npy" if manifest.get("complete") else "vectors.partial.npy"
    if not (directory / file).exists():
        return None
    done = manifest.get("done")
    if not isinstance(done, int) or not 0 < done <= source["count"]:
        raise ValueError(f"{directory / 'manifest.json'}: done is {done!r} of {source['count']}")
    return manifest


@torch.inference_mode()
def _embedded(encoder: nn.Module, dataset: ArrayDataset, start: int, batch_size: int) -> Tensor:
    indices = torch.arange(start, min(start + batch_size, len(dataset)))
    x, _ = dataset.tensors(indices)
    parameter = next(encoder.parameters(), None)
    result = encoder(x if parameter is None else x.to(parameter.device)).detach().float().cpu()
    if result.ndim != 2 or len(result) != len(indices):
        raise ValueError(f"encoder: must give [batch, dim], gave {tuple(result.shape)} for {len(indices)} samples")
    finite = torch.isfinite(result).all(1)
    if not bool(finite.all()):
        raise ValueError(f"encoder: the embedding of sample {start + int((~finite).nonzero()[0])} is NaN or infinite")
    return result.clone()


def _manifest(directory: Path) -> dict[str, Any]:
    manifest = read_json(directory / "manifest.json")
    if manifest.get("format") != FORMAT or manifest.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{directory / 'manifest.json'}: not embeddings of format version {FORMAT_VERSION}")
    if not isinstance(manifest.get("space"), dict) or not isinstance(manifest.get("count"), int):
        raise ValueError(f"{directory / 'manifest.json'}: names no space or count")
    return manifest
