"""One layer of an interatomic potential, in its Gaunt and its Clebsch-Gordan version; they differ in the products only."""

import torch
from torch import Tensor, nn

from erlangen.nn.points.gaunt_message import GauntMessage
from erlangen.nn.points.gaunt_power import GauntPower
from erlangen.nn.points.tensor_product import TensorProduct


class Interaction(nn.Module):
    """Messages, their sum, its powers: `[atoms, channels, (l_in + 1)²] -> [atoms, channels, (l_out + 1)²]`.

    Subclasses say how two functions are multiplied: `message` and `powers`.
    """

    def __init__(
        self,
        l_in: int,
        l_max: int,
        l_out: int,
        *,
        channels: int,
        correlation: int,
        species: int,
        radial_basis: int,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        self.l_in, self.l_max, self.l_out = l_in, l_max, l_out
        self.channels, self.correlation, self.species = channels, correlation, species
        self.make_products()
        self.radial = nn.Sequential(
            nn.Linear(radial_basis, hidden, bias=False),
            nn.SiLU(),
            nn.Linear(hidden, hidden, bias=False),  # no bias anywhere: zero at the cutoff stays zero
            nn.SiLU(),
            nn.Linear(hidden, channels * self.radial_weights, bias=False),
        )
        for layer in self.radial:
            if isinstance(layer, nn.Linear):  # unit variance through SiLU, which halves what is near zero
                nn.init.normal_(layer.weight, std=1.7 / layer.in_features**0.5)
        self.before = DegreeLinear(channels, l_in)
        self.between = DegreeLinear(channels, l_max)
        self.after = DegreeLinear(channels, l_out)
        self.skip = nn.Parameter(torch.randn(species, channels, channels, min(l_in, l_out) + 1) / channels**0.5)

    radial_weights: int

    def make_products(self) -> None:
        raise NotImplementedError

    def messages(self, h: Tensor, harmonics: Tensor, weights: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
        """The sum over neighbours of their features times the harmonics of the edges, `[atoms, channels, (l_max + 1)²]`."""
        raise NotImplementedError

    def powers(self, a: Tensor, kinds: Tensor) -> Tensor:
        """Weighted powers of the summed messages, `[atoms, channels, (l_out + 1)²]`."""
        raise NotImplementedError

    def forward(
        self,
        h: Tensor,
        harmonics: Tensor,
        radial: Tensor,
        sender: Tensor,
        receiver: Tensor,
        kinds: Tensor,
        neighbors: float,
    ) -> Tensor:
        weights = self.radial(radial).unflatten(-1, (self.channels, self.radial_weights))
        a = self.messages(self.before(h), harmonics, weights, sender, receiver) / neighbors
        return self.after(self.powers(self.between(a), kinds)) + self._skip(h, kinds)

    def _skip(self, h: Tensor, kinds: Tensor) -> Tensor:
        """A linear map of the features that came in, of its own for every species."""
        common = min(self.l_in, self.l_out)
        degree = _degrees(common, h.device)
        matrix = self.skip.index_select(-1, degree)[kinds]  # [atoms, out, in, components]
        kept = torch.einsum("nock,nck->nok", matrix, h[..., : (common + 1) ** 2])
        return nn.functional.pad(kept, (0, (self.l_out + 1) ** 2 - kept.shape[-1]))


class GauntInteraction(Interaction):
    """Products of functions on the sphere: a weight for every degree of the edge, of every factor of a power, and of the power."""

    def make_products(self) -> None:
        c = self.channels
        self.radial_weights = self.l_max + 1
        self.product = GauntMessage(self.l_in, self.l_max, self.l_max)
        self.power = GauntPower(functions(self.l_max), self.correlation, functions(self.l_out), channels=c)
        del self.power.weight  # every species has its own
        self.power.register_parameter("weight", None)
        shape = (self.species, c, self.correlation, self.l_out + 1)
        self.power_weight = nn.Parameter(torch.randn(shape) / self.correlation)
        self.operand_weight = nn.Parameter(1 + 0.5 * torch.randn(self.species, c, self.correlation, self.l_max + 1))

    def messages(self, h: Tensor, harmonics: Tensor, weights: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
        return self.product(h, harmonics, weights, sender, receiver)

    def powers(self, a: Tensor, kinds: Tensor) -> Tensor:
        return self.power(a, self.power_weight[kinds], self.operand_weight[kinds])


class ClebschGordanInteraction(Interaction):
    """Path by path: a radial weight for every path of the message, a weight for every path of every power."""

    def make_products(self) -> None:
        c = self.channels

        def product(l1: int, l2: int, l3: int, *, copies: int = c) -> TensorProduct:
            texts = (functions(l1, c), functions(l2, copies), functions(l3, c))
            return TensorProduct(*texts, connection="channels", shared=False)

        self.product = product(self.l_in, self.l_max, self.l_max, copies=1)
        self.radial_weights = len(self.product.paths)
        steps = [product(self.l_max, self.l_max, self.l_max) for _ in range(self.correlation - 2)]
        steps += [product(self.l_max, self.l_max, self.l_out)] if self.correlation > 1 else []
        self.steps = nn.ModuleList(steps)
        self.collect = nn.ModuleList([product(self.l_max, self.l_max, self.l_out) for _ in range(self.correlation - 2)])
        self.step_weights = nn.ParameterList(
            nn.Parameter(torch.randn(self.species, m.num_weights)) for m in [*steps, *self.collect]
        )
        self.linear_weight = nn.Parameter(torch.randn(self.species, c, self.l_out + 1) / self.correlation)

    def messages(self, h: Tensor, harmonics: Tensor, weights: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
        flat = self.product(to_flat(h)[sender], harmonics, weights.transpose(-1, -2).flatten(-2))
        summed = flat.new_zeros(len(h), flat.shape[-1]).index_add(0, receiver, flat)
        return from_flat(summed, self.channels, self.l_max)

    def powers(self, a: Tensor, kinds: Tensor) -> Tensor:
        linear = self.linear_weight[kinds].index_select(-1, _degrees(self.l_out, a.device))
        out = linear * a[..., : (self.l_out + 1) ** 2]
        flat = power = to_flat(a)
        count = len(self.steps)
        for number, step in enumerate(self.steps):
            if number < count - 1:  # this power goes to the output and on to the next one
                collected = self.collect[number](power, flat, self.step_weights[count + number][kinds])
                out = out + from_flat(collected, self.channels, self.l_out) / self.correlation
            power = step(power, flat, self.step_weights[number][kinds])
        if count:
            out = out + from_flat(power, self.channels, self.l_out) / self.correlation
        return out


class DegreeLinear(nn.Module):
    """Mixes channels, with one matrix a degree: the linear equivariant maps between multiples of the same irreps."""

    def __init__(self, channels: int, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.weight = nn.Parameter(torch.randn(l_max + 1, channels, channels) / channels**0.5)

    def forward(self, x: Tensor) -> Tensor:
        blocks = x.split([2 * l + 1 for l in range(self.l_max + 1)], -1)
        return torch.cat([matrix @ block for matrix, block in zip(self.weight, blocks, strict=True)], -1)


def functions(l_max: int, copies: int = 1) -> str:
    """The irreps of functions on the sphere up to a degree: "0e+1o+2e"."""
    head = "" if copies == 1 else f"{copies}x"
    return "+".join(f"{head}{l}{'eo'[l % 2]}" for l in range(l_max + 1))


def to_flat(x: Tensor) -> Tensor:
    """`[..., channels, (l + 1)²]` to the flat layout of irreps with multiplicity `channels`."""
    l_max = int(x.shape[-1] ** 0.5) - 1
    return torch.cat([block.flatten(-2) for block in x.split([2 * l + 1 for l in range(l_max + 1)], -1)], -1)


def from_flat(x: Tensor, channels: int, l_max: int) -> Tensor:
    """The other way round."""
    blocks = x.split([channels * (2 * l + 1) for l in range(l_max + 1)], -1)
    return torch.cat([block.unflatten(-1, (channels, -1)) for block in blocks], -1)


def _degrees(l_max: int, device: torch.device) -> Tensor:
    return torch.tensor([l for l in range(l_max + 1) for _ in range(2 * l + 1)], device=device)
