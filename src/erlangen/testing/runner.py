"""Call a model in one precision: private, seeded, on fresh inputs, with its outputs as tensors."""

from __future__ import annotations

import contextlib
import inspect
import time
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import isolate, leaves
from erlangen.testing.precision import LiftIslands


class CheckError(ValueError):
    """The check cannot be made: the message is one line that names what is wrong and the way out."""


def first_line(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}"[:300]


class Runner:
    """One private instance of the model in one precision."""

    def __init__(
        self, model: Any, dtype: torch.dtype, *, keyword: bool, numpy: bool, lift: bool = False, as_given: bool = False
    ) -> None:
        self.dtype, self.keyword, self.numpy, self.lift, self.as_given = dtype, keyword, numpy, lift, as_given
        self.borrowed: isolate.Snapshot | None = None
        try:
            self.model = isolate.private_copy(model)
        except Exception:  # a model that cannot be copied is used in place and restored by `close`
            self.model = model
            self.borrowed = isolate.Snapshot(isolate.modules_behind(model))
        self.modules = isolate.modules_behind(self.model)
        if not as_given:
            isolate.to_precision(self.modules, dtype)
        self.reset: isolate.Snapshot | None = None
        self.pristine: Any = None
        self.mutates = False
        self.calls = 0
        self.seconds = 0.0
        self.single: list[float] = []
        self.refused: set[str] = set()
        self.trusted = False

    def close(self) -> None:
        if self.borrowed is not None:
            self.borrowed.restore()

    def keep_state(self) -> None:
        """From now on every call starts from the present state (for models that remember earlier calls)."""
        if self.borrowed is None:
            self.pristine = isolate.private_copy(self.model)
        self.reset = isolate.Snapshot(self.modules)

    @property
    def epsilon(self) -> float:
        """The rounding step of the coarsest floating-point numbers that the model computes with."""
        weights = [p.dtype for root in self.modules for p in root.parameters() if p.dtype.is_floating_point]
        return max(torch.finfo(dtype).eps for dtype in [self.dtype, *(weights if self.as_given else [])])

    @property
    def seconds_per_call(self) -> float:
        """What one call on inputs of the given size takes, the first (cold) one left out where there are more."""
        warm = sorted(self.single[1:] or self.single)
        return warm[len(warm) // 2] if warm else 0.0

    @property
    def device(self) -> torch.device:
        for module in self.modules:
            for tensor in [*module.parameters(), *module.buffers()]:
                return tensor.device
        return torch.device("cpu")

    def __call__(
        self,
        args: tuple[Any, ...],
        *,
        seed: int | None = None,
        grad: bool = False,
        of_one: bool = True,
        vectorised: bool = False,
    ) -> Any:
        """The output as tensors on the CPU.

        `of_one` says that the inputs have the given size, for the time estimate; `vectorised` that every input has one
        more axis in front, over which the model is mapped.
        """
        if self.pristine is not None and not isinstance(self.model, nn.Module):
            self.model = isolate.private_copy(self.pristine)
            self.modules = isolate.modules_behind(self.model)
        elif self.reset is not None:
            self.reset.restore()
        if self.borrowed is not None and not self.as_given:  # the other precision may have used it since
            isolate.to_precision(self.modules, self.dtype)
        if seed is not None:
            isolate.seed_everything(seed)
        own = leaves.to_device(leaves.fresh(args), self.device)
        given = leaves.to_numpy(own) if self.numpy else own
        start = time.perf_counter()
        with contextlib.ExitStack() as stack:
            stack.enter_context(isolate.functions_in_precision(self.model, self.dtype))
            if self.lift:
                stack.enter_context(LiftIslands())
            if not grad:
                stack.enter_context(torch.no_grad())
            try:
                out = torch.func.vmap(self.model)(*given) if vectorised else self._call(given, grad)
            except SystemExit as error:
                raise RuntimeError(f"the model called sys.exit({error.code})") from error
        elapsed = time.perf_counter() - start
        self.seconds += elapsed
        self.calls += 1
        if of_one:
            self.single.append(elapsed)
        if self.calls == 1:
            self.mutates = not leaves.same(own, args)
        if out is None:
            raise CheckError("model: returned None; return tensors, arrays or numbers")
        out = leaves.to_tensors(out)
        return out if grad else leaves.to_device(out, torch.device("cpu"))

    def _call(self, given: tuple[Any, ...], grad: bool) -> Any:
        try:
            return self.model(**given[0]) if self.keyword else self.model(*given)
        except RuntimeError as error:  # a model that differentiates its own output (forces) needs autograd
            if grad or not _wants_autograd(error):
                raise
        given = leaves.map_leaves(_wanting_grad, leaves.fresh(given))
        with torch.enable_grad():
            return self.model(**given[0]) if self.keyword else self.model(*given)


def _wanting_grad(leaf: Any) -> Any:
    return leaf.requires_grad_(True) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _wants_autograd(error: RuntimeError) -> bool:
    text = str(error)
    return "does not require grad" in text or "not have been used in the graph" in text


def normalise_inputs(model: Any, symmetry: Symmetry, inputs: Any) -> tuple[tuple[Any, ...], bool]:
    """The tuple of arguments, and whether the one dict in it is meant as keyword arguments."""
    if isinstance(inputs, tuple) and not hasattr(inputs, "_fields"):
        args = inputs
    elif isinstance(inputs, list) and symmetry.takes_many:
        args = tuple(inputs)
    else:
        args = (inputs,)
    if not args:
        raise CheckError("inputs: an empty tuple; give at least one argument for the model")
    keyword = isinstance(inputs, dict) and _accepts_keywords(model, list(inputs))
    for path, tensor in leaves.tensors_of(_numeric(args), "inputs"):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckError(f"{path}: contains NaN or infinity; give finite inputs")
    if not any(t.numel() for _, t in leaves.tensors_of(_numeric(args), "inputs")):
        held = "every tensor is empty" if leaves.all_leaves(args) else f"a {type(inputs).__name__} without tensors"
        raise CheckError(f"inputs: no numbers in them ({held}); give tensors or arrays with at least one sample")
    return args, keyword


def _numeric(value: Any) -> Any:
    """Only the tensors and arrays of the arguments."""
    return tuple(leaves.all_leaves(value))


def _accepts_keywords(model: Any, names: list[str]) -> bool:
    target = model.forward if isinstance(model, nn.Module) else model
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return True
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return True
    return set(names) <= {p.name for p in parameters}


def relative_error(left: Tensor, right: Tensor, *, floor: float = 0.0) -> float:
    """`‖left − right‖ / ‖right‖` with the denominator at least `floor`; infinite where only one side is finite."""
    if left.shape != right.shape:
        return float("inf")
    if not bool(torch.isfinite(left).all()) or not bool(torch.isfinite(right).all()):
        same = torch.equal(torch.nan_to_num(left), torch.nan_to_num(right)) and torch.equal(left.isnan(), right.isnan())
        return 0.0 if same else float("inf")
    difference = float((left - right).norm())
    scale = max(float(right.norm()), floor)
    if difference == 0.0:
        return 0.0
    return difference / scale if scale > 0 else float("inf")
