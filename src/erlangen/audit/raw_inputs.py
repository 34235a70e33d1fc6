"""What a probe of the inputs themselves needs, and how many samples would fit if that is too much."""

import torch

from erlangen.audit.budget import Needs, parse_bytes
from erlangen.audit.probe import Context

FIXED = 1 << 26
COPIES = 24  # bytes a value of the rows that are looked at: in float64, centred, and in blocks
KEPT = 8  # bytes a value of the rows that are kept: the sample, and once more while it is put together


def raw_needs(ctx: Context, most: int, *, labels: bool = False) -> Needs:
    """The inputs of all rows, and room to work on `most` of them."""
    values = torch.Size(ctx.input_shape).numel()
    room = parse_bytes(ctx.budget.ram) - FIXED
    fits = max(4, int(0.8 * room / max(1, (COPIES + KEPT) * values)))
    return Needs(
        FIXED + COPIES * min(ctx.rows, most) * values, labels=labels, raw=True, cheaper=f"Budget(samples={fits})"
    )
