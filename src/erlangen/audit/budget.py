"""What an audit may take, and the plan that is checked against it before anything is computed."""

import re
from dataclasses import dataclass

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class PlanError(ValueError):
    """The plan does not fit the budget; the message names the probe and the cheaper option."""


def parse_bytes(size: str | int) -> int:
    """`"2GiB"`, `"500 MB"` or a number of bytes."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*", str(size))
    if match is None or match[2].upper() not in UNITS:
        raise ValueError(f"ram: {size!r} is no size; write bytes or a number with KiB, MiB, GiB, KB, MB or GB")
    return int(float(match[1]) * UNITS[match[2].upper()])


@dataclass(frozen=True)
class Budget:
    """Limits of one audit.

    `seconds`: probes that have not started by then are left out and say so. `ram`: bytes that the statistics (not the
    model) may hold. `samples`: rows looked at. `orbit_samples`: rows that are moved by every group element.
    """

    seconds: float = 300.0
    ram: str | int = "1GiB"
    samples: int = 10_000
    orbit_samples: int = 512

    def __post_init__(self) -> None:
        if self.samples < 4 or self.orbit_samples < 4:
            raise ValueError(f"samples, orbit_samples: {self.samples}, {self.orbit_samples}; both must be at least 4")
        if not self.seconds > 0:
            raise ValueError(f"seconds: {self.seconds}; must be positive")
        parse_bytes(self.ram)


@dataclass(frozen=True)
class Needs:
    """What one probe asks for, and how to get by with less.

    `nbytes`: held while it finishes, beyond the shared samples (probes finish one after the other, so the largest
    counts). `state_bytes`: its streaming state, held during the pass beside all others. `raw`: the flattened inputs of
    all rows. `twin`: rows of the reference model. `training`: rows of the samples that the model was fitted on.
    """

    nbytes: int = 0
    labels: bool = False
    orbit: bool = False
    classifier: bool = False
    cheaper: str = "Budget(samples=...) with fewer samples"
    state_bytes: int = 0
    raw: bool = False
    twin: bool = False
    training: bool = False


def check_plan(shared: int, needs: dict[str, Needs], budget: Budget, *, raw: int = 0, rows: int | None = None) -> int:
    """The bytes the plan will hold; raises `PlanError` if that is over the budget.

    `shared` are the bytes of rows and inputs, `raw` those of all flattened inputs, if a probe asks for them; `rows` is
    how many there are, if fewer than the budget allows.
    """
    limit, rows = parse_bytes(budget.ram), rows or budget.samples
    fitting = max(4, int(rows * limit / max(shared + raw, 1) * 0.8))
    if shared > limit:
        raise PlanError(
            f"budget: the activations of {rows} samples take {shared:,} bytes of the {limit:,} allowed; "
            f"use Budget(samples={fitting}) or fewer layers"
        )
    asking = [name for name, need in needs.items() if need.raw]
    if raw and shared + raw > limit:
        raise PlanError(
            f"probes: {asking[0] if asking else 'data'!r} needs the inputs of all {rows} samples, {raw:,} "
            f"bytes beside {shared:,} of shared samples, more than the {limit:,} of the budget; cheaper: "
            f"Budget(samples={fitting})"
        )
    held = shared + raw
    for name, need in needs.items():
        held += need.state_bytes
        if held > limit:
            raise PlanError(
                f"probes: {name!r} needs {need.state_bytes:,} bytes of streaming state beside {held - need.state_bytes:,} "
                f"of other state and shared samples, more than the {limit:,} of the budget; cheaper: {need.cheaper}"
            )
    for name, need in needs.items():
        if held + need.nbytes > limit:
            raise PlanError(
                f"probes: {name!r} needs {need.nbytes:,} bytes beside {held:,} of shared samples, more than the "
                f"{limit:,} of the budget; cheaper: {need.cheaper}"
            )
    return held + max((n.nbytes for n in needs.values()), default=0)
