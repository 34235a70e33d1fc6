"""Circumstances that may change a verdict: other parameters, another mode, a training step, other inputs."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import isolate, leaves
from erlangen.testing.runner import Runner

FAR = 1e4
FREE = ("points", "vectors", "scalars", "rows", "image", "sequence")
SPECIAL = ("tied inputs", "duplicated rows", "collinear inputs", "zero inputs")


def perturb_weights(runner: Runner, args: tuple[Any, ...], generator: torch.Generator) -> bool:
    """Move every parameter, the running statistics and all-zero buffers; False where there is nothing to move.

    Constants that belong to the layer (a filter basis, Clebsch-Gordan coefficients) are no special initialisation:
    only buffers that training changes, and buffers that are still zero, are moved.
    """
    moved = False
    statistics = changing_buffers(runner, args)
    with torch.no_grad():
        for root in runner.modules:
            for parameter in root.parameters():
                if parameter.is_floating_point() and parameter.numel():
                    rms = float(parameter.pow(2).mean().sqrt())
                    parameter.add_(_noise(parameter, generator) * (0.2 * rms if rms > 0 else 0.2))
                    moved = True
            for name, buffer in root.named_buffers():
                if not buffer.is_floating_point() or not buffer.numel():
                    continue
                if bool((buffer > 0).all()) and name in statistics:
                    buffer.mul_(torch.exp(0.3 * _noise(buffer, generator)))
                    moved = True
                elif name in statistics or not bool(buffer.any()):
                    buffer.add_(0.2 * _noise(buffer, generator))
                    moved = True
    return moved


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def changing_buffers(runner: Runner, args: tuple[Any, ...]) -> set[str]:
    """Names of the buffers that one forward pass in training mode changes."""
    snapshot = isolate.Snapshot(runner.modules)
    before = {n: b.detach().clone() for root in runner.modules for n, b in root.named_buffers()}
    for root in runner.modules:
        root.train()
    try:
        runner(leaves.cast(args, runner.dtype), seed=0)
    except Exception:  # a model that cannot run in training mode changes nothing
        snapshot.restore()
        return set()
    after = {n: b.detach().clone() for root in runner.modules for n, b in root.named_buffers()}
    snapshot.restore()
    return {n for n in before if n in after and not torch.equal(before[n], after[n])}


def other_modes(runner: Runner) -> list[bool]:
    """The modes (training or not) that the model is not in as a whole; both where its parts differ."""
    given = {m.training for root in runner.modules for m in root.modules()}
    return [False, True] if len(given) == 2 else [not training for training in given]


def depends_on_mode(runner: Runner) -> bool:
    """Whether some submodule or the model itself can tell train from eval; most plain layers cannot."""
    return any(not _is_blind(m) for root in runner.modules for m in root.modules())


def _is_blind(module: nn.Module) -> bool:
    known = (nn.Linear, nn.Sequential, nn.Embedding, nn.Identity, nn.LayerNorm, nn.ModuleList, nn.Flatten)
    if type(module) in known:
        return True
    return type(module).__module__ == "torch.nn.modules.activation" and not getattr(module, "dropout", 0)


def other_inputs(session: Any, generator: torch.Generator) -> tuple[Any, ...] | None:
    """Free inputs (points, features, images) drawn anew on three times their scale; None for any other type.

    Types with constraints (rotations, positive matrices) and whatever a user's own function moves are left alone.
    """
    kinds = session.symmetry.input_type
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if session.symmetry.is_user_written:
        return _unless_constant(session.args, generator)
    if len(kinds) != len(session.args):
        return None
    changed, any_free = [], False
    for kind, arg in zip(kinds, session.args, strict=True):
        if isinstance(kind, str) and kind in FREE and leaves.is_plain(arg):
            spread = float(arg.double().std()) if arg.numel() > 1 else 1.0
            noise = torch.randn(arg.shape, generator=generator, dtype=torch.float64)
            positive = bool((arg >= 0).all()) and bool((arg > 0).any())
            changed.append(3.0 * (noise.abs() if positive else noise) * (spread or 1.0))
            any_free = True
        else:
            changed.append(arg)
    return tuple(changed) if any_free else None


def _unless_constant(args: tuple[Any, ...], generator: torch.Generator) -> tuple[Any, ...] | None:
    """Noise in place of inputs that are the same number throughout; None where they are not."""
    plain = [t for t in leaves.all_leaves(args) if leaves.is_plain(t)]
    if not plain or any(bool((t != t.reshape(-1)[0]).any()) for t in plain):
        return None

    def one(leaf: Any) -> Any:
        return torch.randn(leaf.shape, generator=generator, dtype=torch.float64) if leaves.is_plain(leaf) else leaf

    return leaves.map_leaves(one, args)  # type: ignore[no-any-return]


def optimizer_step(runner: Runner, args: tuple[Any, ...], generator: torch.Generator) -> bool:
    """One step in training mode on a random linear loss of the output, then the given mode again."""
    parameters = [p for root in runner.modules for p in root.parameters() if p.is_floating_point() and p.requires_grad]
    if not parameters:
        return False
    modes = [(m, m.training) for root in runner.modules for m in root.modules()]
    for root in runner.modules:
        root.train()
    try:
        with torch.enable_grad():
            out = runner(leaves.cast(args, runner.dtype), seed=0, grad=True)
            terms = [t for t in _graph_leaves(out) if t.requires_grad]
            if not terms:
                return False
            loss = sum(((t - 1.0 - _noise(t, generator)) ** 2).mean() for t in terms)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)  # type: ignore[arg-type]
    finally:
        for module, training in modes:
            module.training = training
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None or not bool(torch.isfinite(gradient).all()):
                continue
            size = max(float(parameter.norm()), 0.1 * parameter.numel() ** 0.5)
            length = float(gradient.norm())
            if length > 0:
                parameter.sub_(gradient * (0.1 * size / length))
    return True


def _graph_leaves(value: Any) -> list[Tensor]:
    return [t for t in leaves.all_leaves(value) if isinstance(t, Tensor) and t.is_floating_point()]


def far_inputs(symmetry: Symmetry, args: tuple[Any, ...], generator: torch.Generator) -> tuple[Any, ...] | None:
    """The inputs moved 1e4 away by the group's own translations; None where the group has none."""
    parts = getattr(symmetry.group, "parts", None)
    table = parts() if parts is not None else {}
    if "translations" not in table:
        return None
    g = table["translations"]((), generator=generator, dtype=torch.float64, radius=FAR)
    return symmetry.act_input(g, leaves.cast(args, torch.float64))


