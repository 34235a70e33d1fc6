"""Five ways to multiply two functions on the sphere from their coefficients, all exact; they differ in cost only."""

import math

import torch
from torch import Tensor

from erlangen.groups.harmonics.product_grid import full_grid, half_grid, values
from erlangen.groups.harmonics.sphere_grid import S2Grid, separable_tables
from erlangen.groups.harmonics.torus import complex_orders, torus_tables
from erlangen.nn.points.exact_tables import ExactTables
from erlangen.nn.points.sphere_types import SphereType


class DirectRoute(ExactTables):
    """z = (x ⊗ y) G with the dense Gaunt table: O(L⁶)."""

    def __init__(self, a: SphereType, b: SphereType, out: SphereType) -> None:
        super().__init__()
        points, back = full_grid(a.l_max + b.l_max, out.l_max)
        first, second = values(a.l_max, points)[a.index], values(b.l_max, points)[b.index]
        table = (first[:, None] * second).flatten(0, 1) @ back[:, out.index]
        self.add_table("gaunt", torch.where(table.abs() > 1e-12, table, 0.0))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x[..., :, None] * y[..., None, :]).flatten(-2) @ self.table("gaunt", x)


class GridRoute(ExactTables):
    """z = ((x A) ∘ (y B)) P on the fewest points: three matrix products, O(L⁴)."""

    def __init__(self, a: SphereType, b: SphereType, out: SphereType) -> None:
        super().__init__()
        points, back = full_grid(a.l_max + b.l_max, out.l_max)
        self.add_table("first", values(a.l_max, points)[a.index])
        self.add_table("second", values(b.l_max, points)[b.index])
        self.add_table("back", back[:, out.index])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x @ self.table("first", x)) * (y @ self.table("second", y))) @ self.table("back", x)


class SplitRoute(ExactTables):
    """The grid route on one point of every antipodal pair, even and odd degrees apart: half the arithmetic.

    The even part of the product is even · even + odd · odd, the odd part is even · odd + odd · even.
    """

    def __init__(self, a: SphereType, b: SphereType, out: SphereType) -> None:
        super().__init__()
        points, back = half_grid(a.l_max + b.l_max, out.l_max)
        self.a, self.b, self.out = a, b, out
        for parity, name in enumerate(("even", "odd")):
            for side, kind in (("first", a), ("second", b)):
                table = values(kind.l_max, points)[_of_parity(kind, parity)]
                self.add_table(f"{side}_{name}", table)
            self.add_table(f"back_{name}", back[:, _of_parity(out, parity)])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x_even, x_odd = self._evaluate(x, self.a, "first")
        y_even, y_odd = self._evaluate(y, self.b, "second")
        even = torch.addcmul(x_even * y_even, x_odd, y_odd) @ self.table("back_even", x)
        odd = torch.addcmul(x_even * y_odd, x_odd, y_even) @ self.table("back_odd", x)
        parts = (iter(even.split(_sizes(self.out, 0), -1)), iter(odd.split(_sizes(self.out, 1), -1)))
        return torch.cat([next(parts[degree % 2]) for degree in self.out.degrees], -1)

    def _evaluate(self, x: Tensor, kind: SphereType, side: str) -> tuple[Tensor, Tensor]:
        blocks = x.split(kind.sizes, -1)
        both = []
        for parity, name in enumerate(("even", "odd")):
            mine = [block for block, degree in zip(blocks, kind.degrees, strict=True) if degree % 2 == parity]
            both.append((torch.cat(mine, -1) if mine else x[..., :0]) @ self.table(f"{side}_{name}", x))
        return both[0], both[1]


