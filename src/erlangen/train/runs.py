"""The result of a fit, in memory and in a run directory."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erlangen._registry import objectives as objective_registry
from erlangen.train.checkpoint import read_checkpoint
from erlangen.train.configuration import check_format, materialise, rebuild
from erlangen.train.files import read_json, read_tensors, write_bytes, write_json, write_tensors
from erlangen.train.prepared import PreparedEncoder, model_id


@dataclass
class Run:
    """A fitted encoder and how it came to be.

    Attributes:
        encoder: normalisation and encoder in eval mode; raw samples in, embeddings out; `.model`, `.embedding_dim`.
        objective: what it was fitted with, heads included.
        history: one row per epoch, `train/...`, `val/...`, `monitor/...` of the embedding and `collapse` in words if it did.
        metrics: the last row's numbers and, where the data have a test part, `test/...`.
        config: the content of `config.json`.
        path: the run directory, None for a run that was not saved.
        complete: False for a run that was interrupted; `fit` with the same arguments goes on from there.
    """

    encoder: PreparedEncoder
    objective: nn.Module
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        self.encoder.prefixes = getattr(self.objective, "prefixes", None)

    @property
    def classifier(self) -> Callable[[Tensor], Tensor] | None:
        """embedding -> logits, or None where the objective has no classifier."""
        predict = getattr(self.objective, "predict", None)
        if predict is None:
            return None
        parameter = next(self.encoder.parameters(), self.encoder.mean)
        with torch.no_grad():
            trial = predict(torch.zeros(1, self.encoder.embedding_dim, device=parameter.device, dtype=parameter.dtype))
        return predict if trial is not None else None

    @property
    def collapse(self) -> str | None:
        """How the embedding had collapsed in the last epoch, in words that name it; None where it had not."""
        return self.history[-1].get("collapse") if self.history else None

    @property
    def space(self) -> dict[str, Any]:
        """What `deploy` needs to know of the embeddings: model id, dimension, metric, normalised or not, dtype.

        `prefixes` is there where the objective made prefixes that are embeddings in their own right.
        """
        prefixes = self.encoder.prefixes
        return ({} if prefixes is None else {"prefixes": list(prefixes)}) | {
            "model_id": model_id(self.encoder),
            "dim": self.encoder.embedding_dim,
            "metric": "cosine",
            "normalized": False,
            "dtype": "float32",
        }

    def __repr__(self) -> str:
        name = self.config.get("encoder", {}).get("name", type(self.encoder.model).__name__)
        numbers = ", ".join(f"{k} {v:.4g}" for k, v in self.metrics.items())
        state = "" if self.complete else ", incomplete"
        return f"Run({name}, {len(self.history)} epochs, {numbers}{state})"


def full_state(encoder: nn.Module, objective: nn.Module) -> dict[str, Tensor]:
    """Weights of both modules under the names that the run directory uses."""
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    return state | {f"objective.{name}": value for name, value in objective.state_dict().items()}


def load_full_state(encoder: nn.Module, objective: nn.Module, state: dict[str, Tensor], source: Any) -> None:
    """The inverse of `full_state`; weights that do not fit are a one-line `ValueError` naming `source`."""
    for prefix, module in (("encoder.", encoder), ("objective.", objective)):
        own = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        try:
            module.load_state_dict(own, strict=True)
        except RuntimeError as error:
            words = " ".join(str(error).split())[:300]
            raise ValueError(f"{source}: the weights do not fit the configuration ({words})") from None


def save_run(run: Run, path: str | Path) -> Path:
    """Write a finished run into `path`: `config.json`, `weights.safetensors`, `history.jsonl`, `result.json`.

    `result.json` is written last and holds the checksum of the weights: a directory without it is not complete.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / "weights.safetensors"
    write_json(directory / "config.json", run.config)
    write_tensors(weights, full_state(run.encoder, run.objective))
    write_bytes(directory / "history.jsonl", "".join(json.dumps(row) + "\n" for row in run.history).encode())
    result = {
        "metrics": run.metrics,
        "epochs": len(run.history),
        "collapse": run.collapse,
        "space": run.space,
        "weights_sha256": _sha256(weights),
    }
    write_json(directory / "result.json", result)
    return directory


def load(path: str | Path) -> Run:
    """Read a run directory, finished or not.

    The encoder and the objective are rebuilt from the registries by name, never from code in the directory. An
    unfinished run gives the weights of its last checkpoint and `complete=False`.

    Raises:
        ValueError: the directory is missing, of another format version, truncated or altered; one line, file named.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise ValueError(f"path: {str(path)!r} is not a run directory")
    config = read_json(directory / "config.json")
    check_format(config, directory / "config.json")
    encoder, objective = _rebuild(config, directory / "config.json")
    weights = directory / "weights.safetensors"
    if (directory / "result.json").exists():
        result = read_json(directory / "result.json")
        if not weights.exists():
            raise ValueError(f"{weights}: no such file")
        if result.get("weights_sha256") != _sha256(weights):
            raise ValueError(f"{weights}: truncated or altered (its SHA-256 is not the one in result.json)")
        load_full_state(encoder, objective, read_tensors(weights), weights)
        history, metrics, complete = _read_history(directory / "history.jsonl"), dict(result.get("metrics", {})), True
    else:
        checkpoint = read_checkpoint(directory)
        if checkpoint is None:
            raise ValueError(f"{directory}: the run has no checkpoint yet")
        load_full_state(encoder, objective, checkpoint.weights, directory / "state.json")
        history, complete = checkpoint.progress.history, False
        metrics = {k: v for k, v in (history[-1] if history else {}).items() if "/" in k}
    encoder.eval()
    objective.eval()
    return Run(encoder, objective, history, metrics, config, directory, complete)


def _rebuild(config: dict[str, Any], source: Path) -> tuple[PreparedEncoder, nn.Module]:
    import erlangen.nn
    import erlangen.objectives

    try:
        data = config["data"]
        model = rebuild(config["encoder"], erlangen.nn.encoders)
        erlangen.objectives.names()  # fills the registry
        objective = rebuild(config["objective"], objective_registry)
        encoder = PreparedEncoder(model, torch.tensor(data["mean"]), torch.tensor(data["std"]))
        sample = torch.zeros(2, *(int(n) for n in data["sample_shape"]))
        materialise(encoder, objective, sample, data["num_classes"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, MemoryError) as error:
        words = " ".join(str(error).split())[:300]
        raise ValueError(f"{source}: cannot rebuild the run ({type(error).__name__}: {words})") from None
    return encoder, objective


def _read_history(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not readable ({error})") from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