def special_inputs(args: tuple[Any, ...]) -> dict[str, tuple[Any, ...]]:
    """Tied, duplicated, flat and zero versions of the inputs (floating leaves only)."""
    base = leaves.cast(args, torch.float64)

    def each(change: Callable[[Tensor], Tensor]) -> tuple[Any, ...]:
        return leaves.map_leaves(lambda t: change(t) if leaves.is_plain(t) and t.dim() else t, base)

    def tied(t: Tensor) -> Tensor:
        """Rows on a cubic lattice (many equal distances); images rounded to a few grey levels."""
        if t.dim() in (2, 3) and t.shape[-1] <= 4 and t.shape[-2] > 1:
            side = 2
            while side ** t.shape[-1] < t.shape[-2]:
                side += 1
            row = torch.arange(t.shape[-2])
            lattice = torch.stack([row // side**k % side for k in range(t.shape[-1])], -1).to(t)
            return (lattice * (float(t.std()) or 1.0)).expand_as(t).clone()
        spread = float(t.std()) if t.numel() > 1 else 1.0
        return torch.round(t / spread) * spread if spread > 0 else t

    def duplicated(t: Tensor) -> Tensor:
        if t.dim() < 2 or t.shape[-2] < 2:
            return t
        clone = t.clone()
        half = t.shape[-2] // 2
        clone[..., half : 2 * half, :] = t[..., :half, :]
        return clone

    def flat(t: Tensor) -> Tensor:
        clone = t.clone()
        if t.dim() >= 2 and t.shape[-1] <= 8:
            clone[..., 1:] = 0
        return clone

    changes: tuple[Callable[[Tensor], Tensor], ...] = (tied, duplicated, flat, lambda t: torch.zeros_like(t))
    return {name: each(change) for name, change in zip(SPECIAL, changes, strict=True)}


@contextlib.contextmanager
def changed_runner(runner: Runner) -> Iterator[Runner]:
    """The private model to be changed: what happens to its parameters, buffers, modes and attributes is undone after.

    A model that remembers earlier calls, or is no module, is copied instead.
    """
    twin = copy.copy(runner)
    twin.refused, twin.single = set(runner.refused), list(runner.single)
    if runner.pristine is not None:
        twin.model = isolate.private_copy(runner.pristine)
        twin.modules = isolate.modules_behind(twin.model)
        twin.pristine, twin.reset, twin.borrowed = None, isolate.Snapshot(twin.modules), None
        yield twin
        return
    if runner.borrowed is not None and not runner.as_given:
        isolate.to_precision(runner.modules, runner.dtype)
        twin.borrowed = None
    kept = isolate.Snapshot(runner.modules)
    if runner.reset is not None:
        twin.reset = None
    try:
        yield twin
    finally:
        kept.restore()


def has_modules(runner: Runner) -> bool:
    return any(isinstance(m, nn.Module) for m in runner.modules)
