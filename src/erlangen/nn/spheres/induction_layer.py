"""All linear maps from feature maps to irreps of SO(3) that respect rotations of the image plane."""

import math

import torch
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups.harmonics import wigner_D_all
from erlangen.groups.irreps import Irreps
from erlangen.groups.symmetry import Case, Symmetry
from erlangen.nn.spheres.camera import (
    Grid,
    Size,
    check_grid,
    in_plane,
    lifted,
    pixel_polar,
    polar_matrix,
    ring_radii,
    square_rings,
    turn_map,
    waves,
)
from erlangen.nn.spheres.terms import describe, dimension, multiplicities


def _cases() -> list[Case]:
    noise = torch.Generator().manual_seed(0)
    polar = InductionLayer(2, "2x0+1x1+2x2", (3, 9), grid="polar")
    square = InductionLayer(2, "1x0+2x1+1x2+1x3", 8, radial=3)
    charged = InductionLayer(1, "1x0+1x1+1x2", (3, 9), grid="polar", fibre=1)
    return [
        Case(polar, (torch.randn(2, 2, 3, 9, generator=noise),), "polar map, every angle"),
        Case(square, (torch.randn(2, 2, 8, 8, generator=noise),), "square map, quarter turns"),
        Case(charged, (torch.randn(2, 2, 3, 9, generator=noise),), "a field of vectors"),
    ]


