"""A convolutional encoder whose embedding does not change when the image is rotated or reflected."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import encoders
from erlangen.groups import FiniteGroup, Group
from erlangen.nn.images.conv_encoder import ConvEncoder, smooth_disc, stage_widths
from erlangen.nn.images.filters import num_rotations, plane_group
from erlangen.nn.images.group_conv import GroupConv2d, LazyGroupConv2d
from erlangen.nn.images.regular import GroupBatchNorm2d, GroupPool


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def build(group: str, width: int = 8) -> GroupCNN:
        return GroupCNN(group, width=width, in_channels=1, embedding_dim=6, stages=2)

    # A zero background and no detail finer than the grid: over 20 initialisations the error is 0.011 to 0.028. Narrower
    # encoders have single fields, which one unlucky draw all but switches off, and the relative error with them.

    return [
        Case(build("C4"), (smooth_disc(3, 1, 8, 8),), name="C4, even size"),
        Case(build("D4"), (smooth_disc(3, 1, 9, 9),), name="D4, odd size"),
        Case(build("C8", 32), (smooth_disc(3, 1, 41, 41, sigma=3.0),), name="C8, smooth images", tolerance=0.06),
    ]


class InvariantHead(nn.Module):
    """Averaged regular features -> invariant embedding: a group-equivariant linear map, then a maximum over the group.

    The map is `GroupConv2d` with a 1 x 1 kernel. Taking the maximum after the average over the image keeps the
    orientation of distant parts relative to each other, which a maximum at every pixel forgets, and costs one pixel
    instead of all.
    """

    def __init__(self, group: FiniteGroup, fields: int, embedding_dim: int) -> None:
        super().__init__()
        self.project = GroupConv2d(group, fields, embedding_dim, 1)
        self.pool = GroupPool(group)

    def forward(self, x: Float[Tensor, "batch channels"]) -> Float[Tensor, "batch embedding"]:
        return self.pool(self.project(x[:, :, None, None])).flatten(1)


def disc_weights(height: int, width: int, like: Tensor) -> Float[Tensor, "height width"]:
    """Weights of sum 1, 1 - (r / R)² about the centre and zero outside: an average that turns hardly change.

    R is half a pixel beyond the edge; in an image that is not square the disc is an ellipse.
    """
    y = (torch.arange(height, device=like.device, dtype=like.dtype) - (height - 1) / 2) / ((height + 1) / 2)
    x = (torch.arange(width, device=like.device, dtype=like.dtype) - (width - 1) / 2) / ((width + 1) / 2)
    window = (1 - y[:, None].square() - x.square()).clamp_min(0)
    return window / window.sum()


@encoders.register("group_cnn", cases=_cases, domain="images", paper="arXiv:1602.07576")
class GroupCNN(ConvEncoder):
    """Encoder invariant to the rotations of C_n, or rotations and reflections of D_n: f(g·x) = f(x).

    `[B, C, H, W] -> [B, embedding_dim]`. The same stages as `PlainCNN`, of `GroupConv2d`, `GroupBatchNorm2d` and ReLU;
    then the average over the image (over a soft disc in it for n other than 1, 2, 4) and an invariant head. Exact to
    round-off for C1, C2, C4, D1, D2, D4 at odd and even sizes, in train and eval mode; for C8 and other n exact at the
    multiples of 90 degrees (where the group has them) and approximate between.

    For n other than 1, 2, 4 a turn between right angles costs something. Trained on upright digits only (12 x 12 pixels in a
    border of 2, width 16, 2 stages, 9 epochs), means over 3 seeds, C8 reads 0.91 of the upright and 0.68 of the digits
    turned by 45 degrees right (0.67 to 0.70); with a plain average over the square instead of the disc, whose corners
    leave the image under such a turn, 0.87 and 0.44 (0.23 to 0.55). With 5 x 5 filters: 0.96 and 0.73 (0.58 to 0.87).

    The change of an untrained embedding, as a fraction of its spread over images (sums of 12 waves of at most 0.1 cycles a
    pixel, turned without interpolation): 0.30 at 8 x 8, 0.41 at 28 x 28, 0.17 at 57 x 57; `PlainCNN` has 0.61, 0.61 and
    0.35. `erlangen.check` measures it for a trained one.

    `match="compute"` gives every stage as many channels as `PlainCNN(width)` has, hence about its operations and
    1/order of its parameters; `match="parameters"` gives it sqrt(order) times as many, hence about its parameters and
    order times its operations. `in_channels=None` takes the number of channels from the first batch.

    Raises ValueError for a group that has no regular features on images and for images smaller than the kernel.

    Source: Cohen and Welling, Group equivariant convolutional networks, 2016, arXiv:1602.07576.
    """

    def __init__(
        self,
        group: str | Group = "C8",
        *,
        width: int = 32,
        in_channels: int | None = None,
        embedding_dim: int = 128,
        stages: int = 3,
        kernel_size: int = 3,
        match: Literal["compute", "parameters"] = "compute",
    ) -> None:
        if match not in ("compute", "parameters"):
            raise ValueError(f"match: got {match!r}; allowed are 'compute', 'parameters'")
        resolved = plane_group(group)
        order = int(resolved.order or 1)
        per_field = order if match == "compute" else order**0.5
        options: dict[str, Any] = {"padding": "border", "bias": False}
        parts: list[nn.Module] = []
        previous = 0
        for channels in stage_widths(width, stages):
            fields = max(1, round(channels / per_field))
            if previous:
                first: nn.Module = GroupConv2d(resolved, previous, fields, kernel_size, **options)
            elif in_channels is None:
                first = LazyGroupConv2d(resolved, fields, kernel_size, input="trivial", **options)
            else:
                first = GroupConv2d(resolved, in_channels, fields, kernel_size, input="trivial", **options)
            second = GroupConv2d(resolved, fields, fields, kernel_size, **options)
            norms = GroupBatchNorm2d(resolved, fields), GroupBatchNorm2d(resolved, fields)
            parts.append(nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1], nn.ReLU()))
            previous = fields
        head = InvariantHead(resolved, previous, embedding_dim)
        super().__init__(parts, head, kernel_size=kernel_size, embedding_dim=embedding_dim)
        self.group = resolved
        self.init_arguments = {**getattr(self, "init_arguments", {}), "group": resolved.name}

    @property
    def symmetries(self) -> list[Any]:
        """The embedding is invariant to the group."""
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry(self.group, input="image", output="invariant")]

    def average(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels"]:
        """The mean over the image, weighted towards its centre where the group turns corners out of the square."""
        if 4 % num_rotations(self.group) == 0:
            return super().average(x)
        return (x * disc_weights(x.shape[-2], x.shape[-1], x)).sum((-2, -1))
