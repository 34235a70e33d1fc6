"""Which symmetries do data have, and how exactly? Read against a twin that has them and a target that has none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from erlangen.audit.discovery_data import Samples, Task, read_samples
from erlangen.audit.discovery_model import Choice, KernelPredictor, choose
from erlangen.audit.discovery_moves import Mover, canvas
from erlangen.audit.discovery_report import Discovery, GroupReading, Reading
from erlangen.audit.discovery_twins import CrossFitted, no_symmetry_target
from erlangen.groups.base import Group
from erlangen.stats.resample import bootstrap_bca, clopper_pearson

IMAGE_GROUPS = ("C2", "C4", "C8", "SO(2)", "D1", "D8", "Scaling", "T(2)")
SPACE_GROUPS = ("SO(3)", "O(3)", "Scaling")
PLANE_GROUPS = ("C4", "SO(2)", "O(2)", "Scaling")
MIN_SKILL = 0.1


def discover(
    data: Any,
    *,
    groups: Sequence[str | Group] | None = None,
    task: Task = "auto",
    input: Any = None,
    output: Any = "invariant",
    label_column: str | None = None,
    samples: int = 2000,
    tolerance: float = 0.05,
    level: float = 0.95,
    seed: int = 0,
) -> Discovery:
    """Tell for each candidate group whether the data have it: exactly, approximately (how much) or not at all.

    A predictor is fitted to the data as they are, cross-fitted in two halves. `lost` is the share of its skill that goes
    when held-out inputs are moved by random elements. Two more numbers give it meaning, measured in the same way:
    `planted`, on a twin of the data in which every sample was moved by an element of its own, so that the symmetry
    holds by construction (NaN where that leaves nothing to predict); and `broken`, for a target that the motion does
    not leave alone, a random linear function of what it changes most. `holds` is 1 - (lost - planted) / (broken -
    planted), with at most 1 for `broken`. Apart from targets, `told_apart` is how often a classifier knows moved inputs
    from unmoved ones (1/2 where the inputs' distribution is invariant).

    It speaks of the data, not of the world: digits that only ever stand upright do not have rotations.

    Args:
        data: a name, a path (images, .npz, .csv, .parquet), a pair (x, y), x alone, or a data set.
        groups: candidates, as names or groups; by default those that fit the inputs.
        task: "classification", "regression", or "inputs" for the inputs' distribution alone; told by the targets if "auto".
        input: how groups act on an input: "image", "points", "vectors", an irreps string, an `Action`; told by the shape
            if None. Rows of features `[N, F]` are read as F / n vectors of R^n.
        output: how groups act on regression targets; "invariant" unless given.
        label_column: of a table or an .npz file.
        samples: at most this many are used.
        tolerance: the share of skill that may go in an "exact" symmetry.
        level: of the intervals.
        seed: of the halves, the elements and the twins.

    Raises:
        ValueError: bad data, a group that does not act on them, or an argument out of range.
    """
    if not 0 < tolerance < 1 or not 0 < level < 1:
        raise ValueError(f"tolerance, level: must lie between 0 and 1, given {tolerance} and {level}")
    if samples < 60:
        raise ValueError(f"samples: at least 60 are needed, given {samples}")
    found = read_samples(data, task=task, input=input, label_column=label_column, samples=samples, seed=seed)
    if isinstance(groups, str):
        groups = [part.strip() for part in groups.split(",")]
    names = list(groups) if groups is not None else _candidates(found)
    if not names:
        raise ValueError("groups: none given; name at least one, such as 'C8'")
    if found.type == "image":
        found = replace(found, x=canvas(found.x))
    if found.task == "regression":
        found = _standardised(found, output)
    movers = [_mover(group, found, output) for group in names]
    study = _Study(found, tolerance, level, seed)
    return Discovery(
        data=found.name,
        samples=len(found),
        task=found.task,
        readings=tuple(study.read(mover, x) for mover, x in movers),
        skill=study.skill_at_rest(),
        source=data if isinstance(data, str) else None,
        kind="image" if found.type == "image" else str(found.type),
    )


def _standardised(found: Samples, output: Any) -> Samples:
    """Targets of variance 1; centred where they are invariant, as a group that moves them does not keep their mean."""
    assert found.y is not None
    y = found.y / found.y.var(0).sum().sqrt()
    return replace(found, y=y - y.mean(0) if output == "invariant" else y)


def _candidates(found: Samples) -> list[str]:
    if found.type == "image":
        return list(IMAGE_GROUPS)
    width = found.x.shape[-1]
    if isinstance(found.type, str) and found.type in ("points", "vectors"):
        if width % 3 == 0 or width == 3:
            return list(SPACE_GROUPS)
        return list(PLANE_GROUPS) if width % 2 == 0 else ["Scaling"]
    if isinstance(found.type, str):
        return ["SO(3)", "O(3)"]
    raise ValueError("groups: needed for inputs of this type")


def _mover(group: str | Group, found: Samples, output: Any) -> tuple[Mover, Tensor]:
    from erlangen.groups import parse

    parsed = parse(group)
    x = found.x
    if found.type in ("points", "vectors") and x.ndim == 2:
        size = parsed.point_dim or x.shape[-1]
        if x.shape[-1] % size:
            raise ValueError(
                f"groups: {parsed} acts on vectors of {size} components; the {x.shape[-1]} features are no multiple of it"
            )
        x = x.unflatten(-1, (-1, size))
    return Mover(parsed, found.type, x, output=output), x


@dataclass
class _Study:
    found: Samples
    tolerance: float
    level: float
    seed: int
    _rest: dict[tuple[bool, tuple[int, ...]], Any] = field(default_factory=dict)

    def read(self, mover: Mover, x: Tensor) -> GroupReading:
        apart, planted_apart = self._told_apart(mover, x)
        if self.found.task == "inputs":
            return _inputs_only(mover, apart, planted_apart)
        fitted = self._fitted(mover, x)
        lost, by_element, moved_skill = self._lost(mover, x, fitted)
        generator = self._generator(6)
        rest = mover.rest(x, generator)
        moved = mover.moved(x, mover.draw(len(x), generator), generator)
        target = no_symmetry_target(rest, moved, self.found.classes, generator)
        broken, _, _ = self._lost(mover, x, fitted.for_target(target, self.found.classes > 0), invariant=True)
        planted, planted_skill = self._planted(mover, x, fitted.choice)
        skill = fitted.skill
        verdict, why = self._verdict(skill, lost, planted, broken)
        return GroupReading(
            group=mover.group.name,
            verdict=verdict,
            why=why,
            holds=_holds(lost, planted, broken),
            lost=lost,
            planted=planted,
            broken=broken,
            told_apart=apart,
            planted_told_apart=planted_apart,
            rest=skill.value,
            moved=moved_skill,
            planted_rest=planted_skill,
            by_element=by_element,
        )

    def skill_at_rest(self) -> Reading | None:
        """The predictor's skill on unmoved data: the first one fitted."""
        return next(iter(self._rest.values())).skill if self._rest else None

    def _verdict(
        self, skill: Reading, lost: Reading, planted: Reading, broken: Reading
    ) -> tuple[Literal["exact", "approximate", "not at all", "cannot tell"], str]:
        if not skill.low > MIN_SKILL:
            return "cannot tell", f"the targets cannot be predicted from the inputs (skill {skill.value:.2f})"
        if not broken.value > 4 * self.tolerance:
            return "cannot tell", "not even a target without symmetry notices the motion"
        # The twin's true value is 0; it may also be that nothing can be predicted once the symmetry is planted.
        ceiling = 0.0 if math.isnan(planted.high) else min(max(planted.high, 0.0), self.tolerance)
        if lost.high <= ceiling + self.tolerance:
            return "exact", f"moving loses {lost.value:.0%} of the skill, as in the twin where it holds by construction"
        half = 0.5 * min(broken.value, 1.0)
        if lost.value >= half and lost.low > ceiling + self.tolerance:
            return (
                "not at all",
                f"moving loses {lost.value:.0%} of the skill; a target without symmetry loses {broken.value:.0%}",
            )
        if lost.high - lost.low > 0.5:
            return "cannot tell", "too few samples: the interval is too wide"
        return "approximate", f"moving loses {lost.value:.0%} of the skill"

    def _fitted(self, mover: Mover, x: Tensor) -> CrossFitted:
        key = (mover.exact, tuple(x.shape[1:]))
        if key not in self._rest:
            rest = mover.rest(x, self._generator(1))
            self._rest[key] = CrossFitted.make(rest, self.found, self.level, self._generator(2))
        return self._rest[key]  # type: ignore[no-any-return]

    def _lost(
        self, mover: Mover, x: Tensor, fitted: CrossFitted, *, invariant: bool = False
    ) -> tuple[Reading, dict[str, float], float]:
        """Share of the skill lost when moved; the same for each element of a small group; the score when moved."""
        generator = self._generator(3)
        rest, draws = fitted.score, 2
        total = torch.zeros_like(rest)
        per_label: dict[str, list[float]] = {}
        for _ in range(draws):
            g = mover.draw(len(x), generator)
            keeps = invariant or self.found.task == "classification"
            score = fitted.score_of(
                mover.moved(x, g, generator), fitted.truth if keeps else mover.target(fitted.truth, g)
            )
            total += score / draws
            for label, value in zip(mover.labels(g), score.tolist(), strict=False):
                per_label.setdefault(label, []).append(value)
        gained = max(float(rest.mean()) - fitted.base, 1e-9)
        by_element = {
            label: (float(rest.mean()) - sum(values) / len(values)) / gained for label, values in per_label.items()
        }
        lost = _share_lost(rest, total, fitted.base, self.level, generator)
        return lost, dict(sorted(by_element.items())), float(total.mean())

    def _planted(self, mover: Mover, x: Tensor, choice: Choice) -> tuple[Reading, float]:
        """The same measurement on data in which every sample was moved by an element of its own."""
        generator = self._generator(4)
        first, second = (mover.planted(len(x), generator) for _ in range(2))
        truth = [self._planted_target(mover, g) for g in (first, second)]
        at_rest, moved = (mover.moved(x, g, generator) for g in (first, second))
        twin = replace(self.found, x=at_rest, y=truth[0])
        fitted = CrossFitted.make(at_rest, twin, self.level, generator, choice=choice)
        if not fitted.skill.low > MIN_SKILL:
            return Reading(math.nan, math.nan, math.nan), float(fitted.score.mean())
        score = fitted.score_of(moved, truth[1])
        lost = _share_lost(fitted.score, score, fitted.base, self.level, generator)
        return lost, float(fitted.score.mean())

    def _planted_target(self, mover: Mover, g: Any) -> Tensor:
        assert self.found.y is not None
        return self.found.y if self.found.task == "classification" else mover.target(self.found.y, g)

    def _told_apart(self, mover: Mover, x: Tensor) -> tuple[Reading, Reading]:
        """How often moved inputs are known from unmoved ones, for the data and for the planted twin."""
        out = []
        for planted in (False, True):
            generator = self._generator(5)
            order = torch.randperm(len(x), generator=generator)
            if planted:
                before = mover.moved(x, mover.planted(len(x), generator), generator)
                after = mover.moved(x, mover.planted(len(x), generator), generator)
            else:
                before = mover.rest(x, generator)
                after = mover.moved(x, mover.draw(len(x), generator), generator)
            # Every sample appears once, moved or not, so that the classifier cannot recognise it.
            is_moved = torch.arange(len(x)) % 2 == 0
            mixed = torch.where(is_moved[order].view(-1, *[1] * (x.ndim - 1)), after[order], before[order])
            half = len(x) // 2
            sign = is_moved[order].to(torch.float32)[:, None] * 2 - 1
            choice = choose(mixed[:half], sign[:half], is_image=mover.is_image, limit=300)
            model = KernelPredictor(mixed[:half], sign[:half], choice)
            right = int(((model(mixed[half:]) > 0) == (sign[half:] > 0)).sum())
            count = len(x) - half
            out.append(Reading(right / count, *clopper_pearson(right, count, level=self.level)))
        return out[0], out[1]

    def _generator(self, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.seed + stream)


def _share_lost(rest: Tensor, moved: Tensor, base: float, level: float, generator: torch.Generator) -> Reading:
    def share(means: Tensor) -> Tensor:
        return (means[..., 0] - means[..., 1]) / (means[..., 0] - base).clamp_min(1e-6)

    pairs = torch.stack([rest, moved], 1).double()
    value = float(share(pairs.mean(0)))
    low, high = bootstrap_bca(pairs, of_means=share, level=level, generator=generator, resamples=500)
    if math.isnan(low):
        low = high = value
    return Reading(value, low, high)


def _holds(lost: Reading, planted: Reading, broken: Reading) -> Reading:
    start = 0.0 if math.isnan(planted.value) else planted.value
    span = max(min(broken.value, 1.0) - start, 1e-6)  # where more than all is lost, all is what counts

    def part(v: float) -> float:
        return min(max(1 - (v - start) / span, 0.0), 1.0)

    return Reading(part(lost.value), part(lost.high), part(lost.low))


def _inputs_only(mover: Mover, apart: Reading, planted: Reading) -> GroupReading:
    nothing = Reading(math.nan, math.nan, math.nan)
    holds = Reading(*(min(max(2 - 2 * v, 0.0), 1.0) for v in (apart.value, apart.high, apart.low)))
    verdict: Literal["exact", "approximate", "not at all", "cannot tell"]
    if apart.high <= max(planted.high, 0.5) + 0.02 or apart.low <= 0.5:
        verdict, why = "exact", "a classifier cannot tell moved inputs from unmoved ones"
        if apart.high > 0.65:
            verdict, why = "cannot tell", "too few samples to tell moved inputs from unmoved ones"
    elif apart.low >= 0.75:
        verdict, why = "not at all", f"moved inputs are told apart {apart.value:.0%} of the time"
    else:
        verdict, why = "approximate", f"moved inputs are told apart {apart.value:.0%} of the time"
    return GroupReading(
        group=mover.group.name, verdict=verdict, why=why, holds=holds, lost=nothing, planted=nothing, broken=nothing,
        told_apart=apart, planted_told_apart=planted, rest=math.nan, moved=math.nan, planted_rest=math.nan, by_element={},
    )  # fmt: skip
