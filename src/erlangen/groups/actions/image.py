"""Symmetries of the plane on images: exact where pixels go to pixels, resampled elsewhere."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from erlangen.groups.actions.base import Action, lead_shape
from erlangen.groups.actions.interpolate import sample_bicubic
from erlangen.groups.base import Group

_SNAP = 1e-6


class Image(Action):
    """A group of the plane on images `[..., H, W]`: (g·f)(u) = ρ(g) f(g⁻¹ u), about the image's centre.

    Columns run along x to the right, rows along -y, so that a turn by 90° is `torch.rot90(img, 1, (-2, -1))`. Shifts
    are in pixels. Quarter turns, flips and whole-pixel shifts move pixels and are exact (quarter turns of a W x H
    image where W - H is even); everything else interpolates, and pixels from outside are zero.

    Args:
        group: C_n, D_n, SO(2), O(2), SE(2), E(2), T(2) or Scaling.
        mode: the interpolation; "bicubic" is third-order (Keys), unlike that of `grid_sample`.
        channels: "scalar": channels are left alone; "vector": `[..., 2, H, W]` holds the (x, y) components of a
            vector field, which turn with the plane.
    """

    def __init__(
        self,
        group: Group,
        *,
        mode: Literal["bilinear", "bicubic", "nearest"] = "bilinear",
        channels: Literal["scalar", "vector"] = "scalar",
    ) -> None:
        if not group.acts_on_points or group.point_dim not in (None, 2):
            raise ValueError(
                f"group: {group} does not act on image; C_n, D_n, SO(2), O(2), SE(2), E(2), T(2) and Scaling do"
            )
        if mode not in ("bilinear", "bicubic", "nearest"):
            raise ValueError(f"mode: expected 'bilinear', 'bicubic' or 'nearest', given {mode!r}")
        if channels not in ("scalar", "vector"):
            raise ValueError(f"channels: expected 'scalar' or 'vector', given {channels!r}")
        self.group: Group = group
        self.mode = mode
        self.channels = channels
        self.exact = bool(getattr(group, "n", 0) in (1, 2, 4)) and group.name[:1] in "CD"

    def is_exact(self, g: Any) -> Tensor:
        """Which elements move pixels to pixels (of a square image), bool `[*B]`."""
        return self._pixel_exact(*self._affine(g), 1, 1)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        if x.ndim < 2:
            raise ValueError(f"x: an image is [..., H, W], given shape {tuple(x.shape)}")
        matrix, shift = self._affine(g)
        height, width = x.shape[-2:]
        exact = self._pixel_exact(matrix, shift, height, width)
        if bool(exact.all()):
            moved = self._gather(x, matrix, shift)
        elif not bool(exact.any()):
            moved = self._resample(x, matrix, shift)
        else:
            lead = lead_shape(tuple(exact.shape), x, 2, repr(self))
            chosen = exact.to(x.device).reshape(*lead, 1, 1)
            keep = exact[..., None, None].to(matrix.dtype)
            eye = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
            only_exact = self._gather(x, keep * matrix + (1 - keep) * eye, keep[..., 0] * shift)
            moved = torch.where(chosen, only_exact, self._resample(x, matrix, shift))
        if self.channels == "vector":
            moved = self._turn_channels(moved, matrix)
        return moved

    def valid_mask(self, g: Any, x: Tensor) -> Tensor | None:
        """bool `[*B, 1, H, W]`: pixels whose preimage lies inside the image; where interpolation was needed for
        anything but a shift, also inside the inscribed disc. None if that is every pixel."""
        matrix, shift = self._affine(g)
        height, width = x.shape[-2:]
        source = self._source(matrix, shift, height, width)
        exact = self._pixel_exact(matrix, shift, height, width)[..., None, None]
        limit = torch.tensor([width - 1.0, height - 1.0], dtype=source.dtype, device=source.device)
        margin = torch.where(exact, 0.0, 2.0 if self.mode == "bicubic" else 0.0)[..., None]
        inside = (source.abs() <= limit - margin + 1e-5).all(-1)
        shift_only = _is_identity(matrix)[..., None, None]
        radius = min(height, width) - 1.0
        in_disc = (source.norm(dim=-1) <= radius) & (self._target(height, width, source).norm(dim=-1) <= radius)
        mask = (inside & (in_disc | exact | shift_only))[..., None, :, :]
        return None if bool(mask.all()) else mask.to(x.device)

    def _affine(self, g: Any) -> tuple[Tensor, Tensor]:
        matrix = self.group.plane_matrix(g, torch.float64)
        shift = self.group.point_translation(g, torch.float64)
        return matrix, matrix.new_zeros(matrix.shape[:-1]) if shift is None else shift

    @staticmethod
    def _pixel_exact(matrix: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
        whole = (matrix - matrix.round()).abs().amax((-2, -1)) < _SNAP
        signed = (matrix.round().abs().sum(-1) == 1).all(-1) & (matrix.round().abs().sum(-2) == 1).all(-1)
        moves = (shift - shift.round()).abs().amax(-1) < _SNAP
        swaps = matrix[..., 0, 1].abs() > 0.5
        return whole & signed & moves & (~swaps | ((height - width) % 2 == 0))

    @staticmethod
    def _target(height: int, width: int, like: Tensor) -> Tensor:
        """Twice the (x, y) place of every pixel, `[H, W, 2]`: whole numbers, so that exact maps stay exact."""
        x = 2 * torch.arange(width, dtype=like.dtype, device=like.device) - (width - 1)
        y = (height - 1) - 2 * torch.arange(height, dtype=like.dtype, device=like.device)
        return torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), -1)

    def _source(self, matrix: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
        """Where every pixel of the result comes from, in the units of `_target`, `[*B, H, W, 2]`."""
        target = self._target(height, width, matrix)
        back = torch.linalg.inv(matrix)[..., None, :, :]
        return (target - 2 * shift[..., None, None, :]) @ back.mT

    def _gather(self, x: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        source = self._source(matrix.round(), shift.round(), height, width)
        column = ((source[..., 0] + (width - 1)) / 2).round().long()
        row = (((height - 1) - source[..., 1]) / 2).round().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(-2).to(x.device)
        lead = lead_shape(tuple(matrix.shape[:-2]), x, 2, repr(self))
        flat = x.flatten(-2)
        if place.ndim == 1:
            moved = flat.index_select(-1, place)
        else:
            place = place.reshape(*lead, height * width)
            shape = torch.broadcast_shapes(place.shape, flat.shape)
            moved = torch.gather(flat.expand(shape), -1, place.expand(shape))
        moved = moved.unflatten(-1, (height, width))
        if bool(inside.all()):
            return moved
        return moved * inside.to(x.device).reshape(*lead, height, width).to(x.dtype)

    def _resample(self, x: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        batch = tuple(matrix.shape[:-2])
        lead_shape(batch, x, 2, repr(self))
        source = self._source(matrix, shift, height, width)
        full = torch.broadcast_shapes(batch, x.shape[: len(batch)])
        work = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        images = work.expand(*full, *x.shape[len(batch) :])
        count = max(1, int(torch.Size(full).numel()))
        source = source.expand(*full, height, width, 2).reshape(count, height, width, 2).to(work)
        flat = images.reshape(count, -1, height, width)
        if self.mode == "bicubic":
            column, row = (source[..., 0] + (width - 1)) / 2, ((height - 1) - source[..., 1]) / 2
            moved = sample_bicubic(flat, column, row)
        else:
            grid = source / torch.tensor([width, -height], dtype=source.dtype, device=source.device)
            moved = F.grid_sample(flat, grid, mode=self.mode, padding_mode="zeros", align_corners=False)
        moved = moved.reshape(images.shape)
        return moved if x.is_floating_point() else moved.round().to(x.dtype)

    def _turn_channels(self, x: Tensor, matrix: Tensor) -> Tensor:
        if x.ndim < 3 or x.shape[-3] != 2:
            raise ValueError(f"x: a vector field is [..., 2, H, W], given shape {tuple(x.shape)}")
        lead = lead_shape(tuple(matrix.shape[:-2]), x, 3, repr(self))
        return torch.einsum("...ij,...jhw->...ihw", matrix.to(x).reshape(*lead, 2, 2), x)


def _is_identity(matrix: Tensor) -> Tensor:
    eye = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
    return (matrix - eye).abs().amax((-2, -1)) < _SNAP
