"""The frame of SO(n), O(n), SE(n) and E(n): principal axes with all their signs."""

import torch
from torch import Tensor

from erlangen.groups.affine import SE, E
from erlangen.groups.base import Group
from erlangen.groups.frames.base import ON_DEGENERATE, FrameBatch, OnDegenerate, choice, first_sample
from erlangen.groups.frames.principal import Principal, homogeneous, principal, signed
from erlangen.groups.names import parse
from erlangen.groups.orthogonal import SO, O

MIN_GAP = 1e-6


class PCAFrame:
    """Principal axes of a cloud with all signs, `{([α1 v1, ..., αn vn], t) : αi = ±1}` with t the centre.

    `[*B, N, n]` -> elements `[*B, F, n, n]` (SO, O: no centring) or `[*B, F, n+1, n+1]` (SE, E), in the precision of the
    input, computed in float64. F = 2^n, and 2^(n-1) for SO(n) and SE(n), where only the sign choices of determinant one
    are kept: all of them would give the symmetry of O(n) to a function of SO(n). Padded points are left out by `mask`
    `[*B, N]`, True for points.

    The axes are not defined where two variances agree within `min_gap` of their sum (lines in space, regular
    polytopes, points that all agree); `on_degenerate` says what happens to such a sample:
        "raise": a ValueError that names it.
        "perturb": the covariance is shaken by a rotation-invariant random matrix, so that a random one of the
            infinitely many frames comes out: symmetric in distribution, exact in expectation.
        "weighted": the finite `WeightedFrame` of the sample, exact.

    Frame Averaging for Invariant and Equivariant Network Design (Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman,
    2022, arXiv 2110.03336). The released code detaches the axes; here `differentiable=True` sends gradients through.
    """

    continuous = False

    def __init__(
        self,
        group: str | Group,
        *,
        on_degenerate: OnDegenerate = "raise",
        differentiable: bool = True,
        min_gap: float = MIN_GAP,
        generator: torch.Generator | None = None,
    ) -> None:
        choice("on_degenerate", on_degenerate, ON_DEGENERATE)
        self.group = orthogonal_group(group)
        self.affine, self.reflections = isinstance(self.group, (SE, E)), type(self.group) in (O, E)
        self.n: int = self.group.point_dim  # type: ignore[assignment]
        self.on_degenerate = on_degenerate
        self.differentiable = differentiable
        self.min_gap = min_gap
        self.generator = generator
        self.exact = on_degenerate != "perturb"
        self.size: int | None = None if on_degenerate == "weighted" else 2 ** (self.n - (not self.reflections))

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> FrameBatch:
        found = self._principal(x, mask)
        degenerate = found.gap.detach() < self.min_gap
        if not bool(degenerate.any()):
            return self._all_signs(found.axes, found.centre).to(x.dtype)
        if self.on_degenerate == "raise":
            raise ValueError(
                f"x: the principal axes of sample {first_sample(degenerate)} are not defined (two variances agree); "
                "use on_degenerate='weighted' or 'perturb', add a little noise, or a backbone symmetric by construction"
            )
        if self.on_degenerate == "perturb":
            return self._all_signs(self._shaken(found, degenerate), found.centre).to(x.dtype)
        return self._with_weighted(x, mask, found, degenerate).to(x.dtype)

    def margin(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The smallest difference between neighbouring variances over their sum, `[*B]`."""
        return self._principal(x, mask).gap.detach().to(x.dtype)

    def _principal(self, x: Tensor, mask: Tensor | None) -> Principal:
        if x.shape[-1] != self.n:
            raise ValueError(f"x: {self.group} moves points of {self.n} coordinates, given shape {tuple(x.shape)}")
        return principal(x, mask, center=self.affine, differentiable=self.differentiable)

    def _all_signs(self, axes: Tensor, centre: Tensor) -> FrameBatch:
        rotation = signed(axes, reflections=self.reflections)
        elements = homogeneous(rotation, centre[..., None, :]) if self.affine else rotation
        return FrameBatch(elements, rotation.new_full(rotation.shape[:-2], 1 / rotation.shape[-3]))

    def _shaken(self, found: Principal, degenerate: Tensor) -> Tensor:
        shape = found.covariance.shape
        source = self.generator.device if self.generator is not None else torch.device("cpu")
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float64, device=source).to(found.axes.device)
        shaken = torch.linalg.eigh(found.covariance.detach() + 100 * self.min_gap * (noise + noise.mT)).eigenvectors
        return torch.where(degenerate[..., None, None], shaken.flip(-1), found.axes)

    def _with_weighted(self, x: Tensor, mask: Tensor | None, found: Principal, degenerate: Tensor) -> FrameBatch:
        from erlangen.groups.frames.weighted import WeightedFrame

        usual = self._all_signs(found.axes, found.centre)
        fallback = WeightedFrame(self.group, differentiable=self.differentiable)
        special = fallback(x[degenerate].double(), None if mask is None else mask[degenerate])
        size = max(usual.size, special.size)
        usual, special = padded(usual, size), padded(special, size)
        elements = usual.elements.index_put((degenerate,), special.elements)
        return FrameBatch(elements, usual.weights.index_put((degenerate,), special.weights))

    def __repr__(self) -> str:
        return f"PCAFrame({self.group}, on_degenerate={self.on_degenerate!r})"


def padded(found: FrameBatch, size: int) -> FrameBatch:
    """A frame of matrices filled up to `size` elements with copies of the first, of weight zero."""
    missing = size - found.size
    filler = found.elements[..., :1, :, :].expand(*found.weights.shape[:-1], missing, *found.elements.shape[-2:])
    weights = torch.nn.functional.pad(found.weights, (0, missing))
    return FrameBatch(torch.cat([found.elements, filler], -3), weights)


def orthogonal_group(group: str | Group) -> Group:
    """SO(n), O(n), SE(n) or E(n); raises ValueError for any other."""
    parsed = parse(group)
    if type(parsed) not in (SO, O, SE, E):
        raise ValueError(f"group: {parsed}; frames from the shape of a cloud exist for SO(n), O(n), SE(n) and E(n)")
    return parsed
