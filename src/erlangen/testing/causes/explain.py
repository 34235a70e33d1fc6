"""What most often causes a pattern of errors, in plain words, from experiments on the model itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from erlangen.testing import leaves
from erlangen.testing.budget import Budget
from erlangen.testing.causes import ablate
from erlangen.testing.causes.grids import GRID
from erlangen.testing.causes.lab import Lab
from erlangen.testing.causes.points import POINTS
from erlangen.testing.causes.rows import ROWS
from erlangen.testing.elements import grid_elements
from erlangen.testing.measure import Measured, noise_floor
from erlangen.testing.result import CheckResult
from erlangen.testing.session import Session

Tests = tuple[Callable[[Lab], str | None], ...]

MORE = "random layers (dropout, noise, sampling)"  # more may be wrong where this is a cause
ILL = 1e-2
ROUNDED = 3e-6  # errors of float32 arithmetic are below this
TINY = 1e-12  # a relative move of the input that float64 sees and float32 does not


def name_causes(session: Session, result: CheckResult, main: Measured, budget: Budget, *, seed: int) -> list[str]:
    """The likely causes, most specific first; empty for exact models."""
    if result.verdict in ("exact", "round-off", "vacuous"):
        return []
    if main.failures:
        return [f"the model raises on transformed inputs: {main.failures[0]}"]
    lab = Lab(session, result, main, budget, seed=seed)
    found = _first(lab, (_precision, _randomness, _off_grid))
    if found and not found.startswith(MORE):
        return [found]
    causes = [found] if found else []
    return list(dict.fromkeys([*causes, *_of_structure(lab)]))


def _of_structure(lab: Lab) -> list[str]:
    groups: list[Tests] = [(_ties,)]
    if lab.motions & {"shift", "turn"}:
        groups.append(GRID)
    if lab.motions & {"rotation", "reflection", "translation", "scale", "other"}:
        groups.append(POINTS)
    if lab.motions & {"permutation"}:
        groups.append(ROWS)
    causes = []
    for tests in groups:
        found = _first(lab, tests)
        if found:
            causes.append(found)
            if tests == (_ties,):
                return causes
    return causes or [_last_word(lab)]


def _first(lab: Lab, tests: Tests) -> str | None:
    for test in tests:
        with contextlib.suppress(Exception):  # an experiment that cannot be made names no cause
            found = test(lab)
            if found:
                return found
    return None


def _precision(lab: Lab) -> str | None:
    """Is the break no larger than the rounding of float32, inside or in the constants?"""
    result = lab.result
    error = result.error.get("float64")
    if error is None:
        return None
    if result.islands and result.error_lifted is not None and result.error_lifted < 1e-10:
        return f"a {lab.session.island_kind} island: an inner cast loses float64; the symmetry itself is exact"
    if error < ILL and error <= 1e3 * noise_floor(lab.runner, lab.session.args, seed=lab.seed, repeats=2):
        return "rounding is amplified (an ill-conditioned computation): the error is near its rounding floor"
    if error > ROUNDED:
        return None
    if _low_precision_inside(lab):
        return "a float32 island: something inside computes in float32; the error is of the size of its rounding"
    coarser = lab.error_with(ablate.rounded_constants)
    if 30 * error < coarser < 1e5 * error or coarser < error / 30:  # equal constants stay equal when rounded further
        return (
            "constants stored in float32 (weights or buffers that hold the symmetry up to their rounding only): the "
            "symmetry itself is exact"
        )
    return None


def _low_precision_inside(lab: Lab) -> bool:
    """Whether moves of the input far below float32's step change nothing, or change the output by float32's step."""
    steps = []
    for k in range(3):
        lab.seed += 1
        out = leaves.stacked(
            lab.runner(leaves.cast(lab.jittered(TINY * (k + 1)), lab.runner.dtype), seed=lab.noise_seed)
        )
        steps.append(float((out - leaves.stacked(lab.output)).norm()) / max(lab.size, 1e-300))
    return all(step == 0.0 or step > 100 * TINY for step in steps)


def _randomness(lab: Lab) -> str | None:
    if not lab.session.random:
        return None
    fixed = lab.result.error_same_noise or 0.0
    if fixed < 1e-8 or (lab.runner.dtype != _double() and fixed < 1e-4):
        return "random layers (dropout, noise, sampling): randomness, not structure"
    if lab.heals(ablate.without_dropout) or lab.heals(ablate.evaluating):
        return (
            "random layers (dropout in train mode), whose draws are not moved by the group: randomness, not structure"
        )
    return f"{MORE}: their draws are not moved by the group"


def _double() -> object:
    import torch

    return torch.float64


def _off_grid(lab: Lab) -> str | None:
    """Does all error come from elements for which the action has to resample?"""
    action = lab.symmetry.input_action
    is_exact = getattr(action, "is_exact", None)
    if getattr(action, "exact", True) is not False or is_exact is None:
        return None
    exact = [bool(is_exact(d.g)) for d in lab.main.draws]
    moved = [e for e, x, d in zip(lab.main.errors, exact, lab.main.draws, strict=True) if x and d.distance > 0]
    if (not moved and not any(exact)) or not moved:
        moved = [lab.error_of(g) for g in grid_elements(lab.symmetry.group) if bool(is_exact(g))]
    if moved and max(moved) <= 1e-8:
        return "interpolation: exact on the grid's own elements, and off the grid the action itself resamples"
    return None


def _ties(lab: Lab) -> str | None:
    """Does the break vanish when every number moves a little?"""
    if lab.runner.dtype == _double() and lab.heals(args=lab.jittered(1e-3)):
        return "ties: the given inputs have equal distances, values or eigenvalues, and rounding or order decides"
    return None


def _last_word(lab: Lab) -> str:
    if getattr(lab.symmetry.input_action, "exact", True) is False and lab.result.verdict == "approximate":
        return "interpolation: the action resamples, so elements off the grid cannot be exact"
    if "still" in lab.motions and len(lab.motions) == 1:
        return "the given transformation leaves the input alone, and the output is asked to move"
    if _only_the_output_type(lab):
        return "the output moves in a consistent way, only not as its declared type says: check the output type"
    place = lab.result.first_breaking
    if place and "outside" not in place and "after the last" not in place:
        return f"the layer {place} depends on something that the given transformations change"
    return "the output depends on something that the given transformations change (absolute values, positions, order)"


def _only_the_output_type(lab: Lab) -> bool:
    """Whether the output keeps its length under every broken element."""
    size = lab.size
    return all(abs(float(leaves.stacked(lab.moved(d)).norm()) - size) <= 1e-8 * size for d in lab.picks)