class SeparableRoute(ExactTables):
    """Legendre functions in θ and trigonometric ones in φ, one after the other: O(L³)."""

    def __init__(self, a: SphereType, b: SphereType, out: SphereType) -> None:
        super().__init__()
        exact_for = a.l_max + b.l_max + out.l_max
        self.grid = S2Grid(exact_for, exact_for=1)
        self.a, self.b, self.out = a, b, out
        for name, kind in (("first", a), ("second", b), ("back", out)):
            legendre, wave = separable_tables(kind.l_max, *self.grid.shape, "integral")
            if name == "back":
                wave = wave * (2 * math.pi / self.grid.n_phi)
                legendre = legendre * self.grid.weights[:, 0] / (2 * math.pi / self.grid.n_phi)
            # Rows and columns for absent degrees stay: their coefficients are zero, and the shapes regular.
            self.add_table(f"{name}_legendre", legendre.movedim(-1, -2) if name == "back" else legendre)
            self.add_table(f"{name}_wave", wave)
            self.add_table(f"{name}_index", _order_first(kind))
        where = torch.cat([torch.arange(-l, l + 1) + out.l_max + (2 * out.l_max + 1) * l for l in out.degrees])
        self.add_table("collect", where)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        signal = self._evaluate(x, "first") * self._evaluate(y, "second")  # [*batch, θ, φ]
        orders = signal @ self.table("back_wave", x).mT  # [*batch, θ, m]
        batch = orders.shape[:-2]
        by_order = orders.flatten(0, -3).permute(2, 0, 1)  # [m, batch, θ]
        degrees = torch.bmm(by_order, self.table("back_legendre", x))  # [m, batch, l]
        flat = degrees.permute(1, 2, 0).flatten(1)
        return flat.index_select(-1, self.get_buffer("collect")).reshape(*batch, self.out.dim)

    def _evaluate(self, x: Tensor, name: str) -> Tensor:
        legendre, wave = self.table(f"{name}_legendre", x), self.table(f"{name}_wave", x)
        padded = torch.cat([x, x.new_zeros(*x.shape[:-1], 1)], -1).flatten(0, -2)
        by_order = padded.index_select(-1, self.get_buffer(f"{name}_index")).reshape(len(padded), *legendre.shape[:2])
        heights = torch.bmm(by_order.transpose(0, 1), legendre)  # [m, batch, θ]
        return (heights.permute(1, 2, 0) @ wave).reshape(*x.shape[:-1], *self.grid.shape)


