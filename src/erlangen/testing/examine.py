"""Is my model symmetric? One verdict for any callable, with the numbers, the place and the cause behind it."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import isolate, leaves
from erlangen.testing.axioms import check_actions
from erlangen.testing.budget import Budget
from erlangen.testing.causes.explain import name_causes
from erlangen.testing.elements import draw_elements, part_names
from erlangen.testing.locate import first_breaking
from erlangen.testing.measure import Measured, measure, move_input, noise_floor, worst_of_parts
from erlangen.testing.result import CheckResult, Worst
from erlangen.testing.runner import CheckError, first_line
from erlangen.testing.scenarios import Scenarios
from erlangen.testing.session import Session, find_islands, open_session
from erlangen.testing.vacuous import why_vacuous
from erlangen.testing.verdict import Thresholds, judge

WORST_OF_ROUNDING = 0.3  # a float64 error above this is not made by an inner cast to a lower precision


def check(
    model: Any,
    symmetry: Symmetry,
    inputs: Any,
    *,
    n_elements: int = 12,
    radius: float | None = None,
    seed: int = 0,
    thresholds: Thresholds = Thresholds(),
    risks: bool = True,
    locate: bool = True,
    stochastic: bool = False,
    axioms: bool = True,
    seconds: int | float = 4.0,
) -> CheckResult:
    """Whether `f(g·x) = g·f(x)`, for any callable: a module, a bound method, a NumPy function.

    The error is the worst over drawn elements of `‖f(g·x) − g·f(x)‖ / ‖g·f(x)‖`, outputs stacked, in float64 and in
    float32. `exact`: at most 1e-10 in float64 and 1e-4 in float32. `round-off`: at most 1e-10 in float64, more than
    1e-4 in float32. `approximate`: above 1e-10 but under 0.05 in float64. `broken`: 0.05 and above. `vacuous`: the
    output does not change with the input. The model is left as it was: parameters, buffers, mode, gradients and the
    random state.

    Args:
        model: any callable; called as `model(*inputs)`, or `model(**inputs)` for a dict.
        symmetry: what to check; `Symmetry.from_functions` where no group object exists.
        inputs: a tensor, array or graph object (one argument), a tuple of arguments, or a dict of keyword arguments.
        n_elements: how many group elements to draw, over all parts of the group.
        radius: scale of drawn translations; the group's own by default.
        thresholds: where the words change.
        risks: also measure other parameters, the other mode, one training step, far and degenerate inputs.
        locate: also look for the first submodule that breaks.
        stochastic: judge with the random numbers of the model held fixed.
        axioms: first prove that the two transformations are actions of the group.
        seconds: spend about this long: the verdict first, then what explains it; what was left out is in `notes`.

    Raises:
        ValueError: one line, where the check cannot be made (the model raises or returns NaN, the transformation is
            not a group action, the inputs hold NaN or nothing).
    """
    start = time.perf_counter()
    if not isinstance(symmetry, Symmetry):
        raise TypeError(f"symmetry: an erlangen.Symmetry is needed, got {type(symmetry).__name__}")
    options = {
        "n_elements": n_elements,
        "radius": radius,
        "seed": seed,
        "thresholds": thresholds,
        "risks": risks,
        "locate": locate,
        "stochastic": stochastic,
        "axioms": axioms,
        "seconds": seconds,
    }
    budget = Budget(seconds, start=start)
    with isolate.random_state_kept(), torch.inference_mode(False):
        isolate.seed_everything(seed)
        args = inputs if isinstance(inputs, tuple) and not hasattr(inputs, "_fields") else (inputs,)
        symmetry = symmetry.resolved(args)
        session = open_session(model, symmetry, inputs, islands=False)
        try:
            result = _examine(session, n_elements, radius, seed, thresholds, risks, locate, stochastic, axioms, budget)
        except (CheckError, KeyboardInterrupt):
            raise
        except Exception as error:  # whatever a foreign model or action can still do wrong, in one line
            raise CheckError(f"check: stopped by {first_line(error)}") from error
        finally:
            session.close()
    result.seconds = time.perf_counter() - start
    result.calls = sum(r.calls for r in session.runners.values())
    result._again = lambda: check(model, symmetry, inputs, **options)  # type: ignore[arg-type]
    return result


def _examine(
    session: Session,
    n_elements: int,
    radius: float | None,
    seed: int,
    limits: Thresholds,
    risks: bool,
    locate: bool,
    stochastic: bool,
    axioms: bool,
    budget: Budget,
) -> CheckResult:
    symmetry, args = session.symmetry, session.args
    notes = list(session.notes)
    if axioms:
        notes += check_actions(symmetry, args, session.outputs[session.main_name], seed=seed)
    draws = draw_elements(symmetry, torch.Generator().manual_seed(seed), n_elements, radius=radius)
    held = seed if stochastic else None
    known = session.outputs if not session.random and not session.stateful else {}
    main = measure(
        session.main, symmetry, args, draws, seed=held, seconds=0.4 * budget.left, out=known.get(session.main_name)
    )
    if len(main.draws) < len(draws):
        notes.append(f"{len(main.draws)} of {len(draws)} elements tried within the time")
    measured = {session.main_name: main}
    for name, runner in session.runners.items():
        if name not in measured:
            picked = main.draws if budget.affords(runner, len(main.draws), share=0.25) else worst_of_parts(main, 1)
            runner.trusted, runner.refused = session.main.trusted, set(session.main.refused)
            measured[name] = measure(
                runner, symmetry, args, picked, seed=held, seconds=0.2 * budget.left, out=known.get(name)
            )
    error = {name: m.worst for name, m in measured.items()}
    doubtful = not main.worst <= limits.exact64 or session.main_name != "float64"
    floor = 0.0
    if doubtful:
        floor = noise_floor(session.main, args, seed=seed, repeats=4 if budget.affords(session.main, 40) else 1)
    if limits.exact64 < error.get("float64", 0.0) < WORST_OF_ROUNDING or budget.affords(session.main, 60):
        find_islands(session)
    lifted = _lifted(session, main.draws, held)
    verdict = judge(error.get("float64", lifted), error.get("float32"), limits, floor32=floor)
    blind = why_vacuous(session.main, args, main.output, seed=seed, low=_low(measured), random=session.random)
    if blind is not None:
        verdict = "vacuous"
        notes.append(blind if not session.random else f"{blind}, once its random numbers are held fixed")
    same_noise = None
    if session.random:
        same_noise = measure(session.main, symmetry, args, main.draws, seed=seed, seconds=0.3 * budget.left).worst
        notes.append(
            f"random: two calls on the same input differ by {session.random_size:.0e}; with the random numbers held "
            f"fixed the error is {same_noise:.0e}"
        )
    result = CheckResult(
        verdict=verdict,
        symmetry=symmetry,
        error=error,
        parts=main.parts(),
        worst=_worst(session, main),
        curve=main.curve(),
        random=session.random,
        error_same_noise=same_noise,
        islands=session.islands,
        error_lifted=lifted,
        notes=notes,
        not_in_group=_missing_parts(symmetry),
    )
    _precision_notes(result, session, floor, limits)
    if locate and verdict in ("broken", "approximate"):
        if budget.affords(session.main, 9):
            result.first_breaking = first_breaking(session, result, main, seed=seed)
        else:
            budget.skip("the first layer that breaks")
    if all(
        leaves.same(move_input(symmetry, d.g, args, torch.float64), leaves.cast(args, torch.float64)) for d in draws
    ):
        result.notes.append("none of the drawn transformations changes the given inputs: the error says nothing here")
    result.causes = name_causes(session, result, main, budget, seed=seed)
    if risks:
        scenarios = Scenarios(session, main.draws, limits, verdict, budget, seed=seed)
        scenarios.base_error = main.worst
        scenarios.run_all()
        result.risks, result.scenarios = scenarios.risks, scenarios.errors
        if scenarios.refused:
            result.notes.append(f"the model does not run with: {', '.join(scenarios.refused)}")
    if budget.skipped:
        result.notes.append(f"not measured for lack of time: {', '.join(budget.skipped)}; give check more seconds")
    return result


def _low(measured: dict[str, Measured]) -> Any:
    return measured["float32"].output if len(measured) == 2 else None


def _lifted(session: Session, draws: list[Any], held: int | None) -> float | None:
    """The error in float64 with every inner cast to float32 undone, where there are such casts."""
    if not session.islands and "float64" in session.runners:
        return None
    if session.numpy:
        return None
    runner = None
    try:
        runner = session.start("float64", lift=True)
        return None if runner is None else measure(runner, session.symmetry, session.args, draws, seed=held).worst
    except Exception:  # an operator that cannot be lifted: then there is no such number
        return None
    finally:
        session.outputs.pop("lifted", None)
        if runner is not None:
            runner.close()


def _worst(session: Session, main: Measured) -> Worst | None:
    draw, args = main.worst_draw, session.args
    if draw is None:
        return None
    moved = move_input(session.symmetry, draw.g, args, torch.float64)
    x, gx = (args[0], moved[0]) if len(args) == 1 else (args, moved)
    return Worst(draw.g, x, gx, draw.label, main.worst, main.output, main.moved_output)


def _missing_parts(symmetry: Symmetry) -> list[str]:
    """Parts that a reader may expect beside the ones the group has."""
    names = part_names(symmetry.group)
    return ["reflections"] if "rotations" in names and "reflections" not in names else []


def _precision_notes(result: CheckResult, session: Session, floor: float, limits: Thresholds) -> None:
    e64 = result.error.get("float64")
    if session.islands and e64 is not None:
        where = ", ".join(session.islands[:3])
        text = f"float32 island in {where}: part of the float64 run is computed in float32"
        if result.error_lifted is not None:
            text += f"; with it lifted the float64 error is {result.error_lifted:.0e}"
        result.notes.append(text)
    if e64 is not None and limits.exact64 < e64 <= max(1e3 * floor, 0.0) and e64 < 1e-6 and not math.isinf(e64):
        result.notes.append("the float64 error is near the rounding floor of this computation: it is ill-conditioned")
    if getattr(session.symmetry.input_action, "exact", True) is False:
        result.notes.append("the action resamples: for elements off the grid, interpolation is part of the error")
