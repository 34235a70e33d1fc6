"""A slow copy of an encoder: the exponential moving average that many objectives learn from."""

import copy
import math
from typing import Any, Literal

import torch
from torch import nn


class EMATeacher(nn.Module):
    """θ_teacher ← α θ_teacher + (1 - α) θ_student after every step, with α constant or rising to 1 by a cosine.

    `α_t = 1 - (1 - α) (1 + cos(π t / T)) / 2` with `schedule="cosine"` over `T = total_steps`. Only parameters are
    averaged, buffers never: the teacher runs in the student's mode, so that batch norm keeps statistics of its own, and
    any other buffer stays as it was when the teacher was made.

    The teacher has no gradients, its state is in `state_dict` and `update` is the only thing that changes it.
    """

    def __init__(
        self,
        student: nn.Module,
        alpha: float = 0.99,
        *,
        schedule: Literal["constant", "cosine"] = "constant",
        total_steps: int | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"alpha: {alpha}; allowed: 0 <= alpha <= 1")
        if schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule: {schedule!r}; allowed: 'constant', 'cosine'")
        if schedule == "cosine" and (total_steps is None or total_steps < 1):
            raise ValueError(f"total_steps: {total_steps}; the cosine schedule needs the number of steps")
        self.alpha, self.schedule, self.total_steps = alpha, schedule, total_steps
        self.module = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    step: torch.Tensor

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The teacher's output, without a graph."""
        with torch.no_grad():
            return self.module(*args, **kwargs)

    @property
    def current_alpha(self) -> float:
        """The α of the next update."""
        if self.schedule == "constant":
            return self.alpha
        assert self.total_steps is not None
        progress = min(int(self.step) / self.total_steps, 1.0)
        return 1 - (1 - self.alpha) * (1 + math.cos(math.pi * progress)) / 2

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """One step towards the student; call it after the optimizer's.

        Raises:
            ValueError: the student's parameters are not the teacher's, by name.
        """
        theirs = dict(student.named_parameters())
        mine = dict(self.module.named_parameters())
        if theirs.keys() != mine.keys():
            odd = ", ".join(sorted(theirs.keys() ^ mine.keys())[:3])
            raise ValueError(f"student: its parameters differ from the teacher's in {odd}; make a new teacher")
        alpha = self.current_alpha
        if alpha < 1:
            names = list(mine)
            torch._foreach_lerp_([mine[n] for n in names], [theirs[n].to(mine[n]) for n in names], 1 - alpha)
        self.step += 1
