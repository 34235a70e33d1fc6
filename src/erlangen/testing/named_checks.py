"""The nine named checks that every module with a declared symmetry must pass, each a function `(case, symmetry)`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Case, Symmetry
from erlangen.testing import leaves, perturb
from erlangen.testing.axioms import check_actions
from erlangen.testing.derivatives import lie_derivative, pulled_gradient
from erlangen.testing.elements import Draw, draw_elements
from erlangen.testing.examine import check
from erlangen.testing.laws import check_group, check_representation, representations
from erlangen.testing.measure import measure
from erlangen.testing.result import CheckResult, EquivarianceError
from erlangen.testing.runner import relative_error
from erlangen.testing.session import Session, open_session
from erlangen.testing.vacuous import why_vacuous

Check = Callable[[Case, Symmetry], None]
STRICT = 1e-9


def _limit(case: Case) -> float:
    return STRICT if case.tolerance is None else case.tolerance


def _plain(case: Case, symmetry: Symmetry) -> CheckResult:
    return check(case.module, symmetry, case.inputs, n_elements=6, risks=False, locate=False)


def _open(case: Case, symmetry: Symmetry) -> tuple[Session, list[Draw]]:
    symmetry = symmetry.resolved(case.inputs)
    session = open_session(case.module, symmetry, case.inputs)
    return session, draw_elements(symmetry, torch.Generator().manual_seed(0), 6)


def check_group_axioms(case: Case, symmetry: Symmetry) -> None:
    """1a. Identity, inverses and associativity of the group itself."""
    if not symmetry.is_user_written:
        check_group(symmetry.resolved(case.inputs).group)


def check_rep_homomorphism(case: Case, symmetry: Symmetry) -> None:
    """1b. `ρ(gh) = ρ(g)ρ(h)`, `ρ(e) = I` and `ρ(exp tX) = exp(t dρ(X))` for every representation in the two actions."""
    if symmetry.is_user_written:
        return
    symmetry = symmetry.resolved(case.inputs)
    for argument, action in (("input", symmetry.input_action), ("output", symmetry.output_action)):
        for rep in representations(action):
            check_representation(rep.group, partial(rep.matrix, dtype=torch.float64), argument=argument)


def check_action_axioms(case: Case, symmetry: Symmetry) -> None:
    """1c. The identity does nothing and `g·(h·x) = (gh)·x`, for the input and for the output."""
    session, _ = _open(case, symmetry)
    check_actions(session.symmetry, session.args, session.outputs[session.main_name])


def check_finite_equivariance(case: Case, symmetry: Symmetry) -> None:
    """2. `f(g·x) = g·f(x)` for drawn elements."""
    check(case.module, symmetry, case.inputs, n_elements=6, risks=False, locate=False).raise_if_failed(
        tolerance=case.tolerance
    )


def check_precision_scaling(case: Case, symmetry: Symmetry) -> None:
    """3. The error shrinks with the machine precision: it is round-off and not structure."""
    error = _plain(case, symmetry).error
    high, low = error.get("float64", 0.0), error.get("float32", 0.0)
    if high > _limit(case) or low > max(1e-4, 2 * _limit(case)):
        raise EquivarianceError(f"{case}: float64 {high:.1e}, float32 {low:.1e}: structure, not round-off")


def check_infinitesimal(case: Case, symmetry: Symmetry) -> None:
    """4. For a Lie group: the derivative of `f(exp(tX)·x) − exp(tX)·f(x)` at `t = 0` vanishes along every generator.

    By forward-mode differentiation; by central differences where the model or the action does not support it. The
    discrete generators cover the other components of the group.
    """
    if symmetry.is_user_written or not getattr(symmetry.group, "dim", 0) or not hasattr(symmetry.group, "exp"):
        return
    session, _ = _open(case, symmetry)
    group = session.symmetry.group  # with the sizes that the inputs tell
    size = max(float(leaves.stacked(session.outputs[session.main_name]).norm()), 1e-12)
    for direction in torch.eye(group.dim, dtype=torch.float64):
        derivative, limit = lie_derivative(session, direction)
        if derivative / size > max(limit, 30 * _limit(case)):
            raise EquivarianceError(
                f"{case}: the Lie derivative along generator {direction.tolist()} is {derivative / size:.1e}"
            )
    flips = group.discrete_generators() if hasattr(group, "discrete_generators") else []
    found = measure(session.main, session.symmetry, session.args, [Draw(h, "discrete", 1.0, "") for h in flips], seed=0)
    if found.worst > max(1e-5, 30 * _limit(case)):
        raise EquivarianceError(f"{case}: the error under a discrete generator is {found.worst:.1e}")


def check_not_vacuous(case: Case, symmetry: Symmetry) -> None:
    """5. The output changes with the input."""
    session, _ = _open(case, symmetry)
    why = why_vacuous(session.main, session.args, session.outputs[session.main_name], seed=0)
    if why is not None:
        raise EquivarianceError(f"{case}: {why}")


def check_power(case: Case, symmetry: Symmetry) -> None:
    """6. Negative control: the same module with a 1e-2 leak of its raw input must not pass."""
    twin = copy.deepcopy(case.module)
    size = max(0.01, 2 * _limit(case))

    def leaky(*args: Any) -> Any:
        raw = torch.cat([t.reshape(-1).double() for t in _floating(args)])
        weight = torch.linspace(-1, 2, len(raw), dtype=torch.float64).sin()
        signal = float((weight * raw).sum() / (weight.norm() * raw.norm() + 1e-30))

        def leak(t: Tensor) -> Tensor:
            if not t.is_floating_point():
                return t
            pattern = torch.linspace(1, 3, t.numel(), dtype=t.dtype).cos().reshape(t.shape) if t.numel() else t
            return t + 10 * size * t.detach().norm() / t.numel() ** 0.5 * (1 + signal) * pattern

        return leaves.map_leaves(leak, twin(*args))

    found = check(leaky, symmetry, case.inputs, n_elements=3, risks=False, locate=False)
    if found.ok:
        raise EquivarianceError(f"{case}: a leak of relative size {10 * size:.0e} was not noticed")


def check_after_step(case: Case, symmetry: Symmetry) -> None:
    """7. The symmetry survives an optimizer step, in train mode and in eval mode."""
    session, draws = _open(case, symmetry)
    with perturb.changed_runner(session.main) as twin:
        if not perturb.optimizer_step(twin, session.args, torch.Generator().manual_seed(0)):
            return
        for training in (False, True):
            for root in twin.modules:
                root.train(training)
            error = measure(twin, session.symmetry, session.args, draws, seed=0).worst
            if error > 10 * _limit(case) and not (training and _has_dropout(case.module)):
                mode = "train" if training else "eval"
                raise EquivarianceError(f"{case}: after one optimizer step the error in {mode} mode is {error:.1e}")


def check_batch_consistency(case: Case, symmetry: Symmetry) -> None:
    """8a. In eval mode a sample's output does not depend on its batch-mates (first axis of a single tensor)."""
    if len(case.inputs) != 1 or not isinstance(case.inputs[0], Tensor) or case.inputs[0].dim() < 3:
        return
    twin = copy.deepcopy(case.module).eval().double()
    x = case.inputs[0].double()
    if len(x) < 2:
        return
    with torch.no_grad():
        whole = twin(x)
        if not isinstance(whole, Tensor) or whole.shape[:1] != x.shape[:1]:
            return
        single = torch.cat([twin(x[i : i + 1]) for i in range(len(x))])
        turned = twin(x.flip(0)).flip(0)
    for other, words in ((single, "one by one"), (turned, "in another order")):
        error = relative_error(other.reshape(-1), whole.reshape(-1))
        if error > 1e-9:
            raise EquivarianceError(f"{case}: samples passed {words} give other outputs ({error:.1e})")


