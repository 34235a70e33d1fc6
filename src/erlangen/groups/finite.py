"""Rotations of a regular polygon, its symmetries with flips, and permutations."""

import itertools
import math

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, FiniteGroup, Sampler
from erlangen.groups.elements import as_batch, draw_integers, draw_uniform, plane_rotation

Flipped = tuple[Tensor, Tensor]


def turns(k: Tensor, n: int, dtype: torch.dtype | None) -> Tensor:
    """The rotation of the plane by k / n of a turn, `[*B, 2, 2]`, exact at quarter turns."""
    matrix = plane_rotation(k.to(torch.float64) * (2 * math.pi / n))
    return matrix.to(dtype or torch.get_default_dtype())


def degrees(k: int, n: int) -> str:
    return f"{360 * k / n:.4g}°"


class Cyclic(FiniteGroup[Tensor]):
    """C_n: rotations of the plane by multiples of 360° / n. Element: int64 `()`, k for k / n of a turn."""

    is_abelian = True
    element_kind = "index"
    acts_on_points = True
    point_dim = 2
    matrix_dim = 2

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n: C_n needs n >= 1, given {n}")
        self.n = n
        self.name = f"C{n}"

    @property
    def order(self) -> int:
        return self.n

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        return torch.zeros(as_batch(batch), dtype=torch.int64, device=device)

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        return (g + h) % self.n

    def inverse(self, g: Tensor) -> Tensor:
        return (-g) % self.n

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        return draw_integers(self.n, as_batch(batch), generator, device)

    def elements(self) -> Tensor:
        return torch.arange(self.n)

    def index(self, g: Tensor) -> Tensor:
        return g % self.n

    def discrete_generators(self) -> list[Tensor]:
        return [torch.tensor(1)] if self.n > 1 else []

    def matrix(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return turns(g, self.n, dtype)

    def point_matrix(self, g: Tensor, n: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
        return turns(g, self.n, dtype)

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        return (g >= 0) & (g < self.n)

    def project(self, m: Tensor) -> Tensor:
        return m.round().to(torch.int64) % self.n

    def parts(self) -> dict[str, Sampler]:
        return {"rotations": self.sample}

    def label(self, g: Tensor) -> str:
        return degrees(int(g), self.n)


class Dihedral(FiniteGroup[Flipped]):
    """D_n: the 2n symmetries of a regular n-gon. Element: `(rot, flip)`, both int64 `()`, meaning r^rot s^flip.

    The flip acts first and is x -> -x, in the plane diag(-1, 1).
    """

    element_kind = "index"
    element_shape = ((), ())
    acts_on_points = True
    point_dim = 2
    matrix_dim = 2

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n: D_n needs n >= 1, given {n}")
        self.n = n
        self.name = f"D{n}"
        self.is_abelian = n <= 2

    @property
    def order(self) -> int:
        return 2 * self.n

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Flipped:
        zero = torch.zeros(as_batch(batch), dtype=torch.int64, device=device)
        return zero, zero.clone()

    def compose(self, g: Flipped, h: Flipped) -> Flipped:
        (a, s), (b, t) = g, h
        return (a + (1 - 2 * s) * b) % self.n, (s + t) % 2

    def inverse(self, g: Flipped) -> Flipped:
        rot, flip = g
        return ((2 * flip - 1) * rot) % self.n, flip

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Flipped:
        index = draw_integers(self.order, as_batch(batch), generator, device)
        return index % self.n, index // self.n

    def elements(self) -> Flipped:
        index = torch.arange(self.order)
        return index % self.n, index // self.n

    def index(self, g: Flipped) -> Tensor:
        return g[0] % self.n + self.n * (g[1] % 2)

    def discrete_generators(self) -> list[Flipped]:
        zero, one = torch.tensor(0), torch.tensor(1)
        return [(one, zero), (zero, one)] if self.n > 1 else [(zero, one)]

    def matrix(self, g: Flipped, dtype: torch.dtype | None = None) -> Tensor:
        rot, flip = g
        rotation = turns(rot, self.n, dtype)
        first_column = (1 - 2 * flip).to(rotation.dtype)[..., None] * rotation[..., 0]
        return torch.stack([first_column, rotation[..., 1].expand_as(first_column)], -1)

    def point_matrix(self, g: Flipped, n: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
        return self.matrix(g, dtype)

    def contains(self, g: Flipped, atol: float = 1e-5) -> Tensor:
        return (g[0] >= 0) & (g[0] < self.n) & (g[1] >= 0) & (g[1] < 2)

    def project(self, m: Flipped) -> Flipped:
        return m[0].round().to(torch.int64) % self.n, m[1].round().to(torch.int64) % 2

    def parts(self) -> dict[str, Sampler]:
        def with_flip(value: int) -> Sampler:
            def draw(
                batch: Batch = (),
                *,
                generator: torch.Generator | None = None,
                dtype: torch.dtype | None = None,
                device: Device = None,
                radius: float | int | None = None,
            ) -> Flipped:
                rot = draw_integers(self.n, as_batch(batch), generator, device)
                return rot, torch.full_like(rot, value)

            return draw

        return {"rotations": with_flip(0), "reflections": with_flip(1)}

    def label(self, g: Flipped) -> str:
        rot, flip = int(g[0]), int(g[1])
        if not flip:
            return degrees(rot, self.n)
        return f"flip {degrees(rot, self.n)}" if rot else "flip"


class Symmetric(FiniteGroup[Tensor]):
    """S_n: permutations. Element: int64 `[n]` in image notation, (g·x)[g[i]] = x[i].

    `Symmetric(None)` is S(n) with n to be read from the data; `with_size(n)` fixes it.
    """

    element_kind = "index"

    def __init__(self, n: int | None = None) -> None:
        if n is not None and n < 1:
            raise ValueError(f"n: S_n needs n >= 1, given {n}")
        self.n = n
        self.name = "S(n)" if n is None else f"S{n}"
        self.is_abelian = n is not None and n <= 2

    @property
    def size(self) -> int:
        if self.n is None:
            raise ValueError("group: S(n) has no size yet; use with_size(n), or S5 instead of S(n)")
        return self.n

    @property
    def element_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (0 if self.n is None else self.n,)

    @property
    def order(self) -> int:
        return math.factorial(self.size)

    @property
    def matrix_dim(self) -> int:
        return self.size

    def with_size(self, n: int) -> "Symmetric":
        return Symmetric(n)

    def infer_size(self, n: int) -> "Symmetric":
        return Symmetric(n) if self.n is None else self

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        return torch.arange(self.size, device=device).expand(*as_batch(batch), self.size).clone()

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(g.shape, h.shape)
        return torch.gather(g.expand(shape), -1, h.expand(shape))

    def inverse(self, g: Tensor) -> Tensor:
        return torch.argsort(g, dim=-1)

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        return torch.argsort(draw_uniform((*as_batch(batch), self.size), generator, device), dim=-1)

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        """The Frobenius distance of the permutation matrices, `√(2 · number of places that differ)`."""
        return (2.0 * (g != h).sum(-1).double()).sqrt()

    def elements(self) -> Tensor:
        self._guard_enumeration()
        return torch.tensor(list(itertools.permutations(range(self.size))))

    def index(self, g: Tensor) -> Tensor:
        """Lexicographic rank (the Lehmer code)."""
        smaller_later = (g[..., None, :] < g[..., :, None]).triu(1).sum(-1)
        weights = torch.tensor([math.factorial(self.size - 1 - i) for i in range(self.size)], device=g.device)
        return (smaller_later * weights).sum(-1)

    def discrete_generators(self) -> list[Tensor]:
        """A transposition and the cycle through everything."""
        n = self.size
        swap, cycle = torch.arange(n), torch.roll(torch.arange(n), -1)
        if n > 1:
            swap[0], swap[1] = 1, 0
        return [swap, cycle][: min(n - 1, 2)]

    def matrix(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        one_hot = torch.nn.functional.one_hot(g, self.size).to(dtype or torch.get_default_dtype())
        return one_hot.mT.contiguous()

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        return (g.sort(-1).values == torch.arange(g.shape[-1], device=g.device)).all(-1)

    def project(self, m: Tensor) -> Tensor:
        return torch.argsort(torch.argsort(m, dim=-1), dim=-1)

    def parts(self) -> dict[str, Sampler]:
        return {"permutations": self.sample}

    def label(self, g: Tensor) -> str:
        images = [str(int(i)) for i in g]
        return f"({','.join(images[:8])}{',...' if len(images) > 8 else ''})"
