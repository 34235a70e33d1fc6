"""Predict which element of a group acted: RotNet for any finite group."""

from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.groups import parse
from erlangen.groups.actions import Action, Image, from_type
from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.elements import map_elem
from erlangen.groups.finite import Cyclic, Dihedral
from erlangen.objectives import functional
from erlangen.objectives.objective import Objective
from erlangen.objectives.terms import LossTerms

MAX_ORDER = 128


@objectives.register("rotnet", summary="which element of a finite group acted on the sample?", paper="arXiv:1803.07728")
class GroupPrediction(Objective):
    """Every sample appears under every element of a finite group, and a linear head says which one acted.

    loss = -(1 / |G|) sum_g log softmax(head(encoder(g . x)))_g. With C4 it is RotNet: S. Gidaris, P. Singh,
    N. Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations", 2018, arXiv:1803.07728. An
    encoder that is invariant under the group stays at log |G|, the loss of guessing.

    Quarter turns and flips move pixels and leave no trace. Other elements interpolate, which blurs, and leave empty
    corners: both would give the answer away. So all copies are cut to the disc that every element keeps, and where the
    number of rotations is a multiple of 4 all copies are turned by half a step more, so that none stays sharp; for
    C8 and D8 all are then blurred alike. For other groups some trace of the interpolation remains.

    Arguments:
        group: a finite group or its name.
        input: what it acts on, as in `erlangen.Symmetry`.

    Raises:
        ValueError: the group is infinite, has more than 128 elements, or cannot act on this input.
    """

    healthy: ClassVar[dict[str, str]] = {
        "group_prediction": "starts near log(order) and falls; staying there means that the encoder is invariant"
    }

    def __init__(self, group: str | Group = "C4", *, input: str = "image") -> None:
        super().__init__()
        parsed = parse(group)
        if not isinstance(parsed, FiniteGroup) or parsed.order is None:
            raise ValueError(f"group: {parsed} is infinite; predict the elements of a finite one such as C4, C8 or D4")
        if not 2 <= parsed.order <= MAX_ORDER:
            raise ValueError(f"group: {parsed} has {parsed.order} elements; allowed: 2 to {MAX_ORDER}")
        self.init_arguments["group"] = str(parsed)
        self.group, self.input, self.order = parsed, input, parsed.order
        self.elements = [map_elem(lambda e, k=k: e[k], parsed.elements()) for k in range(self.order)]
        self.action: Action = from_type(input, parsed)
        self.is_exact = self.action.exact
        if isinstance(self.action, Image) and not self.is_exact:
            self.action, self.elements = _half_step(parsed, self.action, self.elements)
        self.head: nn.Linear | None = None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the head; `num_classes` is not used: the classes are the group's elements."""
        if not self._same_sizes(embedding_dim=embedding_dim):
            self.head = nn.Linear(embedding_dim, self.order)

    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        """Refuse data that the group does not act on, before anything is fitted; the encoder is not looked at."""
        if isinstance(self.action, Image):
            if sample.ndim != 4:
                raise ValueError(
                    f"data: samples of shape {tuple(sample.shape[1:])} are no images, which {self.group} acts on here; "
                    "give images, or another input="
                )
            self._require_square(sample)

    def copies(self, x: Tensor) -> tuple[Tensor, Int[Tensor, " copies"]]:
        """Every element on every sample, `[n, ...] -> [n order, ...]`, and the number of the element of each copy.

        The copies of one sample are adjacent, in the order of `group.elements()`.
        """
        if isinstance(self.action, Image):
            self._require_square(x)
        elements = [map_elem(lambda e: e.to(x.device), g) for g in self.elements]
        out = x.new_empty(len(x), self.order, *x.shape[1:])
        for k, g in enumerate(elements):
            out[:, k] = self.action(g, x)
        if not self.is_exact and isinstance(self.action, Image):
            out = out * self._disc(x)
        return out.flatten(0, 1), torch.arange(self.order, device=x.device).repeat(len(x))

    def _require_square(self, x: Tensor) -> None:
        height, width = x.shape[-2:]
        if height == width:
            return
        turns = self.group.plane_matrix(self.group.elements(), torch.float64)
        if float(turns[..., 0, 1].abs().max()) > 1e-6:
            raise ValueError(f"x: images of {height} x {width} pixels; {self.group} needs square ones (image_size=...)")

    @staticmethod
    def _disc(x: Tensor) -> Tensor:
        side = x.shape[-1]
        line = torch.arange(side, device=x.device) - (side - 1) / 2
        inside = line[:, None].square() + line.square() <= ((side - 1) / 2) ** 2
        return inside.to(x.dtype)

    def _logits(self, encoder: nn.Module, batch: PairBatch) -> tuple[Tensor, Tensor]:
        if self.head is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) before the first batch")
        copies, element = self.copies(batch.x)
        return self.head(encoder(copies)), element

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        return functional.group_prediction(*self._logits(encoder, batch))

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The share of copies whose element is named; chance is 1 / order."""
        logits, element = self._logits(encoder, batch)
        return {"element_accuracy": (logits.argmax(-1) == element).float().mean()}


def _half_step(group: Group, action: Image, elements: list) -> tuple[Image, list]:
    """The same elements followed by half a step of rotation, as odd elements of the group twice as fine."""
    if isinstance(group, Cyclic) and group.n % 4 == 0:
        return Image(Cyclic(2 * group.n)), [2 * k + 1 for k in elements]
    if isinstance(group, Dihedral) and group.n % 4 == 0:
        return Image(Dihedral(2 * group.n)), [(2 * turn + 1, flip) for turn, flip in elements]
    return action, elements