def check_gradient(case: Case, symmetry: Symmetry) -> None:
    """8b. Gradients are finite and transform by the dual action.

    With fixed weights `c`, the gradient of `⟨c, f(g·x)⟩` and the one of `⟨c, g·f(x)⟩` with respect to `x` are equal;
    for an invariant output this says that the gradient at `g·x`, pulled back by the action, is the gradient at `x`.
    """
    session, draws = _open(case, symmetry)
    if session.main.numpy or session.random:
        return
    plain = pulled_gradient(session, None)
    if plain is None:
        return
    if not bool(torch.isfinite(plain).all()):
        raise EquivarianceError(f"{case}: a gradient with respect to the inputs is not finite")
    if getattr(session.symmetry.input_action, "exact", True) is False:
        return
    limit = max(1e-7 if session.main.dtype == torch.float64 else 1e-2, 30 * _limit(case))
    for draw in draws[:3]:
        inside, outside = pulled_gradient(session, draw.g, inside=True), pulled_gradient(session, draw.g)
        if inside is None or outside is None:
            return
        error = relative_error(inside, outside, floor=1e-9)
        if error > limit:
            raise EquivarianceError(
                f"{case}: the gradient does not transform by the dual action (relative error {error:.1e}); something "
                "is detached, or differentiated at one orientation only"
            )


