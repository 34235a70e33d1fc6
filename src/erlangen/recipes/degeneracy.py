"""The interaction basis: what no reparametrisation changes, and how few interactions a network needs in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from erlangen import data
from erlangen.audit.degeneracy import InteractionBasis, degeneracy_report, modularity
from erlangen.audit.degeneracy.interaction_basis import Basis
from erlangen.audit.degeneracy.sections import OUTPUT
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe

KEEP = 0.99
CUTS = ["0", "2", "4"]
STEPS = {"smoke": 60, "laptop": 600, "full": 3000}
PRIME = {"smoke": 7, "laptop": 29, "full": 29}
ROWS = {"smoke": 80, "laptop": 300, "full": 800}


@recipe(
    "degeneracy",
    title="Degeneracy and the interaction basis",
    source="arXiv:2405.10927",
    claims=[
        Claim("free directions counted equal the nullity of the Hessian", "count.difference", "below", 1e-9),
        Claim(
            "an invertible map between layers leaves the features as they are", "reparametrised.change", "below", 1e-6
        ),
        Claim("two scrambled networks are taken apart: no interaction across", "glued.across", "below", 1e-6),
        Claim("their modularity is at least 0.45", "glued.modularity", "above", 0.45),
        Claim(
            "modular addition needs fewer interactions than between principal axes",
            "modular.ib",
            "below",
            "modular.pca",
        ),
        Claim(
            "modular addition needs fewer interactions than between neurons", "modular.ib", "below", "modular.neurons"
        ),
        Claim("digits need fewer interactions than between neurons", "digits.ib", "below", "digits.neurons"),
        Claim(
            "one connection between the two networks shows as an interaction",
            "joined.across",
            "above",
            1e-4,
            control=True,
        ),
        Claim(
            "features turned at random need more interactions than the basis",
            "modular.turned",
            "above",
            "modular.ib",
            control=True,
        ),
    ],
    uses=[
        "erlangen.audit.degeneracy.interaction_basis",
        "erlangen.audit.degeneracy.free_directions",
        "erlangen.audit.degeneracy.sections",
        "erlangen.audit.degeneracy.communities",
    ],
    laptop_seeds=5,
    explanation=(
        "`digits` and `modular` (addition modulo 29) are multilayer perceptrons with two hidden layers; their numbers "
        "are the interactions that have to stay, of those between all neurons, for 99 % of the accuracy: all others, "
        "from the weakest on, are cut at once, a cut one sending the mean. `turned` is the interaction basis after a "
        "random rotation. `across` is the strongest interaction between features of the two networks over the strongest "
        "of all. The published gains on language models are not measured."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Planted structures first, then two trained networks under ablation of interactions."""
    numbers = _count(seed) | _reparametrised(seed) | _glued(seed, joined=False) | _glued(seed, joined=True)
    for name, (x, y) in {"digits": _digits(), "modular": _addition(PRIME[budget])}.items():
        numbers |= _needed(name, x, y, budget, seed)
    return numbers


def _mlp(widths: tuple[int, ...], act: Callable[[], nn.Module], seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = [nn.Identity()]
        for a, b in pairwise(widths):
            parts += [nn.Linear(a, b), act()]
    return nn.Sequential(*parts[:-1]).double()


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _count(seed: int) -> dict[str, float]:
    """A deep linear network on data of rank 3: the count against an explicit Hessian."""
    model = _mlp((6, 5, 4, 2), nn.Identity, seed)
    x = _normal(seed, 60, 3) @ _normal(seed + 1, 3, 6)
    (weight, bias), target = model[3].parameters(), model(x).detach()
    own = torch.cat([weight, bias[:, None]], 1).detach()

    def loss(flat: Tensor) -> Tensor:
        w = flat.view_as(own)
        out = torch.func.functional_call(model, {"3.weight": w[:, :-1], "3.bias": w[:, -1]}, (x,))
        return (out - target).square().sum(1).mean()

    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, own.flatten()))  # type: ignore[no-untyped-call]
    nullity = int((values < 1e-9 * values.max()).sum())
    return {"count.difference": float(abs(degeneracy_report(model, x)["3"].free - nullity))}


