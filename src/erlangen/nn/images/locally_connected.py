"""A convolution without weight sharing: every position has filters of its own."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

Size = int | tuple[int, int]


class LocallyConnected2d(nn.Module):
    """`y[b, o, p] = sum_{c, i, j} w[p, c i j, o] x[b, c, window(p)_{ij}] + bias[p, o]`: local, but not shared.

    `[batch, in_channels, height, width] -> [batch, out_channels, height', width']` for one size of image, with the
    output size of a convolution without dilation. Its weights are those of a convolution times the number of
    positions; where all positions have the same, it is one (`from_conv`).

    Arguments:
        input_size: height and width of the images.
        kernel_size, stride, padding: as in `torch.nn.Conv2d`.

    Raises:
        ValueError: sizes below one, a kernel larger than the padded image, images of another size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        input_size: Size,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.input_size, self.kernel_size = _pair(input_size), _pair(kernel_size)
        self.stride, self.padding = _pair(stride), _pair(padding)
        if (
            min(in_channels, out_channels, *self.input_size, *self.kernel_size, *self.stride) < 1
            or min(self.padding) < 0
        ):
            raise ValueError("channels, input_size, kernel_size, stride, padding: all at least 1, padding at least 0")
        room = [n + 2 * p - k for n, p, k in zip(self.input_size, self.padding, self.kernel_size, strict=True)]
        if min(room) < 0:
            raise ValueError(f"kernel_size: {self.kernel_size} is larger than the padded image of {self.input_size}")
        self.output_size = (room[0] // self.stride[0] + 1, room[1] // self.stride[1] + 1)
        positions, window = math.prod(self.output_size), in_channels * math.prod(self.kernel_size)
        self.weight = nn.Parameter(torch.empty(positions, window, out_channels))
        self.bias = nn.Parameter(torch.empty(positions, 1, out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within `1 / sqrt(fan in)`, as torch has it for convolutions."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, input_size: Size) -> "LocallyConnected2d":
        """The same function as a convolution, on images of one size, from where its positions may part.

        Raises ValueError for groups, dilation, and padding that is not zeros.
        """
        if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise ValueError(f"conv: {conv}; one group, no dilation and a number of zeros for padding are needed")
        made = cls(
            conv.in_channels,
            conv.out_channels,
            input_size=input_size,
            kernel_size=(conv.kernel_size[0], conv.kernel_size[1]),
            stride=(conv.stride[0], conv.stride[1]),
            padding=(int(conv.padding[0]), int(conv.padding[1])),
            bias=conv.bias is not None,
        ).to(conv.weight)
        with torch.no_grad():
            made.weight.copy_(conv.weight.flatten(1).T.expand_as(made.weight))
            if made.bias is not None and conv.bias is not None:
                made.bias.copy_(conv.bias.expand_as(made.bias))
        return made

    @property
    def symmetries(self) -> list[object]:
        """None: every position has its own weights."""
        return []

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out rows columns"]:
        if x.shape[1:] != (self.in_channels, *self.input_size):
            raise ValueError(
                f"x: shape {tuple(x.shape)}; [batch, {self.in_channels}, {self.input_size[0]}, {self.input_size[1]}] "
                "is needed, for the weights belong to positions"
            )
        (height, width), (down, right) = self.kernel_size, self.stride
        if any(self.padding):
            x = nn.functional.pad(x, (self.padding[1], self.padding[1], self.padding[0], self.padding[0]))
        windows = x.unfold(2, height, down).unfold(3, width, right)  # [batch, channels, rows, columns, height, width]
        flat = windows.permute(2, 3, 0, 1, 4, 5).reshape(len(self.weight), x.shape[0], self.weight.shape[1])
        y = flat @ self.weight if self.bias is None else torch.baddbmm(self.bias, flat, self.weight)
        return y.permute(1, 2, 0).reshape(x.shape[0], self.out_channels, *self.output_size)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, input_size={self.input_size}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, bias={self.bias is not None}"
        )


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