def check_state_dict(case: Case, symmetry: Symmetry) -> None:
    """8c. A twin that loads the state dict computes the same, bit for bit."""
    if not isinstance(case.module, nn.Module):
        return
    one, two = copy.deepcopy(case.module).eval(), copy.deepcopy(case.module).eval()
    with torch.no_grad():
        one(*leaves.fresh(case.inputs))
        two(*leaves.fresh(case.inputs))
        for parameter in two.parameters():
            parameter.add_(1.0)
        two.load_state_dict(one.state_dict())
        left, right = one(*leaves.fresh(case.inputs)), two(*leaves.fresh(case.inputs))
    if not torch.equal(leaves.stacked(left), leaves.stacked(right)):
        raise EquivarianceError(f"{case}: a twin with the same state dict computes something else")


def check_nonfinite(case: Case, symmetry: Symmetry) -> None:
    """8d. NaN in gives an error or NaN out, never finite numbers only."""
    twin = copy.deepcopy(case.module)
    poisoned = leaves.map_leaves(
        lambda t: torch.full_like(t, float("nan")) if isinstance(t, Tensor) and t.is_floating_point() else t,
        case.inputs,
    )
    if not _floating(case.inputs):
        return
    try:
        with torch.no_grad():
            out = leaves.stacked(twin(*poisoned))
    except Exception:  # an error is one of the two right answers
        return
    if bool(torch.isfinite(out).all()):
        raise EquivarianceError(f"{case}: NaN inputs give finite outputs")


def check_error_curve(case: Case, symmetry: Symmetry) -> None:
    """9. For non-compact groups the error stays at the floor at every distance from the identity."""
    if getattr(symmetry.group, "is_compact", True):
        return
    for radius in (0.1, 10.0, 1000.0):
        found = check(case.module, symmetry, case.inputs, radius=radius, risks=False, locate=False, n_elements=4)
        if found.error.get("float64", 0.0) > _limit(case) * max(1.0, radius):
            raise EquivarianceError(f"{case}: at distance {radius} the error is {found.error['float64']:.1e}")


CHECKS: tuple[Check, ...] = (
    check_group_axioms,
    check_rep_homomorphism,
    check_action_axioms,
    check_finite_equivariance,
    check_precision_scaling,
    check_infinitesimal,
    check_not_vacuous,
    check_power,
    check_after_step,
    check_batch_consistency,
    check_gradient,
    check_state_dict,
    check_nonfinite,
    check_error_curve,
)


def module_checks(case: Case) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every named check of a case, for every symmetry that its module declares, as `(name, function)`."""
    declared = declared_symmetries(case.module)
    for symmetry in declared:
        for function in CHECKS:
            name = function.__name__ if len(declared) == 1 else f"{function.__name__}[{symmetry}]"
            yield name, partial(function, case, symmetry)


def declared_symmetries(module: Any) -> list[Symmetry]:
    """The `symmetries` of a module. Raises ValueError where it declares none."""
    declared = list(getattr(module, "symmetries", []))
    if not declared:
        raise ValueError(
            f"module: {type(module).__name__} declares no symmetries; give it a `symmetries` list of erlangen.Symmetry"
        )
    return declared


def _floating(value: Any) -> list[Tensor]:
    return [t for t in leaves.all_leaves(value) if isinstance(t, Tensor) and t.is_floating_point()]


def _has_dropout(module: Any) -> bool:
    return isinstance(module, nn.Module) and any("Dropout" in type(m).__name__ for m in module.modules())
