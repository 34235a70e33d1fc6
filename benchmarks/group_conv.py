"""`GroupConv2d` beside a plain `F.conv2d` with the same operations: forward and backward, and forward in evaluation.

python benchmarks/group_conv.py [--output group_conv.json] [--repeats 7]
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from erlangen.nn.images import GroupConv2d
from harness import interleave, write_json

SIZES = {28: {4: 4, 8: 2}, 64: {4: 1, 8: 1}}  # image size -> order -> batch


def train_step(layer: nn.Module, x: torch.Tensor) -> None:
    layer.zero_grad()
    layer(x).square().mean().backward()


class Plain(nn.Module):
    """The bare `F.conv2d` that a group convolution becomes once its filter is expanded."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, kernel_size, kernel_size) * 0.02)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


def measure(group: str, fields: int, size: int, kernel_size: int, repeats: int) -> list[dict[str, object]]:
    torch.manual_seed(0)
    ours = GroupConv2d(group, fields, fields, kernel_size)
    channels = fields * ours.order
    plain = Plain(channels, kernel_size)
    batch = SIZES[size][ours.order]
    x = torch.randn(batch, channels, size, size, requires_grad=True)
    rows = []
    for mode in ("train", "eval"):
        ours.train(mode == "train")
        if mode == "train":
            timing = interleave(
                {"plain": lambda: train_step(plain, x), "group": lambda: train_step(ours, x)}, repeats, 1
            )
        else:
            with torch.no_grad():
                timing = interleave({"plain": lambda: plain(x), "group": lambda: ours(x)}, repeats, 1)
        setting = {"group": group, "fields": fields, "channels": channels, "size": size, "batch": batch, "mode": mode}
        rows.append({**setting, "kernel_size": kernel_size, **timing.to_dict()})
        print(
            f"{group} fields={fields} channels={channels} {size}px batch={batch} {mode:5} "
            f"plain {timing.medians['plain'] * 1e3:8.1f} ms  group {timing.medians['group'] * 1e3:8.1f} ms  "
            f"ratio {timing.ratios['group']:.2f}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=None, help="write the measurements to this JSON file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kernel-size", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
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
