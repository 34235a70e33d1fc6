"""As much of an embedding as a sample needs: short prefixes classify what they are sure of, longer ones the rest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen.nn.matryoshka_head import MatryoshkaHead
from erlangen.train.files import read_json, write_bytes

FORMAT = "erlangen adaptive classifier"


class AdaptivePrediction(NamedTuple):
    """`[batch]` each: the class, the prefix length that decided it, and that prefix's largest probability."""

    label: Tensor
    dim: Tensor
    confidence: Tensor


class AdaptiveClassifier(nn.Module):
    """A cascade over the prefixes of a Matryoshka embedding.

    A sample stops at the first length m with `max softmax(logits_m) >= threshold_m`; the last length takes what is left.
    Thresholds belong to the lengths and the head that they were learned with, and are kept with them: confidences of
    another length or head mean something else. Only the samples that go on are computed at the next length.

    Source: A. Kusupati et al., "Matryoshka representation learning", 2022, arXiv:2205.13147, section on adaptive
    classification: confidence thresholds learned on held-out samples. How the thresholds are chosen is ours: see `fit`.

    Arguments:
        head: a fitted `MatryoshkaHead`.
        thresholds: one for each length but the last, 0 to 1; above 1 (infinity) a length decides nothing.
    """

    def __init__(self, head: MatryoshkaHead, thresholds: Mapping[int, float]) -> None:
        super().__init__()
        wanted, given = list(head.dims[:-1]), list(thresholds)
        if given != wanted:
            raise ValueError(f"thresholds: for the lengths {given}; this head decides early at {wanted}")
        for dim, value in thresholds.items():
            if not value >= 0:
                raise ValueError(
                    f"thresholds: {value} at {dim}; a probability, or more where that length decides nothing"
                )
        self.head = head
        self.thresholds = {int(dim): float(value) for dim, value in thresholds.items()}

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        head: MatryoshkaHead,
        z: Float[Tensor, "samples dim"],
        label: Int[Tensor, " samples"],
        *,
        tolerance: float = 0.005,
    ) -> "AdaptiveClassifier":
        """Thresholds that stop as many held-out samples as early as the tolerance allows.

        From the shortest length on, the most confident samples stop there, as many as can while the accuracy lost so far
        against the whole embedding stays within an equal share of `tolerance` for each length, what earlier lengths left
        over included. On `z` itself the cascade therefore loses at most `tolerance`; use samples that the head has not
        been fitted on.

        Raises:
            ValueError: no samples, sizes that do not fit, or a tolerance below 0.
        """
        if len(z) == 0 or label.shape != z.shape[:1]:
            raise ValueError(f"label: {tuple(label.shape)} for {len(z)} samples; give one for each, and at least one")
        if not tolerance >= 0:
            raise ValueError(f"tolerance: {tolerance}; a share of the samples, at least 0")
        if not bool(torch.isfinite(z).all()):
            raise ValueError("z: NaN or infinite values")
        last = (head.at(z, head.dims[-1]).argmax(1) == label).long()
        left, lost, thresholds = torch.arange(len(z)), 0, {}
        for stage, dim in enumerate(head.dims[:-1], 1):
            confidence, found = head.at(z[left], dim).softmax(1).max(1)
            order = confidence.argsort(descending=True, stable=True)
            cost = lost + (last[left] - (found == label[left]).long())[order].cumsum(0)
            ranked = confidence[order]
            end = torch.ones_like(ranked, dtype=torch.bool)  # equal confidences stop together
            end[:-1] = ranked[1:] < ranked[:-1]
            allowed = (end & (cost <= tolerance * len(z) * stage / (len(head.dims) - 1))).nonzero()
            if len(allowed) == 0:
                thresholds[dim] = float("inf")
                continue
            many = int(allowed[-1])
            thresholds[dim], lost = float(ranked[many]), int(cost[many])
            left = left[confidence < thresholds[dim]]
        return cls(head, thresholds)

    @torch.no_grad()
    def forward(self, z: Float[Tensor, "batch dim"]) -> AdaptivePrediction:
        if z.shape[1] != self.head.dims[-1]:
            raise ValueError(f"z: {z.shape[1]} dimensions; the head was made for {self.head.dims[-1]}")
        left = torch.arange(len(z), device=z.device)
        label, dims = torch.zeros_like(left), torch.zeros_like(left)
        sure = z.new_zeros(len(z), dtype=self.head.heads[0].weight.dtype)  # type: ignore[arg-type]
        for dim in self.head.dims:
            confidence, found = self.head.at(z[left], dim).softmax(1).max(1)
            stops = confidence >= self.thresholds.get(dim, float("-inf"))
            if dim == self.head.dims[-1]:
                stops = torch.ones_like(stops)  # what is NaN ends here too
            where = left[stops]
            label[where], dims[where], sure[where] = found[stops], dim, confidence[stops]
            left = left[~stops]
        return AdaptivePrediction(label, dims, sure)

    def multiply_adds(self, z: Float[Tensor, "batch dim"]) -> dict[str, float]:
        """Mean multiply-adds of the classifier for a sample: in the cascade, and with the whole embedding.

        A tied head goes on from the logits it has; separate heads start anew at each length.
        """
        reached, classes = self(z).dim, self.head.num_classes
        cost, total = {}, 0
        for dim in self.head.dims:
            total = dim if self.head.tied else total + dim
            cost[dim] = total * classes
        mean = sum(float((reached == dim).double().mean()) * each for dim, each in cost.items())
        return {"cascade": mean, "whole": float(self.head.dims[-1] * classes)}

    def save(self, path: str | Path) -> Path:
        """Write lengths and thresholds as JSON; the head is saved with its run."""
        pairs = [[dim, None if value == float("inf") else value] for dim, value in self.thresholds.items()]
        facts: dict[str, Any] = {"format": FORMAT, "dims": list(self.head.dims), "classes": self.head.num_classes}
        write_bytes(Path(path), (json.dumps({**facts, "thresholds": pairs}, indent=2) + "\n").encode())
        return Path(path)

    @classmethod
    def open(cls, path: str | Path, head: MatryoshkaHead) -> "AdaptiveClassifier":
        """Read what `save` wrote; a head with other lengths or classes is refused."""
        facts = read_json(Path(path))
        try:
            if facts["format"] != FORMAT:
                raise ValueError
            thresholds = {
                int(dim): float("inf") if value is None else float(value) for dim, value in facts["thresholds"]
            }
            made_for = (tuple(facts["dims"]), int(facts["classes"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: not an adaptive classifier") from None
        if made_for != (head.dims, head.num_classes):
            raise ValueError(
                f"head: lengths {list(head.dims)} and {head.num_classes} classes; the thresholds were learned for "
                f"{list(made_for[0])} and {made_for[1]}"
            )
        return cls(head, thresholds)

    def extra_repr(self) -> str:
        return ", ".join(f"{dim}: {value:.3f}" for dim, value in self.thresholds.items())