class _Reread(nn.Module):
    """The identity, through an invertible map and back."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.cut, self.back = (nn.Linear(len(a), len(a), bias=False).double() for _ in range(2))
        self.cut.weight.data, self.back.weight.data = a, torch.linalg.inv(a)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.cut(x))


def _reparametrised(seed: int) -> dict[str, float]:
    model = _mlp((4, 8, 6, 3), nn.Tanh, seed)
    x = _normal(seed, 100, 4)
    turned = copy.deepcopy(model)
    turned.insert(3, _Reread(_normal(seed + 1, 8, 8) + 3 * torch.eye(8).double()))
    found = []
    for net, cut in ((model, "2"), (turned, "3.cut")):
        basis = InteractionBasis([cut])
        bases = basis.fit(net, x)
        found.append(bases[cut].features(basis.sections.activations(x)[cut])[:, 0])
    a, b = found
    if a.shape != b.shape:
        return {"reparametrised.change": 1.0}
    return {"reparametrised.change": float((a - b * (a * b).sum(0).sign()).norm() / a.norm())}


def _glued(seed: int, *, joined: bool) -> dict[str, float]:
    """Two networks side by side with every layer scrambled; `joined` adds one weight from one to the other."""
    parts = [_mlp((3, 5, 4, 2), nn.Tanh, 2 * seed + k) for k in (0, 1)]
    whole = _mlp((6, 10, 8, 4), nn.Tanh, seed)
    for own, a, b in zip(whole, *parts, strict=True):
        if isinstance(own, nn.Linear):
            own.weight.data = torch.block_diag(a.weight, b.weight).detach()
            own.bias.data = torch.cat([a.bias, b.bias]).detach()
    if joined:
        next(whole[3].parameters()).data[0, -1] = 1.0
    for place, width in ((5, 8), (3, 10)):
        whole.insert(place, _Reread(_normal(seed + place, width, width) + 2 * torch.eye(width).double()))
    x = torch.cat([_normal(seed, 20, 3).repeat_interleave(20, 0), _normal(seed + 9, 20, 3).repeat(20, 1)], 1)
    basis = InteractionBasis(["3.cut", "6.cut"], rtol=1e-12)
    bases = basis.fit(whole, x)
    held, edges = basis.sections.activations(x), basis.edges()
    block = {}
    for name, b in bases.items():
        grid = b.features(held[name])[:, 0].unflatten(0, (20, 20))
        block[name] = grid.var(0).mean(0) > grid.var(1).mean(0)
    across = [m[block[to][:, None] != block[layer]].max() / m.max() for (layer, to), m in edges.items()]
    name = "joined" if joined else "glued"
    return {
        f"{name}.across": float(torch.stack(across).max()),
        f"{name}.modularity": modularity(edges, null=0, seed=seed).q,
    }


def _digits() -> tuple[Tensor, Tensor]:
    loaded = data.load("digits")
    x = torch.as_tensor(loaded.x).flatten(1).double()
    return (x - x.mean()) / x.std(), torch.as_tensor(loaded.label).long()


def _addition(p: int) -> tuple[Tensor, Tensor]:
    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(p)).T
    return torch.cat([torch.eye(p)[a], torch.eye(p)[b]], 1).double(), (a + b) % p


def _needed(name: str, x: Tensor, y: Tensor, budget: Budget, seed: int) -> dict[str, float]:
    """The part of all interactions between neurons that has to stay, in four bases."""
    model = _mlp((x.shape[1], 32, 32, int(y.max()) + 1), nn.ReLU, seed).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS[budget]):
        rows = torch.randperm(len(x), generator=generator)[:512]
        optimizer.zero_grad()
        cross_entropy(model(x[rows].float()), y[rows]).backward()
        optimizer.step()
    model = model.double()
    rows = torch.randperm(len(x), generator=generator)[: ROWS[budget]]
    x, y = x[rows], y[rows]
    base = float((model(x).argmax(1) == y).double().mean())
    basis = InteractionBasis(CUTS)
    own = dict(basis.fit(model, x))
    neurons = {n: _in(torch.eye(len(b.mean)).double(), b) for n, b in own.items()}
    total = sum(len(neurons[a].C) * len(neurons[b].C) for a, b in pairwise(own))
    held = basis.sections.activations(x)
    axes = {}
    for n, b in own.items():
        values, vectors = torch.linalg.eigh(torch.cov(held[n].T))
        axes[n] = _in(vectors[:, values > 1e-6 * values[-1]], b)
    turned = {
        n: _in(b.C @ torch.linalg.qr(_normal(seed, b.rank, b.rank))[0], b, torch.linalg.pinv) for n, b in own.items()
    }
    found = {f"{name}.accuracy": base}
    for kind, bases in {"ib": own, "pca": axes, "neurons": neurons, "turned": turned}.items():
        basis.bases = bases
        found[f"{name}.{kind}"] = _kept(model, basis, x, y, KEEP * base) / total
    return found


def _in(c: Tensor, like: Basis, invert: Callable[[Tensor], Tensor] = lambda c: c.T) -> Basis:
    return Basis(c, invert(c), torch.zeros(c.shape[1]).double(), like.mean, c.shape[1])


def _kept(model: nn.Sequential, basis: InteractionBasis, x: Tensor, y: Tensor, accuracy: float) -> float:
    """How many interactions are left when as many of the weakest as possible are cut, found by halving."""
    edges = {pair: m / m.max() for pair, m in basis.edges().items()}
    order = torch.cat([m.flatten() for m in edges.values()]).sort(descending=True).values
    low, high = 0, len(order)
    while high - low > 1:
        middle = (low + high) // 2
        masks = {pair: m >= order[middle - 1] for pair, m in edges.items()}
        good = float((_ablated(model, basis, x, masks).argmax(1) == y).double().mean()) >= accuracy
        low, high = (low, middle) if good else (middle, high)
    return float(high)


@torch.no_grad()
def _ablated(model: nn.Sequential, basis: InteractionBasis, x: Tensor, masks: dict[tuple[str, str], Tensor]) -> Tensor:
    """The output when every feature sees only the features that its mask leaves it."""
    first, *rest = basis.sections.names
    features = basis.bases[first].features(basis.sections.activations(x)[first])[:, 0]
    name = first
    for to in rest:
        mask, b = masks[(name, to)], basis.bases[name]
        seen = (features * mask[:, None].double()) @ b.C_pinv + b.mean  # [features of next, samples, width]
        part = model[int(name) + 1 : int(to) + 1] if to != OUTPUT else model[int(name) + 1 :]
        following = basis.bases[to]
        features = torch.einsum("fnd,df->nf", part(seen) - following.mean, following.C)
        name = to
    return features @ basis.bases[OUTPUT].C_pinv + basis.bases[OUTPUT].mean
