"""Linear structural equation models: the moments of every environment in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

import torch
from torch import Tensor

from erlangen.audit.invariance.interventions import Interventions, Kind, make_interventions
from erlangen.audit.invariance.moments import EnvironmentMoments


class LinearSEM:
    """`X = B X + eta` with independent noise of mean 0, one node of which is the target.

    `B[i, j]` is the effect of node j on node i. An intervention on s nodes changes s rows of B and the noise there, so
    that with `A = (I - B)^-1` the moments of an environment follow by Woodbury's identity in `O(nodes^2 s)` operations
    instead of `nodes^3`, all environments at once.

    Source of the setting: A. Parulekar, K. Shanmugam, S. Shakkottai, "PAC Generalization via Invariant
    Representations", 2023, arXiv:2205.15196.

    Arguments:
        B: coefficients `[nodes, nodes]` without cycles.
        noise: variances `[nodes]`.
        target: the node to predict.

    Raises:
        ValueError: a cycle, by its nodes; sizes that do not match; a negative variance; a target that is no node.
    """

    def __init__(self, B: Tensor, noise: Tensor, target: int) -> None:
        if B.ndim != 2 or B.shape[0] != B.shape[1]:
            raise ValueError(f"B: shape {tuple(B.shape)}; a square matrix [nodes, nodes] is needed")
        if noise.shape != B.shape[:1]:
            raise ValueError(f"noise: shape {tuple(noise.shape)}; one variance for each of {len(B)} nodes is needed")
        if not bool(torch.isfinite(B).all()) or not bool((noise >= 0).all() and torch.isfinite(noise).all()):
            raise ValueError("B, noise: finite coefficients and finite variances of at least 0 are needed")
        if not 0 <= target < len(B):
            raise ValueError(f"target: {target}; allowed: 0 .. {len(B) - 1}")
        try:
            self.order = tuple(TopologicalSorter({i: self._parents(B, i) for i in range(len(B))}).static_order())
        except CycleError as error:
            cycle = " -> ".join(str(node) for node in error.args[1])
            raise ValueError(f"B: has the cycle {cycle}; the equations must have an order") from None
        self.B, self.noise, self.target = B, noise, target
        identity = torch.eye(len(B), dtype=B.dtype, device=B.device)
        self._solved = torch.linalg.solve(identity - B, identity)
        self._covariance = (self._solved * noise) @ self._solved.T

    @staticmethod
    def _parents(B: Tensor, node: int) -> list[int]:
        return [int(j) for j in B[node].nonzero()]

    @property
    def nodes(self) -> int:
        return len(self.B)

    @property
    def features(self) -> list[int]:
        """All nodes but the target: what a representation may use, in the order of the moments."""
        return [node for node in range(self.nodes) if node != self.target]

    def parents(self, node: int) -> list[int]:
        """The nodes with an effect on this one."""
        return self._parents(self.B, node)

    def descendants(self, node: int) -> list[int]:
        """The nodes on which this one has an effect, directly or not."""
        reached = {node}
        for other in self.order:
            if any(parent in reached for parent in self.parents(other)):
                reached.add(other)
        return sorted(reached - {node})

    def intervene(
        self,
        site: int | Sequence[int],
        kind: Kind,
        value: float | int | Tensor,
        *,
        allow_target: bool = False,
    ) -> Interventions:
        """Environments in which the nodes of `site` are changed.

        "do" fixes a node at `value`, "shift" adds it to the noise, "scale" multiplies the noise's variance and
        "coefficient" all incoming coefficients. `value` is one number, `[environments]` or `[environments, sites]`.

        Raises:
            ValueError: a node that does not exist; the target, unless `allow_target`, because the theory assumes that
                its equation never changes.
        """
        sites = [site] if isinstance(site, int) else list(site)
        for node in sites:
            if not 0 <= node < self.nodes:
                raise ValueError(f"site: {node}; allowed: 0 .. {self.nodes - 1}")
        if self.target in sites and not allow_target:
            raise ValueError(f"site: {self.target} is the target, whose equation must not change; or allow_target=True")
        values = torch.as_tensor(value, dtype=self.B.dtype, device=self.B.device)
        if values.ndim < 2:
            values = values.reshape(-1, 1).expand(-1, len(sites))
        if values.shape[1] != len(sites):
            raise ValueError(f"value: shape {tuple(values.shape)} for {len(sites)} nodes; give [environments, nodes]")
        return make_interventions(sites, kind, values, coefficients=self.B[sites], variance=self.noise[sites])

    def _update(self, env: Interventions) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """`A` at the sites `[nodes, s]`, the changed coefficients `D [e, s, nodes]`, and `K = (I - D A_sites)^-1`."""
        columns = self._solved[:, list(env.sites)]
        if env.rows is None:
            return columns, None, None
        change = env.rows - self.B[list(env.sites)]
        identity = torch.eye(len(env.sites), dtype=self.B.dtype, device=self.B.device)
        return columns, change, torch.linalg.inv(identity - change @ columns)

    def mean_and_covariance(
        self, env: Interventions | None = None, *, nodes: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mean `[environments, n]` and covariance `[environments, n, n]` of some or all nodes.

        With `A' = A + A_S K D A` the covariance is `C + A_S G + (A_S G)^T + A_S H A_S^T` where `G = K D C` and
        `H = K (D C D^T + dV) K^T`: nothing of size `nodes^3`. `env=None` is the model without intervention.
        """
        kept = list(range(self.nodes)) if nodes is None else list(nodes)
        covariance = self._covariance[kept][:, kept]
        if env is None:
            return covariance.new_zeros(1, len(kept)), covariance[None]
        columns, change, inverse = self._update(env)
        rows = columns[kept]
        extra = env.variance - self.noise[list(env.sites)]
        mean = env.mean
        if change is None or inverse is None:
            return mean @ rows.T, covariance + (rows * extra[:, None]) @ rows.T
        crossed = change @ self._covariance
        middle = inverse @ (crossed @ change.mT + torch.diag_embed(extra)) @ inverse.mT
        half = inverse @ crossed[..., kept] + 0.5 * middle @ rows.T
        left = torch.cat([rows.expand(len(env), -1, -1), half.mT], -1)
        right = torch.cat([half, rows.T.expand(len(env), -1, -1)], -2)
        # one pass over the large result instead of three: the sum is bound by memory
        changed = torch.baddbmm(covariance.expand(len(env), -1, -1), left, right)
        return (inverse @ mean[..., None])[..., 0] @ rows.T, changed

    def moments(self, env: Interventions | None = None, *, features: Sequence[int] | None = None) -> EnvironmentMoments:
        """The exact second moments of the target with all other nodes, or with some of them by number."""
        chosen = self.features if features is None else list(features)
        if self.target in chosen:
            raise ValueError(f"features: {self.target} is the target; a representation must not contain it")
        mean, covariance = self.mean_and_covariance(env, nodes=[*chosen, self.target])
        second = covariance + mean[:, :, None] * mean[:, None]
        return EnvironmentMoments(second[:, :-1, :-1], second[:, :-1, -1], second[:, -1, -1])

    def sample(self, n: int, env: Interventions | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Gaussian samples `[environments, n, nodes]`; without an intervention there is one environment."""
        if n < 1:
            raise ValueError(f"n: {n}; at least 1 sample is needed")
        environments = 1 if env is None else len(env)
        options = {"generator": generator, "dtype": self.B.dtype, "device": self.B.device}
        eta = torch.randn(environments, n, self.nodes, **options) * self.noise.sqrt()  # type: ignore[arg-type]
        if env is None:
            return eta @ self._solved.T
        sites = list(env.sites)
        fresh = torch.randn(environments, n, len(sites), **options)  # type: ignore[arg-type]
        eta[..., sites] = env.mean[:, None] + env.variance.sqrt()[:, None] * fresh
        x = eta @ self._solved.T
        columns, change, inverse = self._update(env)
        if change is None or inverse is None:
            return x
        return x + x @ (columns @ inverse @ change).mT

    def __repr__(self) -> str:
        return f"LinearSEM({self.nodes} nodes, {int((self.B != 0).sum())} edges, target {self.target})"
