"""`GroupConv2d` beside escnn's `R2Conv` (regular to regular) and a plain `F.conv2d` with the same operations.

python benchmarks/group_conv.py [--output group_conv.json] [--repeats 7]

Training is forward and backward; in evaluation all three convolve with a filter that is expanded once. escnn needs an
environment of its own (`environments.toml`); where it is missing, the plain convolution is the reference.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from erlangen.nn.images import GroupConv2d
from harness import interleave, make_parser, write_json

SIZES = {28: {4: 4, 8: 2}, 64: {4: 1, 8: 1}}  # image size -> order -> batch


def train_step(layer: nn.Module, x: torch.Tensor) -> None:
    layer.zero_grad()
    layer(x).square().mean().backward()


def evaluate(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return layer(x)


class Plain(nn.Module):
    """The bare `F.conv2d` that a group convolution becomes once its filter is expanded."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, kernel_size, kernel_size) * 0.02)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


def peer(order: int, fields: int, kernel_size: int) -> tuple[nn.Module, object] | None:
    """escnn's layer with as many regular fields and its type; None where escnn is not installed."""
    try:
        from escnn import gspaces
        from escnn import nn as layers
    except ImportError:
        return None
    plane = gspaces.rot2dOnR2(order)
    kind = layers.FieldType(plane, [plane.regular_repr] * fields)
    return layers.R2Conv(kind, kind, kernel_size, padding=kernel_size // 2), kind


def peer_step(layer: nn.Module, kind: object, x: torch.Tensor, *, train: bool) -> None:
    from escnn.nn import GeometricTensor

    if not train:
        layer(GeometricTensor(x, kind))
        return
    layer.zero_grad()
    layer(GeometricTensor(x, kind)).tensor.square().mean().backward()


def measure(group: str, fields: int, size: int, kernel_size: int, repeats: int) -> list[dict[str, object]]:
    torch.manual_seed(0)
    ours = GroupConv2d(group, fields, fields, kernel_size)
    channels = fields * ours.order
    plain = Plain(channels, kernel_size)
    batch = SIZES[size][ours.order]
    x = torch.randn(batch, channels, size, size, requires_grad=True)
    theirs = peer(ours.order, fields, kernel_size)
    rows: list[dict[str, object]] = []
    for mode in ("train", "eval"):
        train = mode == "train"
        cases: dict[str, Callable[[], object]] = {}
        if theirs is not None:
            theirs[0].train(train)
            cases["escnn"] = partial(peer_step, *theirs, x, train=train)
        ours.train(train)
        cases["plain conv2d"] = partial(train_step if train else evaluate, plain, x)
        cases["GroupConv2d"] = partial(train_step if train else evaluate, ours, x)
        with torch.set_grad_enabled(train):
            timing = interleave(cases, repeats, 1)
        flops = 2 * batch * size**2 * channels**2 * kernel_size**2 * (3 if train else 1)
        setting = {"group": group, "fields": fields, "size": size, "batch": batch, "mode": mode, "kernel": kernel_size}
        rows.append({**setting, "flops": flops, **timing.to_dict()})
        print(setting, {name: round(value, 2) for name, value in timing.ratios.items()}, flush=True)
    return rows


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--kernel-size", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, object]] = []
    for group in ("C4", "C8"):
        for fields in (32, 64):
            for size in SIZES:
                rows += measure(group, fields, size, options.kernel_size, options.repeats)
    write_json(options.output, rows, benchmark="GroupConv2d against F.conv2d with the same operations")


if __name__ == "__main__":
    main()
