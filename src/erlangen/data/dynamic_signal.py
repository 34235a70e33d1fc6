"""A signal that appears at a random place in noise: a task whose symmetry is known exactly."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.finite import Symmetric
from erlangen.groups.symmetry import Symmetry

ORACLE_DRAWS = 200_000
THRESHOLDS = 60


class DynamicSignal:
    """Patches `[n, k, d]` of which one, at a random place, carries `y w`, and labels `y` = +-1, in equal numbers.

    `x_t = y w + sigma xi` at a place t uniform over the k patches, `x_i = sigma xi` elsewhere, with xi standard normal
    and w a unit vector of the seed. The law of (x, y) does not change when patches are permuted (`group`), which a
    network that looks at every patch alike knows and others have to learn.

    Arguments:
        k, d: patches and their dimension.
        sigma: noise; `0.7 / sqrt(k)` by default. The bounds of the paper need it to shrink like that, and numbers of
            samples compare across k only if it does.
        n: samples in `x`, `y`.
        seed: of w and of the samples.

    Source: Lahoti, Karp, Winston, Singh and Li, Role of Locality and Weight Sharing in Image-Based Tasks: A Sample
    Complexity Separation between CNNs, LCNs, and FCNs, 2024, arXiv:2403.15707.
    """

    def __init__(
        self,
        k: int,
        d: int,
        *,
        sigma: float | None = None,
        n: int = 1000,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if k < 1 or d < 1 or n < 1:
            raise ValueError(f"k, d, n: {k}, {d}, {n}; all must be at least 1")
        self.k, self.d, self.seed, self.dtype = k, d, seed, dtype
        self.sigma = 0.7 / k**0.5 if sigma is None else float(sigma)
        if not self.sigma >= 0:
            raise ValueError(f"sigma: {sigma}; must not be negative")
        generator = torch.Generator().manual_seed(seed)
        w = torch.randn(d, generator=generator, dtype=torch.float64)
        self.signal = (w / w.norm()).to(dtype)
        self.x, self.y = self.sample(n, generator=generator)

    def sample(
        self, n: int, *, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "n k d"], Float[Tensor, " n"]]:
        """Further samples; as many of either label, give or take the one of an odd number."""
        y = torch.ones(n, dtype=self.dtype)
        y[: n // 2] = -1
        if n % 2:
            y[-1] = 2 * torch.randint(2, (1,), generator=generator).item() - 1
        y = y[torch.randperm(n, generator=generator)]
        x = self.sigma * torch.randn(n, self.k, self.d, generator=generator, dtype=self.dtype)
        place = torch.randint(self.k, (n,), generator=generator)
        x[torch.arange(n), place] += y[:, None] * self.signal
        return x, y

    @property
    def group(self) -> Symmetric:
        """The permutations of the patches."""
        return Symmetric(self.k)

    @property
    def symmetry(self) -> Symmetry:
        """What a classifier should respect: no change when patches, the rows of x, are permuted."""
        return Symmetry(f"S({self.k})", input="rows", output="invariant")

    def oracle_accuracy(self, *, bayes: bool = False, draws: int = ORACLE_DRAWS) -> float:
        """What a classifier reaches that knows w, by simulation of the k numbers `w . x_i`.

        By default the best network of the paper's form, `sign(sum_i phi_b(w . x_i))` with the soft threshold
        `phi_b(z) = relu(z - b) - relu(-z - b)` at its best b; with `bayes=True` the likelihood ratio, which no
        classifier beats. The standard error is below 0.0012 at 200,000 draws.
        """
        if self.sigma == 0:
            return 1.0
        generator = torch.Generator().manual_seed(self.seed + 1)
        z = self.sigma * torch.randn(draws, self.k, generator=generator)
        z[:, 0] += 1  # the place and, by symmetry, the sign do not matter
        if bayes:
            margin = (z / self.sigma**2).logsumexp(1) - (-z / self.sigma**2).logsumexp(1)
            return float((margin > 0).float().mean())
        best = 0.0
        for b in torch.linspace(0, 1.2, THRESHOLDS):
            total = ((z - b).relu() - (-z - b).relu()).sum(1)
            best = max(best, float(((total > 0).float() + 0.5 * (total == 0)).mean()))
        return best

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"DynamicSignal(k={self.k}, d={self.d}, sigma={self.sigma:.3g}, n={len(self)}, seed={self.seed})"
