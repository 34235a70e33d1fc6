"""A family of tensor contractions as one graph of steps in which equal sub-contractions occur once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MAX_BYTES = 2**32
Labels = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """`out[labels_out] = Σ over the other labels of Π operand[labels]`, with one operand or two; or matrix number `source`."""

    operands: tuple[int, ...] = ()
    labels: tuple[Labels, ...] = ()
    out: Labels = ()
    source: int | None = None

    @property
    def order(self) -> int:
        return 2 if self.source is not None else len(self.out)

    @property
    def indices(self) -> int:
        """How many indices the step loops over: it costs n to this power."""
        return 2 if self.source is not None else len({label for part in self.labels for label in part})


@dataclass(frozen=True)
class Factor:
    """A step together with the names of the indices on its axes."""

    step: int
    scope: tuple[int, ...]


class Contraction:
    """Steps that share what they can: asking for the same sub-contraction twice gives the same step.

    Two askings are the same when they differ by the names of indices, the order of the two operands, or, for steps known
    to be symmetric matrices, by a transposition.

    Args:
        symmetric: the sources are symmetric matrices.
    """

    def __init__(self, *, symmetric: bool = False) -> None:
        self.symmetric = symmetric
        self.steps: list[Step] = []
        self._number: dict[Step, int] = {}
        self._symmetric_steps: set[int] = set()

    def source(self, number: int, scope: tuple[int, int]) -> Factor:
        """Matrix `number` on two indices; on twice the same index, its diagonal."""
        step = self._intern(Step(source=number), self.symmetric)
        if scope[0] == scope[1]:
            return self._combine((Factor(step, (0, 0)),), (0,), scope[:1])
        return Factor(step, scope)

    def multiply(self, factors: Sequence[Factor]) -> Factor:
        """The entrywise product, on the union of the indices."""
        pending = sorted(factors, key=lambda factor: (len(factor.scope), factor.step, factor.scope))
        total = pending[0]
        for factor in pending[1:]:
            total = self.contract(total, factor, ())
        return total

    def contract(self, left: Factor, right: Factor, over: tuple[int, ...]) -> Factor:
        """The product of two factors summed over the indices `over`."""
        keep = tuple(i for i in dict.fromkeys((*left.scope, *right.scope)) if i not in over)
        return self._combine((left, right), keep, keep)

    def sum_out(self, factor: Factor, over: tuple[int, ...]) -> Factor:
        """One factor summed over the indices `over`."""
        keep = tuple(i for i in factor.scope if i not in over)
        return self._combine((factor,), keep, keep)

    def _combine(self, parts: tuple[Factor, ...], keep: tuple[int, ...], scope: tuple[int, ...]) -> Factor:
        best: tuple[Step, dict[int, int]] | None = None
        for ordered in (parts, parts[::-1]) if len(parts) == 2 else (parts,):
            for turned in self._turned(ordered):
                name = {label: place for place, label in enumerate(dict.fromkeys(i for p in turned for i in p.scope))}
                labels = tuple(tuple(name[i] for i in part.scope) for part in turned)
                step = Step(tuple(p.step for p in turned), labels, tuple(sorted(name[i] for i in keep)))
                if best is None or (step.operands, step.labels) < (best[0].operands, best[0].labels):
                    best = step, name
        assert best is not None
        step, name = best
        number = self._intern(step, self._is_symmetric(step))
        names = dict(zip(keep, scope, strict=True))
        inverse = {place: label for label, place in name.items()}
        return Factor(number, tuple(names[inverse[place]] for place in step.out))

    def _turned(self, parts: tuple[Factor, ...]) -> list[tuple[Factor, ...]]:
        choices: list[tuple[Factor, ...]] = [()]
        for part in parts:
            both = [part]
            if part.step in self._symmetric_steps:
                both.append(Factor(part.step, part.scope[::-1]))
            choices = [(*chosen, one) for chosen in choices for one in both]
        return choices

    def _is_symmetric(self, step: Step) -> bool:
        if len(step.out) != 2 or len(step.operands) != 2:
            return False
        if set(step.labels[0]) == set(step.labels[1]) == set(step.out):  # entrywise
            return all(operand in self._symmetric_steps for operand in step.operands)
        twin = step.operands[0] == step.operands[1] and len(set(step.labels[0])) == 2
        shared = set(step.labels[0]) & set(step.labels[1])
        same_place = twin and all(step.labels[0].index(i) == step.labels[1].index(i) for i in shared)
        return twin and len(shared) <= 1 and (same_place or step.operands[0] in self._symmetric_steps)

    def _intern(self, step: Step, symmetric: bool) -> int:
        if step not in self._number:
            self._number[step] = len(self.steps)
            self.steps.append(step)
            if symmetric:
                self._symmetric_steps.add(self._number[step])
        return self._number[step]

    def mark(self) -> int:
        """How many steps there are; `rewind` goes back to it."""
        return len(self.steps)

    def rewind(self, mark: int) -> None:
        """Forget the steps added after `mark`."""
        for step in self.steps[mark:]:
            self._symmetric_steps.discard(self._number.pop(step))
        del self.steps[mark:]

    def needed(self, wanted: Sequence[int]) -> list[int]:
        """The steps that the wanted ones rest on, in an order in which they can be computed."""
        seen: set[int] = set()
        stack = list(wanted)
        while stack:
            number = stack.pop()
            if number not in seen:
                seen.add(number)
                stack += self.steps[number].operands
        return sorted(seen)

    def operations(self, wanted: Sequence[int], n: int) -> int:
        """Multiplications for one item: the sum over steps of n to the number of its indices."""
        return sum(n ** self.steps[number].indices for number in self.needed(wanted))

    def peak_numbers(self, wanted: Sequence[int], n: int, *, keep_all: bool) -> int:
        """The most numbers held at once for one item; with `keep_all` (gradients) nothing is freed."""
        live = peak = 0
        uses = self._uses(wanted)
        for number in self.needed(wanted):
            step = self.steps[number]
            live += n**step.order
            held = n**step.indices if len(step.operands) == 2 and step.indices > 3 else 0
            peak = max(peak, live + (held if step.indices == step.order else 0))
            for operand in () if keep_all else step.operands:
                uses[operand] -= 1
                if not uses[operand] and operand not in wanted:
                    live -= n ** self.steps[operand].order
        return peak

    def _uses(self, wanted: Sequence[int]) -> Counter[int]:
        return Counter(operand for number in self.needed(wanted) for operand in self.steps[number].operands)

    def run(
        self, matrices: Float[Tensor, "batch colours n n"], wanted: Sequence[int], *, max_bytes: int = MAX_BYTES
    ) -> dict[int, Tensor]:
        """The values of the wanted steps, `[batch, n, ..., n]` each; every other value is freed after its last use.

        Raises ValueError, before computing anything, where more than `max_bytes` would be held at once.
        """
        batch, _, n, _ = matrices.shape
        grad = torch.is_grad_enabled() and matrices.requires_grad
        size = batch * matrices.element_size() * self.peak_numbers(wanted, n, keep_all=grad)
        if size > max_bytes:
            raise ValueError(
                f"X: {batch} graphs of {n} nodes need {size / 2**30:.2f} GiB for these contractions; "
                f"max_bytes allows {max_bytes / 2**30:.2f}"
            )
        uses = self._uses(wanted)
        values: dict[int, Tensor] = {}
        for number in self.needed(wanted):
            step = self.steps[number]
            if step.source is not None:
                values[number] = matrices[:, step.source]
            else:
                values[number] = _apply(step, [values[operand] for operand in step.operands])
            for operand in step.operands:
                uses[operand] -= 1
                if not uses[operand] and operand not in wanted:
                    values.pop(operand, None)
        return {number: values[number] for number in wanted}


def _apply(step: Step, operands: list[Tensor]) -> Tensor:
    if len(operands) == 2 and step.labels[0] == step.labels[1] == step.out:
        return operands[0] * operands[1]
    if len(operands) == 2 and not set(step.labels[0]) & set(step.labels[1]) and not step.labels[0]:
        return operands[0].reshape(-1, *[1] * len(step.out)) * operands[1]
    letters = ["..." + "".join(chr(ord("a") + label) for label in labels) for labels in (*step.labels, step.out)]
    return torch.einsum(f"{','.join(letters[:-1])}->{letters[-1]}", *operands)


def cost_of_new(contraction: Contraction, mark: int, n: int = 32) -> float:
    """log of the work of the steps after `mark`, to compare ways of going on."""
    return math.log1p(sum(n**step.indices for step in contraction.steps[mark:]))
