"""The runs behind one check: which precisions work, is the model random, does it remember, where are its islands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import isolate, leaves
from erlangen.testing.behind import modules_behind, wanted
from erlangen.testing.precision import FindIslands
from erlangen.testing.runner import CheckError, Runner, first_line, normalise_inputs, relative_error
from erlangen.testing.vacuous import other_inputs

DTYPES = {"float64": torch.float64, "float32": torch.float32}
AFRESH = "every call here starts from the state as given"
SAME = {torch.float64: 1e-11, torch.float32: 3e-5}


@dataclass
class Session:
    """Private runners of one model on one set of inputs."""

    model: Any
    symmetry: Symmetry
    args: tuple[Any, ...]
    keyword: bool
    numpy: bool
    runners: dict[str, Runner] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    random: bool = False
    random_size: float = 0.0
    stateful: bool = False
    changed: bool = False  # whether a call leaves something behind in the model
    islands: list[str] = field(default_factory=list)
    island_kind: str = "float32"

    @property
    def main(self) -> Runner:
        """The float64 runner where there is one, else the float32 one."""
        return self.runners.get("float64") or self.runners["float32"]

    @property
    def main_name(self) -> str:
        return "float64" if "float64" in self.runners else "float32"

    def start(self, name: str, *, lift: bool = False, as_given: bool = False) -> Runner | None:
        """A runner in that precision that has run once on the inputs, or None with the reason in `refusals`."""
        runner = Runner(self.model, DTYPES[name], keyword=self.keyword, numpy=self.numpy, lift=lift, as_given=as_given)
        before = isolate.fingerprint(runner.modules)
        try:
            out = runner(leaves.cast(self.args, runner.dtype), seed=0)
        except CheckError:
            runner.close()
            raise
        except Exception as error:
            runner.close()
            if not self.numpy and not isinstance(self.model, nn.Module) and not runner.modules and name == "float64":
                self.numpy = True  # a NumPy function given tensors
                second = self.start(name, lift=lift)
                if second is not None:
                    return second
                self.numpy = False
            self.refusals[name] = first_line(error)
            return None
        try:
            leaves.stacked(out)
        except TypeError as error:
            runner.close()
            raise CheckError(str(error)) from error
        self.changed = self.changed or isolate.fingerprint(runner.modules) != before
        self.outputs[name] = out
        return runner

    def close(self) -> None:
        for runner in reversed(list(self.runners.values())):  # a borrowed model is handed back in the order of nesting
            runner.close()


def open_session(model: Any, symmetry: Symmetry, inputs: Any, *, islands: bool = True) -> Session:
    """Run the model in both precisions. Raises CheckError where it runs in neither or returns NaN."""
    if not callable(model):
        raise CheckError(f"model: a callable is needed, got {type(model).__name__}")
    eager = wanted(model)
    _no_meta(eager, inputs)
    args, keyword = normalise_inputs(eager, symmetry, inputs)
    session = Session(eager, symmetry, args, keyword, leaves.has_numpy(args))
    session.args = leaves.to_tensors(args)
    if eager is not model:
        session.notes.append("compiled; the eager model behind it was checked")
    low = _low_precision(eager)
    if low:
        session.notes.append(f"given in {low}; checked with its weights in float64 and float32")
    for name in DTYPES:
        runner = session.start(name)
        if runner is not None:
            session.runners[name] = runner
    if not session.runners:  # a model that sets the types of its own numbers
        refusal = session.refusals.get("float32", "")
        runner = session.start("float32", as_given=True)
        if runner is not None:
            session.runners["float32"] = runner
            session.refusals["float64"] = refusal
        session.refusals["float32"] = refusal
    if not session.runners:
        raise CheckError(f"model: raised {session.refusals.get('float32', '')} on the given inputs")
    for path, tensor in leaves.tensors_of(session.outputs[session.main_name]):
        if not bool(torch.isfinite(tensor).all()):
            session.close()
            raise CheckError(f"model: returned NaN or infinity on the given inputs ({path}); check the inputs' range")
    if any(runner.mutates for runner in session.runners.values()):
        session.notes.append("writes into its input; every call here got a fresh copy")
    _settle_precision(session)
    _memory_and_randomness(session)
    if islands:
        find_islands(session)
    return session


def _no_meta(model: Any, inputs: Any) -> None:
    for root in modules_behind(model):
        if any(t.is_meta for t in [*root.parameters(), *root.buffers()]):
            raise CheckError(
                "model: its parameters are on the meta device and hold no numbers; call to_empty(device='cpu') and load "
                "the weights first"
            )
    for path, tensor in leaves.tensors_of(tuple(leaves.all_leaves(inputs)), "inputs"):
        if tensor.is_meta:
            raise CheckError(f"{path}: on the meta device, which holds no numbers; give real tensors")


def _low_precision(model: Any) -> str:
    """The name of a half precision in which the model's weights are, or an empty string."""
    found = {p.dtype for root in modules_behind(model) for p in root.parameters() if p.is_floating_point()}
    low = sorted(str(d).removeprefix("torch.") for d in found & {torch.float16, torch.bfloat16})
    return ", ".join(low)


