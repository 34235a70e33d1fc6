"""How many random directions of its weights the architecture needs to learn these labels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Needs
from erlangen.audit.collect import as_embedding
from erlangen.audit.finding import Finding
from erlangen.audit.landscape.intrinsic import intrinsic_dimension
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.nn.tap import untrained_twin

LEAST_ROWS = 60


class _WithHead(nn.Module):
    def __init__(self, encoder: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(as_embedding(self.encoder(x)))


@register(
    "landscape",
    summary="random directions of weight space that training needs to reach 90 % of the direct score",
    paper="arXiv:1804.08838",
)
class Landscape(Probe):
    """The intrinsic dimension of the objective landscape of the audited architecture, trained anew with a linear head.

    Copies with fresh weights are trained on the kept inputs (`Budget(orbit_samples=...)` of them) in Fastfood subspaces
    of several dimensions, all at once, and judged on a quarter of those inputs. The number is `info`: it describes the
    architecture with the task, and no threshold for it is defensible.

    Arguments:
        dims: to try; by default five in a geometric sequence from 8 to 2,048 or the number of weights.
        seeds, steps: as in `intrinsic_dimension`.
    """

    name = "landscape"

    def __init__(self, dims: Sequence[int] | None = None, *, seeds: int = 2, steps: int = 150) -> None:
        self.dims, self.seeds, self.steps = dims, seeds, steps

    def needs(self, ctx: Context) -> Needs:
        weights = _size(ctx.network) if ctx.network is not None else 1
        full = 1 << max(0, weights - 1).bit_length()
        members = self.seeds * (len(self.dims) if self.dims is not None else 5)
        activations = 64 * (sum(ctx.dimensions.values()) + torch.Size(ctx.input_shape).numel())
        return Needs(
            members * (60 * full + 16 * activations),
            labels=True,
            cheaper="Landscape(dims=[...], seeds=1), or a smaller model",
        )

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected
        label = held.label[held.input_rows]
        rows = (label >= 0).nonzero().squeeze(1)
        if len(rows) < LEAST_ROWS or len(label[rows].unique()) < 2:
            raise NotApplicable(f"needs at least {LEAST_ROWS} labelled inputs of two classes")
        x, y = held.inputs[rows].float(), label[rows]
        weights = _size(ctx.model)
        if weights == 0:
            raise NotApplicable("the model has no weights to train")
        width = held.embedding.shape[1]
        number = iter(range(ctx.seed, ctx.seed + self.seeds))

        def fresh() -> nn.Module:
            encoder = untrained_twin(ctx.model, next(number)).cpu().float()
            for parameter in encoder.parameters():
                parameter.requires_grad_(parameter.is_floating_point())
            return _WithHead(encoder, width, ctx.num_classes)

        largest = min(2048, weights)
        dims = self.dims or sorted({round(min(8, largest) * (largest / min(8, largest)) ** (i / 4)) for i in range(5)})
        found = intrinsic_dimension(
            fresh,
            (x, y),
            dims=dims,
            seeds=self.seeds,
            steps=self.steps,
            rates=(1.0, 3.0),
            batch_size=64,
            level=ctx.level,
            seed=ctx.seed,
        )
        return [found]


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.is_floating_point())
