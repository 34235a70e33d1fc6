"""Features of a network that do not depend on how it happens to be parametrised."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from erlangen.audit.degeneracy.sections import OUTPUT, Sections, batches, rows_of
from erlangen.audit.jacobians import output_gradients


@dataclass(frozen=True)
class Basis:
    """The features of one cut: `(f - mean) @ C`, with covariance `diag(eigenvalues)` and, of what is kept, a Jacobian
    Gram to the next cut that is the identity.

    `gram_rank` directions vary over the data; `len(eigenvalues)` of them have an effect as well.
    """

    C: Tensor
    C_pinv: Tensor
    eigenvalues: Tensor
    mean: Tensor
    gram_rank: int

    @property
    def rank(self) -> int:
        return self.C.shape[1]

    def features(self, activation: Tensor) -> Tensor:
        """`[samples, positions, rank]` of a raw activation."""
        return (rows_of(activation).double() - self.mean) @ self.C

    def activation(self, features: Tensor, like: Tensor) -> Tensor:
        """A raw activation in the form of `like` from features `[samples, positions, rank]`."""
        rows = (features @ self.C_pinv + self.mean).to(like)
        if like.dim() == 2:
            return rows[:, 0]
        return rows if like.dim() == 3 else rows.transpose(1, 2).reshape(len(rows), -1, *like.shape[2:])


class InteractionBasis:
    """The interaction basis of a network at chosen cuts, and the interactions between its features.

    From the output backwards: at the output the principal axes; at a cut `l` with covariance `G = U D U^T` of the
    activation and `M' = E[sum_i J_i J_i^T]`, where `J_i` is the gradient of feature `i` of the next cut (of the
    output with `variant="global"`) by the activation: whiten by `R = U D^-1/2`, take `M = R^+ M' R^+T = V L V^T`, and
    `C = R V L^1/2`. Directions that do not vary and directions without effect are gone; what is left has covariance
    `L` and a Jacobian Gram equal to the identity, whatever invertible map the activation was read through.

    The constant direction that carries biases is kept apart by centring the activations: it is no feature.

    Arguments:
        layers: names or globs of the cuts (the output is always one).
        variant: gradients of the "local" next cut, or of the "global" output.
        integration: 1 takes the gradient at the activation; "gauss-5" averages it over the straight line from 0.
        rtol: eigenvalues below this part of the largest are dropped, of `G` and of `M`.
        probes: 0 differentiates every feature; else random +-1 combinations of that number (for wide layers).
        nbytes: what one chunk of gradients may take.

    Bushnaq, Mendel, Heimersheim, Braun, Goldowsky-Dill, Hänni, Wu and Hobbhahn, "Using Degeneracy in the Loss Landscape
    for Mechanistic Interpretability", 2024, arXiv:2405.10927; the variants are those of arXiv:2405.10928.
    """

    def __init__(
        self,
        layers: str | Sequence[str] = "auto",
        *,
        variant: Literal["local", "global"] = "local",
        integration: Literal[1, "gauss-5"] = 1,
        rtol: float = 1e-6,
        probes: int = 0,
        nbytes: str | int = "64MiB",
        seed: int = 0,
    ) -> None:
        if variant not in ("local", "global") or integration not in (1, "gauss-5"):
            raise ValueError(
                f"variant, integration: {variant!r}, {integration!r}; allowed: 'local', 'global'; 1, 'gauss-5'"
            )
        if not 0 < rtol < 1 or probes < 0:
            raise ValueError(f"rtol, probes: {rtol}, {probes}; must be between 0 and 1, and at least 0")
        self.layers, self.variant, self.integration = layers, variant, integration
        self.rtol, self.probes, self.nbytes, self.seed = rtol, probes, nbytes, seed
        self.bases: dict[str, Basis] = {}

    def fit(self, model: nn.Module, data: Any) -> dict[str, Basis]:
        """Bases by layer, from inputs `[n, ...]` or batches of them; the model is left as it is.

        Raises ValueError for layers that something gets past, where no gradient arrives at a cut, and for an output that does not vary.
        """
        self.sections, self.data = Sections(model, self.layers), batches(data)
        self.sections.check(self.data[0][:8])
        names = self.sections.names
        means, grams, self.samples = self._moments(names)
        self.bases = {}
        values, vectors, rank = _spectrum(grams[OUTPUT], self.rtol)
        if rank == 0:
            raise ValueError("data: the output is the same for all of them, so no feature has an effect")
        self.bases[OUTPUT] = Basis(vectors, vectors.T, values, means[OUTPUT], rank)
        for name in reversed(names[:-1]):
            values, vectors, rank = _spectrum(grams[name], self.rtol)
            if rank == 0:
                raise ValueError(f"data: {name!r} is the same for all of them; it has no features")
            whiten, back = vectors / values.sqrt(), values.sqrt()[:, None] * vectors.T
            effect = back @ self._effect(name) @ back.T
            if not bool(effect.abs().max() > 0):
                raise ValueError(f"layers: no gradient arrives at {name!r}: what comes behind it does not depend on it")
            lam, turn, _ = _spectrum(effect, self.rtol)
            c = whiten @ turn * lam.sqrt()
            self.bases[name] = Basis(c, (turn / lam.sqrt()).T @ back, lam, means[name], rank)
        self.bases = {name: self.bases[name] for name in names}
        return self.bases

    def _moments(self, names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
        """Means and covariances in float64; a second pass subtracts the means, so that none is lost to rounding."""
        count: dict[str, int] = dict.fromkeys(names, 0)
        means: dict[str, Tensor] = {}
        for x in self.data:
            for name, value in self.sections.activations(x).items():
                rows = rows_of(value).flatten(0, 1).double()
                means[name] = means.get(name, torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device))
                means[name] += rows.sum(0)
                count[name] += len(rows)
        means = {n: m / count[n] for n, m in means.items()}
        grams = {n: torch.zeros(len(m), len(m), dtype=torch.float64, device=m.device) for n, m in means.items()}
        for x in self.data:
            for name, value in self.sections.activations(x).items():
                rows = rows_of(value).flatten(0, 1).double() - means[name]
                grams[name] += rows.T @ rows
        return means, {n: g / count[n] for n, g in grams.items()}, sum(len(x) for x in self.data)

    def _gradients(self, name: str, x: Tensor) -> Iterator[Tensor]:
        """Chunks `[features of the next cut, samples, positions, width]`: gradients by the activation of `name`."""
        to = OUTPUT if self.variant == "global" else self.sections.following(name)
        held = self.sections.activations(x)[name]
        if self.integration == 1:
            nodes, shares = [1.0], [1.0]
        else:
            points, weights = np.polynomial.legendre.leggauss(5)
            nodes, shares = ((points + 1) / 2).tolist(), (weights / 2).tolist()
        generator = torch.Generator().manual_seed(self.seed)
        state = generator.get_state()
        runs = []
        for node in nodes:
            generator.set_state(state)  # the same combinations at every node
            leaf = (node * held).detach().requires_grad_(True)
            with torch.enable_grad():
                out = self.bases[to].features(self.sections.run(name, leaf, x, to))
                options = {"nbytes": self.nbytes, "probes": self.probes, "generator": generator}
                runs.append([g for (g,) in output_gradients(out, [leaf], **options)])  # type: ignore[arg-type]
        for chunk in zip(*runs, strict=True):
            total = sum(s * g.double() for s, g in zip(shares, chunk, strict=True))
            assert isinstance(total, Tensor)
            yield rows_of(total.flatten(0, 1)).unflatten(0, total.shape[:2])

    def _effect(self, name: str) -> Tensor:
        total: Tensor | float = 0.0
        positions = 0
        for x in self.data:
            for chunk in self._gradients(name, x):
                rows = chunk.flatten(0, 2)
                total = total + rows.T @ rows
                positions = chunk.shape[2]
        assert isinstance(total, Tensor)
        return total / (self.samples * positions)

    def edges(self) -> dict[tuple[str, str], Tensor]:
        """Interactions of neighbouring cuts: `E[i, j] = E_x[(feature_j * d feature_i' / d feature_j)^2]`.

        `{(layer, next): [features of next, features of layer]}`; of sequences and maps, contributions are summed over
        the places they come from. Needs `probes=0`.
        """
        if self.probes or self.variant == "global":
            raise ValueError("probes, variant: edges are between features of neighbours; use probes=0, variant='local'")
        if not self.bases:
            raise ValueError("fit: call it first")
        found = {}
        for name in self.sections.names[:-1]:
            to, basis = self.sections.following(name), self.bases[name]
            total = torch.zeros(self.bases[to].rank, basis.rank, dtype=torch.float64, device=basis.C.device)
            for x in self.data:
                own = basis.features(self.sections.activations(x)[name])
                parts = []
                for chunk in self._gradients(name, x):
                    parts.append(((chunk @ basis.C_pinv.T) * own).sum(2).square().sum(1))
                total += torch.cat(parts).unflatten(0, (-1, self.bases[to].rank)).sum(0)
            found[(name, to)] = total / self.samples
        return found


def _spectrum(gram: Tensor, rtol: float) -> tuple[Tensor, Tensor, int]:
    """Eigenvalues above `rtol` of the largest, from large to small, with their vectors."""
    if not bool(torch.isfinite(gram).all()):
        raise ValueError("data: an activation or a gradient is not finite")
    values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
    keep = values > rtol * values[-1].clamp(min=1e-300)
    return values[keep].flip(0), vectors[:, keep].flip(1), int(keep.sum())
