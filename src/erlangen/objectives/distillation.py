"""One network that reproduces several: distillation with a head for each teacher."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, kl_div

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.objectives.frozen_encoder import described, frozen
from erlangen.objectives.objective import Objective
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.terms import LossTerms

Mode = Literal["features", "logits"]


@at_least_single
def distillation(
    student: Float[Tensor, "batch dim"],
    teacher: Float[Tensor, "batch dim"],
    *,
    mode: Mode = "features",
    temperature: float | int = 1.0,
) -> Float[Tensor, ""]:
    """How far a student's output is from its teacher's, averaged over the batch.

    "features": `1 - cos(student, teacher)`, blind to the teacher's scale. "logits": `T^2 KL(softmax(teacher / T) ||
    softmax(student / T))`, G. Hinton et al., "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.
    """
    if mode == "features":
        return (1 - cosine_similarity(student, teacher, dim=1)).mean()
    if mode != "logits":
        raise ValueError(f"mode: {mode!r}; allowed: 'features', 'logits'")
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature}; must be above 0")
    own, wanted = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    return temperature**2 * kl_div(own, wanted, reduction="batchmean", log_target=True)


@objectives.register(
    "multi_teacher_distillation",
    summary="one encoder from which linear heads reproduce several frozen ones",
    paper="arXiv:2212.07346",
)
class MultiTeacherDistillation(Objective):
    """`(1 / n) sum_i D(head_i(encoder(x)), teacher_i(x))` with a linear head for each frozen teacher.

    The way to a single network that is as rich as a concatenation: J. Zhang, L. Bottou, "Learning useful
    representations for shifting tasks and distributions", 2023, arXiv:2212.07346. The teachers are part of the
    objective's state. They take the same raw samples as the run's encoder, as `run.encoder` does.

    Arguments:
        teachers: frozen modules `[batch, ...] -> [batch, dim]`, in evaluation mode; from a shell, folders of runs.
        mode: compare directions of features, or distributions of logits.
        temperature: of the logits.
        cache: keep what the teachers said about each sample by its index; only where a sample looks the same every
            time, so not with random views.

    Raises:
        ValueError: no teacher, or a mode or temperature that does not exist.
    """

    healthy: ClassVar[dict[str, str]] = {
        "distillation": "falls; staying near 1 (features) means that the student cannot express its teachers"
    }

    def __init__(
        self,
        teachers: Sequence[nn.Module | Mapping[str, Any]] = (),
        *,
        mode: Mode = "features",
        temperature: float | int = 1.0,
        cache: bool = False,
    ) -> None:
        super().__init__()
        if len(teachers) == 0:
            raise ValueError(
                "teachers: none given; give fitted encoders, as `erlangen.load(RUN).encoder` (from a shell: "
                "--objective_args.teachers RUN)"
            )
        if mode not in ("features", "logits"):
            raise ValueError(f"mode: {mode!r}; allowed: 'features', 'logits'")
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature}; must be above 0")
        self.init_arguments["teachers"] = [described(teacher) for teacher in teachers]
        self.teachers = nn.ModuleList(frozen(teacher) for teacher in teachers)
        self.mode, self.temperature, self.cache = mode, temperature, cache
        self.heads: nn.ModuleList | None = None
        self._dim = 0
        self._said: list[Tensor] = []
        self._known = torch.zeros(0, dtype=torch.bool)

    def train(self, mode: bool = True) -> "MultiTeacherDistillation":
        """The teachers stay in evaluation mode."""
        super().train(mode)
        self.teachers.eval()
        return self

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Remember the size; the heads come with `attach`, when the teachers' sizes are seen."""
        self._same_sizes(embedding_dim=embedding_dim)
        self._dim = embedding_dim

    @torch.no_grad()
    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        """Create a head for each teacher."""
        if self.heads is None:
            sizes = [teacher(sample).shape[1] for teacher in self.teachers]
            self.heads = nn.ModuleList(nn.Linear(self._dim, size) for size in sizes).to(sample.device)

    @torch.no_grad()
    def targets(self, batch: PairBatch) -> list[Tensor]:
        """What each teacher says; asked once a sample with `cache`."""
        if not self.cache or batch.index is None or not self.training:  # held-out samples are counted from 0 too
            return [teacher(batch.x) for teacher in self.teachers]
        index = batch.index.cpu()
        self._grow(int(index.max()) + 1, batch.x)
        new = ~self._known[index]
        if bool(new.any()):
            for said, teacher in zip(self._said, self.teachers, strict=True):
                said[index[new]] = teacher(batch.x[new.to(batch.x.device)]).to(said)
            self._known[index[new]] = True
        return [said[index].to(batch.x) for said in self._said]

    def _grow(self, count: int, x: Tensor) -> None:
        if not self._said:
            self._said = [t(x[:1]).new_zeros(0, head.out_features).cpu() for t, head in self._pairs()]
        missing = count - len(self._known)
        if missing > 0:
            missing = max(missing, len(self._known))
            self._known = torch.cat([self._known, torch.zeros(missing, dtype=torch.bool)])
            self._said = [torch.cat([said, said.new_zeros(missing, said.shape[1])]) for said in self._said]

    def _pairs(self) -> list[tuple[nn.Module, nn.Linear]]:
        if self.heads is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) and attach(...) before the first batch")
        return list(zip(self.teachers, self.heads, strict=True))  # type: ignore[arg-type]

    def _each(self, encoder: nn.Module, batch: PairBatch) -> list[Tensor]:
        heads = [head for _, head in self._pairs()]
        embedding = encoder(batch.x)
        return [
            distillation(head(embedding), target, mode=self.mode, temperature=self.temperature)
            for head, target in zip(heads, self.targets(batch), strict=True)
        ]

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        return LossTerms({"distillation": torch.stack(self._each(encoder, batch)).mean()})

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The distance to each teacher."""
        return {f"teacher_{number}": value for number, value in enumerate(self._each(encoder, batch))}