def _settle_precision(session: Session) -> None:
    """Say which precisions work; drop a float64 run that answers in float32 whatever it is given."""
    if "float64" not in session.runners:
        session.notes.append(
            f"runs in float32 only ({session.refusals['float64']}); judged by how the error compares with rounding"
        )
    elif "float32" not in session.runners:
        session.notes.append(f"runs in float64 only ({session.refusals['float32']})")
    elif not session.runners["float64"].numpy:
        kinds = [t.dtype for _, t in leaves.tensors_of(session.outputs["float64"])]
        floats = [d for d in kinds if d.is_floating_point or d.is_complex]
        given = [t for t in leaves.all_leaves(session.args) if t.is_floating_point() or t.is_complex()]
        if given and floats and all(d not in (torch.float64, torch.complex128) for d in floats):
            session.runners.pop("float64").close()
            session.notes.append(
                "computes in float32 whatever it is given; judged by how the error compares with rounding"
            )


def _memory_and_randomness(session: Session) -> None:
    runner = session.main
    base = leaves.cast(session.args, runner.dtype)
    first, other = session.outputs[session.main_name], runner(base, seed=12)
    if not _differs(session, first, other):
        if session.changed and _remembers(session, base):
            session.close()
            session.runners = {name: _pristine(session, name) for name in session.runners}
            session.stateful = True
            session.notes.append(f"remembers earlier calls (a cache); {AFRESH}")
        return
    again = runner(base, seed=0)
    if _differs(session, first, again):
        session.close()
        session.runners = {name: _pristine(session, name) for name in session.runners}
        runner = session.main
        first, again, other = runner(base, seed=11), runner(base, seed=11), runner(base, seed=12)
        session.stateful = not _differs(session, first, again)
        if session.stateful:
            session.notes.append(f"keeps state between calls; {AFRESH}")
    session.random_size = max(_differs(session, first, other), _differs(session, first, again))
    session.random = session.random_size > 0
    if runner.reset is not None:
        session.outputs[session.main_name] = runner(base, seed=0)


def _remembers(session: Session, base: Any) -> bool:
    """Whether a model that has seen the inputs answers otherwise on new ones than a fresh model does."""
    new = other_inputs(base, torch.Generator().manual_seed(7))[-1]
    fresh = _pristine(session, session.main_name)
    try:
        used, unused = session.main(new, seed=0, of_one=False), fresh(new, seed=0, of_one=False)
        return _differs(session, used, unused) > 0
    except Exception:  # a model that refuses made-up inputs, or only after it has seen others
        return False
    finally:
        fresh.close()


def _differs(session: Session, a: Any, b: Any) -> float:
    """The relative difference of two outputs where it is beyond rounding (threads may sum in another order), else 0."""
    left, right = leaves.stacked(a), leaves.stacked(b)
    error = relative_error(left, right)
    return error if error > SAME[session.main.dtype] else 0.0


def _pristine(session: Session, name: str) -> Runner:
    runner = Runner(session.model, DTYPES[name], keyword=session.keyword, numpy=session.numpy)
    runner.keep_state()
    return runner


def find_islands(session: Session) -> None:
    """Name the submodules in which a float64 run passes through float32."""
    runner = session.runners.get("float64")
    if runner is None or runner.numpy:
        return
    if any(isinstance(m, torch.jit.ScriptModule) for root in runner.modules for m in root.modules()):
        return
    finder = FindIslands(runner.modules)
    try:
        with finder:
            runner(leaves.cast(session.args, torch.float64), seed=0, of_one=False)
    except Exception:  # some operators do not run under a dispatch mode; then no island is named
        return
    finally:
        finder.remove()
    session.islands, session.island_kind = finder.places, finder.lowest
