"""One-to-one: which unit of one network is which unit of another."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name

METHODS = ("hungarian", "greedy", "semi", "sinkhorn")


@dataclass(frozen=True)
class Matching:
    """Partners of the first network's units.

    Attributes:
        partner: the unit of the second network, `[units1]`; -1 where there is none.
        similarity: of the pair, `[units1]`; NaN where there is none.
        constant1: units of the first network without variation (a row of zeros), which get no partner.
        constant2: the same of the second.
        score: sum over the pairs.
        plan: the soft assignment `[units1, units2]` of "sinkhorn", rows summing to `1 / units1`.
    """

    partner: Tensor
    similarity: Tensor
    constant1: Tensor
    constant2: Tensor
    score: float
    plan: Tensor | None = None

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Unit numbers of the pairs, best first."""
        rows = (self.partner >= 0).nonzero().squeeze(1)
        rows = rows[self.similarity[rows].argsort(descending=True)]
        return rows, self.partner[rows]

    @property
    def mean(self) -> float:
        """Mean similarity over the pairs; NaN without any."""
        return float(self.similarity[self.partner >= 0].mean())


def match_units(
    similarity: Float[Tensor, "units1 units2"], method: str = "hungarian", *, temperature: float = 0.02
) -> Matching:
    """Partners for units, from their correlations (or mutual information).

    - `"semi"`: every unit's best partner, repeats allowed;
    - `"hungarian"`: one-to-one with the greatest sum of similarities, `O(units^3)`;
    - `"greedy"`: the best pair, then the best of what is left, and so on;
    - `"sinkhorn"`: entropy-regularised transport at `temperature`, and the one-to-one matching of its plan.

    Of unlike numbers of units the smaller side is matched completely. Constant units (zeros throughout) are left out.
    Evaluate the pairs on other inputs than they were chosen on: chosen among many, even pairs of noise look alike.

    Source: Li et al., "Convergent learning: do different neural networks learn the same representations?", 2016,
    arXiv:1511.07543.
    """
    if method not in METHODS:
        raise unknown_name("method", method, list(METHODS))
    if similarity.dim() != 2 or not bool(torch.isfinite(similarity).all()):
        raise ValueError(f"similarity: shape {tuple(similarity.shape)}, finite numbers [units1, units2] are needed")
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature}; must be positive")
    live1, live2 = (similarity != 0).any(1), (similarity != 0).any(0)
    rows, columns = live1.nonzero().squeeze(1), live2.nonzero().squeeze(1)
    inner = similarity[rows][:, columns].detach().double()
    partner = torch.full((len(similarity),), -1, dtype=torch.int64, device=similarity.device)
    plan = None
    if len(rows) and len(columns):
        if method == "semi":
            i, j = torch.arange(len(inner), device=inner.device), inner.argmax(1)
        elif method == "greedy":
            i, j = _greedy(inner)
        elif method == "hungarian":
            i, j = _assign(inner)
        else:
            soft = _sinkhorn(inner, temperature)
            i, j = _assign(soft)
            plan = similarity.new_zeros(similarity.shape, dtype=torch.float64)
            plan[rows[:, None], columns[None, :]] = soft
        partner[rows[i]] = columns[j]
    value = similarity.detach().double().gather(1, partner.clamp(min=0)[:, None]).squeeze(1)
    value = torch.where(partner >= 0, value, torch.nan)
    constant = (~live1).nonzero().squeeze(1), (~live2).nonzero().squeeze(1)
    return Matching(partner, value, *constant, float(value.nansum()), plan)


def _assign(value: Tensor) -> tuple[Tensor, Tensor]:
    from scipy.optimize import linear_sum_assignment

    i, j = linear_sum_assignment(value.cpu().numpy(), maximize=True)
    return torch.from_numpy(i).to(value.device), torch.from_numpy(j).to(value.device)


def _greedy(value: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds of pairs that are each other's best among what is left: the pairs a greedy choice would make, at once."""
    left = value.clone()
    i, j = [], []
    for _ in range(min(value.shape)):
        best1, best2 = left.argmax(1), left.argmax(0)
        rows = torch.arange(len(left), device=left.device)
        mutual = (best2[best1] == rows) & torch.isfinite(left[rows, best1])
        chosen = rows[mutual]
        if not len(chosen):
            break
        i.append(chosen)
        j.append(best1[chosen])
        left[chosen] = -torch.inf
        left[:, best1[chosen]] = -torch.inf
    return torch.cat(i), torch.cat(j)


def _sinkhorn(value: Tensor, temperature: float, *, steps: int = 500) -> Tensor:
    """The transport plan with uniform margins, in the log domain."""
    logits = value / temperature
    rows, columns = value.shape
    log_row, log_column = -torch.log(torch.tensor(float(rows))), -torch.log(torch.tensor(float(columns)))
    u, v = torch.zeros_like(value[:, 0]), torch.zeros_like(value[0])
    for _ in range(steps):
        u = log_row - torch.logsumexp(logits + v[None, :], 1)
        new = log_column - torch.logsumexp(logits + u[:, None], 0)
        done = bool((new - v).abs().max() < 1e-9)
        v = new
        if done:
            break
    u = log_row - torch.logsumexp(logits + v[None, :], 1)
    return (logits + u[:, None] + v[None, :]).exp()