class FourierRoute(ExactTables):
    """The paper's route: Fourier coefficients on the torus (θ, φ), convolved by two-dimensional FFT: O(L² log L) + O(L³).

    All tensors stay real at both ends; in between, order m >= 0 of φ and every frequency u of θ.
    """

    def __init__(self, a: SphereType, b: SphereType, out: SphereType) -> None:
        super().__init__()
        self.l_product = a.l_max + b.l_max
        self.size = 2 * self.l_product + 1
        self.a, self.b, self.out = a, b, out
        for name, kind in (("first", a), ("second", b)):
            there, _ = torus_tables(kind.l_max, 0, 0)
            cosine, sine, factor, sine_factor = complex_orders(kind.l_max)
            position = torch.full(((kind.l_max + 1) ** 2,), kind.dim)
            position[kind.index] = torch.arange(kind.dim)
            self.add_table(f"{name}_cosine", position[cosine].flatten())
            self.add_table(f"{name}_sine", position[sine].flatten())
            # e^{imφ} and e^{-imφ} share an order between them, except for m = 0
            half = torch.where(torch.arange(kind.l_max + 1)[:, None] == 0, 1.0, 0.5).double()
            self.add_table(f"{name}_re", there * (factor * half)[..., None])
            self.add_table(f"{name}_im", there * (-1j * sine_factor * half)[..., None])
        _, back = torus_tables(0, self.l_product, out.l_max)
        _, _, factor, sine_factor = complex_orders(out.l_max)
        self.add_table("back_re", back * factor[..., None])
        self.add_table("back_im", back * (1j * sine_factor)[..., None])
        degrees = torch.cat([torch.full((2 * l + 1,), l) for l in out.degrees])
        orders = torch.cat([torch.arange(-l, l + 1) for l in out.degrees])
        flat = orders.abs() * (out.l_max + 1) + degrees
        self.add_table("collect", flat + (orders < 0) * (out.l_max + 1) ** 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        size, top = self.size, self.out.l_max
        signal = self._torus(x, self.a.l_max, "first") * self._torus(y, self.b.l_max, "second")
        spectrum = torch.fft.rfft2(signal.transpose(-1, -2), norm="forward").transpose(-1, -2)[..., : top + 1, :]
        ordered = torch.cat([spectrum[..., size - self.l_product :], spectrum[..., : self.l_product + 1]], -1)
        cosine = torch.einsum("...mu,mlu->...ml", ordered, self.table("back_re", x)).real
        sine = torch.einsum("...mu,mlu->...ml", ordered, self.table("back_im", x)).real
        return torch.cat([cosine.flatten(-2), sine.flatten(-2)], -1).index_select(-1, self.get_buffer("collect"))

    def _torus(self, x: Tensor, l_max: int, name: str) -> Tensor:
        """The signal at [*batch, m-space φ, θ] from a zero-padded half spectrum."""
        padded = torch.cat([x, x.new_zeros(*x.shape[:-1], 1)], -1)
        shape = (l_max + 1, l_max + 1)
        cosine = padded.index_select(-1, self.get_buffer(f"{name}_cosine")).unflatten(-1, shape)
        sine = padded.index_select(-1, self.get_buffer(f"{name}_sine")).unflatten(-1, shape)
        re, im = self.table(f"{name}_re", x), self.table(f"{name}_im", x)
        spectrum = torch.einsum("...ml,mlu->...mu", cosine.to(re.dtype), re)
        spectrum = spectrum + torch.einsum("...ml,mlu->...mu", sine.to(im.dtype), im)
        gap = spectrum.new_zeros(*spectrum.shape[:-1], self.size - (2 * l_max + 1))
        wrapped = torch.cat([spectrum[..., l_max:], gap, spectrum[..., :l_max]], -1)
        wrapped = torch.nn.functional.pad(wrapped, (0, 0, 0, self.size // 2 - l_max))
        return torch.fft.irfft2(wrapped.transpose(-1, -2), s=(self.size, self.size), norm="forward").transpose(-1, -2)


ROUTES = {
    "direct": DirectRoute,
    "grid": GridRoute,
    "split": SplitRoute,
    "separable": SeparableRoute,
    "fourier": FourierRoute,
}


def cheapest(a: SphereType, b: SphereType, out: SphereType, *, among: tuple[str, ...]) -> str:
    """The route with the lowest modelled cost, in multiply-adds a sample of one dense matrix product.

    The weights of the less regular routes are fitted to timings in float32 on one core (`benchmarks/gaunt_product.py`).
    """
    costs = {name: _cost(name, a, b, out) for name in among}
    return min(costs, key=lambda name: costs[name])


def _cost(name: str, a: SphereType, b: SphereType, out: SphereType) -> float:
    total = a.dim + b.dim + out.dim
    product, everything = a.l_max + b.l_max, a.l_max + b.l_max + out.l_max
    half = float(min(1.1 * (product + 1) * (product + 2) / 2, (everything // 2 + 1) ** 2))
    if name == "direct":
        return 1.0 * a.dim * b.dim * (out.dim + 30)
    if name == "grid":
        return 2 * half * (total + 30)
    if name == "split":
        return 1.3 * half * (total + 60) + 8_000
    heights, turns = everything // 2 + 1, everything + 1
    if name == "separable":
        l_sizes = (a.l_max, b.l_max, out.l_max)
        return 4.0 * heights * sum((l + 1) * (2 * l + 1) + (2 * l + 1) * turns for l in l_sizes) + 10_000
    return 60.0 * (2 * product + 1) ** 2 * math.log2(2 * product + 2) + 4 * product * total  # fourier


def _of_parity(kind: SphereType, parity: int) -> Tensor:
    chosen = [torch.arange(l**2, (l + 1) ** 2) for l in kind.degrees if l % 2 == parity]
    return torch.cat(chosen) if chosen else torch.empty(0, dtype=torch.int64)


def _sizes(kind: SphereType, parity: int) -> list[int]:
    return [2 * l + 1 for l in kind.degrees if l % 2 == parity]


def _order_first(kind: SphereType) -> Tensor:
    """Positions of the components by order and degree; absent ones point at the zero appended at the end."""
    table = torch.full((2 * kind.l_max + 1, kind.l_max + 1), kind.dim)
    start = 0
    for degree in kind.degrees:
        table[kind.l_max - degree : kind.l_max + degree + 1, degree] = torch.arange(start, start + 2 * degree + 1)
        start += 2 * degree + 1
    return table.flatten()
