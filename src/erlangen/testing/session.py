"""The runs behind one check: which precisions work, is the model random, does it remember, where are its islands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import leaves
from erlangen.testing.precision import FindIslands
from erlangen.testing.runner import CheckError, Runner, first_line, normalise_inputs, relative_error

DTYPES = {"float64": torch.float64, "float32": torch.float32}
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
    islands: list[str] = field(default_factory=list)

    @property
    def main(self) -> Runner:
        """The float64 runner where there is one, else the float32 one."""
        return self.runners.get("float64") or self.runners["float32"]

    @property
    def main_name(self) -> str:
        return "float64" if "float64" in self.runners else "float32"

    def start(self, name: str, *, lift: bool = False) -> Runner | None:
        """A runner in that precision that has run once on the inputs, or None with the reason in `refusals`."""
        runner = Runner(self.model, DTYPES[name], keyword=self.keyword, numpy=self.numpy, lift=lift)
        try:
            out = runner(leaves.cast(self.args, runner.dtype), seed=0)
            leaves.stacked(out)
        except CheckError:
            runner.close()
            raise
        except TypeError as error:
            runner.close()
            if not self.numpy and not isinstance(self.model, nn.Module):
                self.numpy = True  # a NumPy function given tensors
                return self.start(name, lift=lift)
            self.refusals[name] = first_line(error)
            return None
        except Exception as error:
            runner.close()
            if not self.numpy and not isinstance(self.model, nn.Module) and not runner.modules and name == "float64":
                self.numpy = True
                second = self.start(name, lift=lift)
                if second is not None:
                    return second
                self.numpy = False
            self.refusals[name] = first_line(error)
            return None
        self.outputs[name] = out
        return runner

    def close(self) -> None:
        for runner in reversed(list(self.runners.values())):  # a borrowed model is handed back in the order of nesting
            runner.close()


def open_session(model: Any, symmetry: Symmetry, inputs: Any) -> Session:
    """Run the model in both precisions. Raises CheckError where it runs in neither or returns NaN."""
    if not callable(model):
        raise CheckError(f"model: a callable is needed, got {type(model).__name__}")
    args, keyword = normalise_inputs(model, symmetry, inputs)
    session = Session(model, symmetry, args, keyword, leaves.has_numpy(args))
    session.args = leaves.to_tensors(args)
    for name in DTYPES:
        runner = session.start(name)
        if runner is not None:
            session.runners[name] = runner
    if not session.runners:
        raise CheckError(f"model: raised {session.refusals.get('float32', '')} on the given inputs")
    for path, tensor in leaves.tensors_of(session.outputs[session.main_name]):
        if not bool(torch.isfinite(tensor).all()):
            raise CheckError(f"model: returned NaN or infinity on the given inputs ({path}); check the inputs' range")
    if "float64" not in session.runners:
        session.notes.append(
            f"runs in float32 only ({session.refusals['float64']}); judged by how the error compares with rounding"
        )
    elif "float32" not in session.runners:
        session.notes.append(f"runs in float64 only ({session.refusals['float32']})")
    _memory_and_randomness(session)
    _mutation(session)
    _find_islands(session)
    return session


def _memory_and_randomness(session: Session) -> None:
    runner = session.main
    same = SAME[runner.dtype]
    base = leaves.cast(session.args, runner.dtype)

    def differs(a: Any, b: Any) -> float:
        left, right = leaves.stacked(a), leaves.stacked(b)
        error = relative_error(left, right)
        return error if error > same else 0.0

    first = session.outputs[session.main_name]
    again, other = runner(base, seed=0), runner(base, seed=12)
    if differs(first, again):
        session.close()
        session.runners = {name: _pristine(session, name) for name in session.runners}
        runner = session.main
        first, again, other = runner(base, seed=11), runner(base, seed=11), runner(base, seed=12)
        session.stateful = not differs(first, again)
        if session.stateful:
            session.notes.append("keeps state between calls; every call here starts from the state as given")
    session.random_size = max(differs(first, other), differs(first, again))
    session.random = session.random_size > 0
    if runner.reset is not None:
        session.outputs[session.main_name] = runner(base, seed=0)


def _pristine(session: Session, name: str) -> Runner:
    runner = Runner(session.model, DTYPES[name], keyword=session.keyword, numpy=session.numpy)
    runner.keep_state()
    return runner


def _mutation(session: Session) -> None:
    runner = session.main
    base = leaves.cast(session.args, runner.dtype)
    given = leaves.to_numpy(leaves.fresh(base)) if runner.numpy else leaves.to_device(leaves.fresh(base), runner.device)
    before = leaves.stacked(leaves.to_tensors(tuple(leaves.all_leaves(given))))
    try:
        with torch.no_grad():
            _ = runner.model(**given[0]) if runner.keyword else runner.model(*given)
    except Exception:  # already known to run; a model that needs autograd is not asked again
        return
    after = leaves.stacked(leaves.to_tensors(tuple(leaves.all_leaves(given))))
    if before.shape != after.shape or not torch.equal(torch.nan_to_num(before), torch.nan_to_num(after)):
        session.notes.append("writes into its input; every call here got a fresh copy")


def _find_islands(session: Session) -> None:
    runner = session.runners.get("float64")
    if runner is None or runner.numpy:
        return
    if any(isinstance(m, torch.jit.ScriptModule) for m in runner.modules):
        return
    finder = FindIslands(runner.modules)
    try:
        with finder:
            runner(leaves.cast(session.args, torch.float64), seed=0)
    except Exception:  # some operators do not run under a dispatch mode; then no island is named
        return
    finally:
        finder.remove()
    session.islands = finder.places
    floats = [t.dtype for _, t in leaves.tensors_of(session.outputs["float64"]) if t.is_floating_point()]
    if finder.places and floats and all(d != torch.float64 for d in floats) and "float32" in session.runners:
        session.runners.pop("float64").close()
        session.islands = []
        session.notes.append("computes in float32 whatever it is given; judged by how the error compares with rounding")
