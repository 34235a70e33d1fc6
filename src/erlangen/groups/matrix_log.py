"""The principal logarithm of real matrices, defective ones included, in batches."""

import numpy as np
import torch
from torch import Tensor

from erlangen.groups.base import GroupLogError

_NODES = 10


def principal_logarithm(m: Tensor, name: str = "GL") -> Tensor:
    """log m by inverse scaling and squaring, `[*B, n, n]` -> `[*B, n, n]`: square roots until m is near I, then the
    Gauss-Legendre form log(I + X) = Σ w_j X (I + t_j X)⁻¹ of the diagonal Padé approximant.

    N. Higham, "Functions of Matrices", 2008, chapters 6 and 11. Differentiable; needs no eigenvectors, so that shears
    pose no problem.

    Raises:
        GroupLogError: an eigenvalue lies on the closed negative real axis, up to rounding.
    """
    values = torch.linalg.eigvals(m.detach())
    tolerance = 1e2 * torch.finfo(m.dtype).eps ** 0.5
    cut = (values.real <= 0) & (values.imag.abs() <= tolerance * values.abs().amax(-1, keepdim=True))
    if bool(cut.any()):
        raise GroupLogError(f"g: an element of {name} with a negative real eigenvalue has no unique real logarithm")
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    root, count = m, 0
    while count < 40 and float((root.detach() - eye).abs().sum(-1).amax() if root.numel() else 0.0) > 0.25:
        root = _square_root(root, eye)
        count += 1
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    x = root - eye
    out = torch.zeros_like(m)
    for t, w in zip((points + 1) / 2, weights / 2, strict=True):
        out = out + float(w) * torch.linalg.solve(eye + float(t) * x, x)
    return out * 2.0**count


def _square_root(m: Tensor, eye: Tensor) -> Tensor:
    """The product form of the Denman-Beavers iteration: M -> (2 I + M + M⁻¹) / 4, X -> X (I + M⁻¹) / 2."""
    product, root = m, m
    for _ in range(25):
        inverse = torch.linalg.inv(product)
        root = root @ (eye + inverse) / 2
        product = (2 * eye + product + inverse) / 4
        if float((product.detach() - eye).abs().amax() if product.numel() else 0.0) < 10 * torch.finfo(m.dtype).eps:
            break
    return root