@modules.register("induction_layer", paper="arXiv:2307.03704", cases=_cases)
class InductionLayer(nn.Module):
    """Φ with Φ(image turned by θ) = D(R_z(θ)) Φ(image), every such linear map: `[B, channels, H, W] -> [B, dim]`.

    Only rotations about the optical axis act on an image, so Φ ∈ Hom_{SO(2)}(images, Res V) = Hom_{SO(3)}(Ind images, V)
    by Frobenius reciprocity. With circular harmonics f̂_{c,n,m} = Σ f_c(r, φ) R_n(r) e^{imφ} and the pole of V on the
    optical axis,

        y_{l,m} = Σ_{c,n} W^{l,m}_{c,n} f̂_{c,n,m},   W complex for m > 0, real for m = 0.

    The output is in camera axes (x right, y up, z to the eye), in the `mul_ir` layout of `irreps_out`: multiplicity
    2 l + 1 in every degree l makes it a function on SO(3), multiplicity 1 one on the sphere. Exact for every angle on a
    polar map, for quarter turns on a square one.

    O. Howell, D. Klee, O. Biza, L. Zhao, R. Walters, "Equivariant Single View Pose Prediction Via Induced and Restricted
    Representations", 2023, arXiv:2307.03704.

    Args:
        in_channels: number of fields.
        irreps_out: such as "16x0+16x1+16x2"; parity is ignored, rotations do not see it.
        image_size: side of a square map, or (rings, angles) of a polar one, angles counter-clockwise from x.
        radial: number of radial functions on a square map; image_size // 2 unless given. On a polar map every ring is one.
        fibre: charge p of the fields. For p = 0 a field is one channel; for p > 0 two, (Re, Im), which turn by pθ with
            the image.
        grid: "square" or "polar".

    Raises ValueError for a map that is not square; warns where the degrees are aliased on it.
    """

    table: Tensor

    def __init__(
        self,
        in_channels: int,
        irreps_out: str | Irreps,
        image_size: Size,
        *,
        radial: int | None = None,
        fibre: int = 0,
        grid: Grid = "square",
    ) -> None:
        super().__init__()
        if in_channels < 1 or fibre < 0:
            raise ValueError(f"in_channels, fibre: {in_channels}, {fibre}; at least 1 and 0")
        self.terms = multiplicities(irreps_out, "irreps_out")
        self.l_max = max(degree for _, degree in self.terms)
        self.in_channels, self.fibre, self.grid = in_channels, fibre, grid
        self.height, self.width = check_grid(image_size, grid, self.l_max + fibre)
        self.order = self.l_max + fibre
        self.radial = self.height if grid == "polar" else radial or self.height // 2
        self.dim = dimension(self.terms)
        self.register_buffer("table", self._table(), persistent=False)
        outs = [sum(mul for mul, degree in self.terms if degree >= m) for m in range(self.l_max + 1)]
        real = lambda m: torch.empty(outs[m], self.features(m))  # noqa: E731
        self.weight_real = nn.ParameterList(real(m) for m in range(self.l_max + 1))
        self.weight_imag = nn.ParameterList(real(m) for m in range(1, self.l_max + 1))
        self._place()
        self.reset_parameters()

    # --- what there is to combine ---------------------------------------------------------------------------------

    def rings(self, k: int) -> int:
        """Radial functions that carry the circular order k: the disc in the middle of a square map only k = 0."""
        return self.radial if k == 0 or self.grid == "polar" else self.radial - 1

    def features(self, m: int) -> int:
        """How many (complex, for m > 0) coefficients turn with e^{imθ}."""
        p = self.fibre
        if p == 0:
            return self.in_channels * self.rings(m)
        return self.in_channels * (2 * self.rings(p) if m == 0 else self.rings(m - p) + self.rings(m + p))

    @property
    def free_parameters(self) -> int:
        """Real parameters of the map: dim Hom_{SO(2)} of the resolved circular harmonics and the output."""
        return sum(w.numel() for w in self.parameters())

    def _table(self) -> Tensor:
        if self.grid == "polar":
            angle = torch.arange(self.width, dtype=torch.float64) * (2 * math.pi / self.width)
            return waves(angle, self.order) / math.sqrt(self.width)
        radius, angle = pixel_polar(self.height)
        rings = square_rings(self.height, self.radial)
        table = rings[:, None] * waves(angle, self.order)
        turning = torch.arange(2 * self.order + 1) != self.order
        table[0, turning] = 0
        table[:, turning] *= radius > 0  # no angle in the middle
        return table

    def _place(self) -> None:
        """For every order, where its real and imaginary outputs go on the last axis, pole on the optical axis."""
        starts, start = [], 0
        for mul, degree in self.terms:
            starts.append((start, mul, degree))
            start += mul * (2 * degree + 1)
        for m in range(self.l_max + 1):
            for name, sign in (("cosine", 1), ("sine", -1)):
                index = [
                    first + copy * (2 * degree + 1) + degree + sign * m
                    for first, mul, degree in starts
                    if degree >= m
                    for copy in range(mul)
                ]
                self.register_buffer(f"{name}_{m}", torch.tensor(index), persistent=False)
        for _, degree in self.terms:
            self.register_buffer(f"frame_{degree}", polar_matrix(degree), persistent=False)

    def reset_parameters(self) -> None:
        for m, weight in enumerate(self.weight_real):
            std = (1 if m == 0 else 0.5**0.5) / max(1, self.features(m)) ** 0.5
            nn.init.normal_(weight, std=std)
            if m:
                nn.init.normal_(self.weight_imag[m - 1], std=std)

    # --- the map --------------------------------------------------------------------------------------------------

    def analyse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine coefficients, each `[B, channels, radial, 2 order + 1]` by order k."""
        table = self.table.to(x)
        if self.grid == "polar":
            real = torch.einsum("bcrj,kj->bcrk", x, table)
        else:
            flat = table.flatten(0, 1).flatten(1)
            real = (x.flatten(2) @ flat.mT).unflatten(-1, table.shape[:2])
        order = torch.arange(-self.order, self.order + 1, device=x.device)
        cosine = real[..., self.order + order.abs()]
        sine = real[..., self.order - order.abs()] * order.sign()
        return cosine, sine

    def _coefficients(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For every m, the real and imaginary parts of what turns with e^{imθ}, `[B, features]`."""
        cosine, sine = self.analyse(x)
        p = self.fibre

        def part(values: Tensor, k: int) -> Tensor:
            return values[:, :, -self.rings(k) :, self.order + k]

        def charged(k: int) -> tuple[Tensor, Tensor]:
            """∫ F e^{ikφ} of the complex fields F = x[0::2] + i x[1::2]."""
            c, s = part(cosine, k), part(sine, k)
            return c[:, 0::2] - s[:, 1::2], c[:, 1::2] + s[:, 0::2]

        out = []
        for m in range(self.l_max + 1):
            if p == 0:
                found = [(part(cosine, m), part(sine, m))]
            elif m == 0:
                a, b = charged(-p)
                found = [(a, torch.zeros_like(a)), (b, torch.zeros_like(b))]
            else:
                a, b = charged(-m - p)
                found = [charged(m - p), (a, -b)]
            real = torch.cat([r.flatten(1) for r, _ in found], 1)
            imag = torch.cat([i.flatten(1) for _, i in found], 1)
            out.append((real, imag))
        return out

    def forward(self, x: Tensor) -> Tensor:
        channels = self.in_channels * (2 if self.fibre else 1)
        if x.ndim != 4 or x.shape[1:] != (channels, self.height, self.width):
            raise ValueError(
                f"x: shape {tuple(x.shape)}; expected [batch, {channels}, {self.height}, {self.width}] "
                f"({self.in_channels} fields of charge {self.fibre})"
            )
        out = x.new_zeros(len(x), self.dim)
        for m, (real, imag) in enumerate(self._coefficients(x)):
            a = self.weight_real[m]
            if m == 0:
                out = out.index_copy(1, self.get_buffer("cosine_0"), real @ a.mT)
                continue
            b = self.weight_imag[m - 1]
            out = out.index_copy(1, self.get_buffer(f"cosine_{m}"), real @ a.mT - imag @ b.mT)
            out = out.index_copy(1, self.get_buffer(f"sine_{m}"), real @ b.mT + imag @ a.mT)
        return self._to_camera(out)

    def _to_camera(self, out: Tensor) -> Tensor:
        parts, start = [], 0
        for mul, degree in self.terms:
            size = mul * (2 * degree + 1)
            block = out[:, start : start + size].unflatten(1, (mul, 2 * degree + 1))
            parts.append((block @ self.get_buffer(f"frame_{degree}").to(out)).flatten(1))
            start += size
        return torch.cat(parts, 1)

    # --- special weights ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def orthographic_(self) -> "InductionLayer":
        """Set W to the orthographic lift of every channel (`OrthographicLift`): exact on a polar map, else the least
        squares fit by the radial functions.

        Raises ValueError unless `fibre` is 0 and every degree has one copy of each channel.
        """
        if self.fibre or any(mul != self.in_channels for mul, _ in self.terms):
            raise ValueError(
                f"irreps_out: {describe(self.terms)}; the orthographic lift has {self.in_channels} copies of each degree, "
                f"and fields of charge 0, given {self.fibre}"
            )
        if self.grid == "polar":
            radius = ring_radii(self.height)
            basis = torch.eye(self.height, dtype=torch.float64) / math.sqrt(self.width)
            weight = radius * (2 / (self.height * self.width))
        else:
            radius = pixel_polar(self.height)[0].flatten()
            basis = square_rings(self.height, self.radial).flatten(1).mT
            weight = torch.full_like(radius, 4 / (math.pi * self.height**2))
        profiles = lifted(self.l_max, radius)
        eye = torch.eye(self.in_channels, dtype=torch.float64)
        for m, parameter in enumerate(self.weight_real):
            used = basis[:, -self.rings(m) :]
            rows = []
            for _, degree in self.terms:
                if degree >= m:
                    goal = profiles[degree][:, degree + m] * weight / (math.sqrt(2) if m else 1)
                    fitted = torch.linalg.lstsq(used, goal[:, None]).solution[:, 0]
                    rows.append(torch.einsum("cd,n->cdn", eye, fitted).flatten(1))
            parameter.copy_(torch.cat(rows))
            if m:
                self.weight_imag[m - 1].zero_()
        return self

    # --- its symmetry ---------------------------------------------------------------------------------------------

    @property
    def symmetries(self) -> list[Symmetry]:
        """Turning the image turns the output about the optical axis."""

        def sample(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
            if self.grid == "polar":
                return torch.rand((), generator=generator, dtype=torch.float64) * (2 * math.pi)
            return torch.randint(4, (), generator=generator).double() * (math.pi / 2)

        return [Symmetry.from_functions(sample, self._turn, self._turn_out, name="rotations of the image")]

    def _turn(self, theta: Tensor, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (turn_map(args[0], theta, grid=self.grid, fibre=self.fibre),)

    def _turn_out(self, theta: Tensor, out: Tensor) -> Tensor:
        matrices = wigner_D_all(self.l_max, in_plane(theta.to(torch.float64)))
        parts, start = [], 0
        for mul, degree in self.terms:
            size = mul * (2 * degree + 1)
            block = out[:, start : start + size].unflatten(1, (mul, 2 * degree + 1))
            parts.append((block @ matrices[degree].to(out).mT).flatten(1))
            start += size
        return torch.cat(parts, 1)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels} fields of charge {self.fibre} -> {describe(self.terms)}, {self.grid} {self.height} x "
            f"{self.width}, radial={self.radial}"
        )
