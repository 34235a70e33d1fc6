"""Centred kernel alignment of streams: of two representations exactly, or of many layers by minibatches."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


class StreamingCKA:
    """Linear CKA of all rows of two streams in one pass, debiased too, in `O(dim1 dim2 + dim1^2 + dim2^2)` memory.

    The unbiased HSIC of linear kernels is a polynomial of a few sums over rows (`X'Y`, `x |y|^2`, `|x|^2 |y|^2`, ...),
    so that no Gram matrix of samples is ever made. States of disjoint rows merge; everything is float64 and about a
    reference row, so that large means cost little precision.
    """

    def __init__(self, dim1: int, dim2: int) -> None:
        self._sums = {"xy": _Sums(dim1, dim2), "xx": _Sums(dim1, dim1), "yy": _Sums(dim2, dim2)}

    def update(self, x: Float[Tensor, "rows dim1"], y: Float[Tensor, "rows dim2"]) -> "StreamingCKA":
        if len(x) != len(y):
            raise ValueError(f"y: {len(y)} rows for {len(x)} rows of x; both must be the same rows")
        x64, y64 = x.detach().double().cpu(), y.detach().double().cpu()
        self._sums["xy"].update(x64, y64)
        self._sums["xx"].update(x64, x64)
        self._sums["yy"].update(y64, y64)
        return self

    def merge(self, other: "StreamingCKA") -> "StreamingCKA":
        for name, sums in self._sums.items():
            sums.merge(other._sums[name])
        return self

    @property
    def count(self) -> int:
        return self._sums["xy"].count

    def compute(self, *, debiased: bool = True) -> Float[Tensor, ""]:
        """CKA of all rows so far; NaN where one side is constant. ValueError for fewer than 4 rows."""
        if self.count < 4:
            raise ValueError(f"x: {self.count} rows so far; at least 4 are needed")
        xy, xx, yy = (self._sums[name].hsic(debiased=debiased) for name in ("xy", "xx", "yy"))
        scales = [self._sums[name].hsic(debiased=False) for name in ("xx", "yy")]
        if any(float(s) <= self._sums[n].floor() for s, n in zip(scales, ("xx", "yy"), strict=True)):
            return torch.tensor(torch.nan, dtype=torch.float64)
        if float(xx) <= 0 or float(yy) <= 0:
            return torch.tensor(torch.nan, dtype=torch.float64)
        return xy / (xx * yy).sqrt()

    @property
    def nbytes(self) -> int:
        return sum(sums.nbytes for sums in self._sums.values())


class _Sums:
    """Sums over rows of the products that HSIC of linear kernels needs, about the first batch's means."""

    def __init__(self, dim1: int, dim2: int) -> None:
        self.count = 0
        self.origin1 = torch.zeros(dim1, dtype=torch.float64)
        self.origin2 = torch.zeros(dim2, dtype=torch.float64)
        self.cross = torch.zeros(dim1, dim2, dtype=torch.float64)
        self.sum1, self.sum2 = torch.zeros_like(self.origin1), torch.zeros_like(self.origin2)
        self.x_y2, self.y_x2 = torch.zeros_like(self.origin1), torch.zeros_like(self.origin2)
        self.numbers = torch.zeros(3, dtype=torch.float64)  # sums of |x|^2, |y|^2, |x|^2 |y|^2

    def update(self, x: Tensor, y: Tensor) -> None:
        if not len(x):
            return
        if self.count == 0:
            self.origin1, self.origin2 = x.mean(0), y.mean(0)
        x, y = x - self.origin1, y - self.origin2
        x2, y2 = x.square().sum(1), y.square().sum(1)
        self.cross += x.T @ y
        self.sum1 += x.sum(0)
        self.sum2 += y.sum(0)
        self.x_y2 += y2 @ x
        self.y_x2 += x2 @ y
        self.numbers += torch.stack([x2.sum(), y2.sum(), x2 @ y2])
        self.count += len(x)

    def merge(self, other: "_Sums") -> None:
        if other.count == 0:
            return
        if self.count == 0:
            self.origin1, self.origin2 = other.origin1.clone(), other.origin2.clone()
        a, b = other.origin1 - self.origin1, other.origin2 - self.origin2
        n, (x2, y2, x2y2) = other.count, other.numbers
        self.cross += other.cross + torch.outer(a, other.sum2) + torch.outer(other.sum1, b) + n * torch.outer(a, b)
        self.sum1 += other.sum1 + n * a
        self.sum2 += other.sum2 + n * b
        crossed_b, crossed_a = other.cross @ b, other.cross.T @ a
        a2, b2 = a @ a, b @ b
        xb, ya = other.sum2 @ b, other.sum1 @ a
        self.x_y2 += other.x_y2 + 2 * crossed_b + b2 * other.sum1 + a * (y2 + 2 * xb + n * b2)
        self.y_x2 += other.y_x2 + 2 * crossed_a + a2 * other.sum2 + b * (x2 + 2 * ya + n * a2)
        both = x2y2 + 2 * b @ other.y_x2 + b2 * x2 + 2 * a @ other.x_y2 + 4 * a @ crossed_b + 2 * b2 * ya
        both = both + a2 * y2 + 2 * a2 * xb + n * a2 * b2
        self.numbers += torch.stack([x2 + 2 * ya + n * a2, y2 + 2 * xb + n * b2, both])
        self.count += n

    def hsic(self, *, debiased: bool) -> Tensor:
        n = self.count
        if not debiased:
            centred = self.cross - torch.outer(self.sum1, self.sum2) / n
            return centred.square().sum() / n**2
        x2, y2, x2y2 = self.numbers
        trace = self.cross.square().sum() - x2y2
        k_total, l_total = self.sum1 @ self.sum1 - x2, self.sum2 @ self.sum2 - y2
        rows = self.sum1 @ self.cross @ self.sum2 - self.sum1 @ self.x_y2 - self.sum2 @ self.y_x2 + x2y2
        return (trace + k_total * l_total / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows) / (n * (n - 3))

    def floor(self) -> float:
        """HSIC below which the variance is rounding of the values themselves."""
        size = float(self.origin1.square().sum()) + float(self.numbers[0]) / self.count
        return (1e-14 * size) ** 2

    @property
    def nbytes(self) -> int:
        held = (self.cross, self.origin1, self.origin2, self.sum1, self.sum2, self.x_y2, self.y_x2, self.numbers)
        return 8 * sum(t.numel() for t in held)


class MinibatchCKA:
    """CKA of all layers of one network with all layers of another, from minibatches.

    The ratio of sums of unbiased HSIC terms over batches: the same on average for any batch size, as the whole data
    would give. One Gram matrix a layer and batch; all pairs are one product of the flattened, centred matrices. Memory:
    `layers x batch^2` numbers while a batch is taken in, `layers^2` between.

    Layers are named by the first batch. Batches need at least 4 rows; a layer's output `[batch, ...]` is flattened.

    Source: Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same things?", 2021, arXiv:2010.15327.
    """

    def __init__(self) -> None:
        self.layers1: list[str] = []
        self.layers2: list[str] = []
        self.batches = 0
        self.cross = torch.zeros(0, 0, dtype=torch.float64)
        self.own1 = torch.zeros(0, dtype=torch.float64)
        self.own2 = torch.zeros(0, dtype=torch.float64)

    def update(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor] | None = None) -> "MinibatchCKA":
        """Take in one batch: activations by layer of both networks, or of one compared with itself."""
        same = second is None
        second = first if second is None else second
        if not self.layers1:
            self.layers1, self.layers2 = list(first), list(second)
            self.cross = torch.zeros(len(first), len(second), dtype=torch.float64)
            self.own1, self.own2 = self.cross[:, 0].clone(), self.cross[0].clone()
        one = _centred_grams([first[name] for name in self.layers1])
        two = one if same else _centred_grams([second[name] for name in self.layers2])
        if one.shape[1] != two.shape[1]:
            raise ValueError("second: its batch has another number of rows than the first; both must see the same")
        self.cross += (one @ two.T).double().cpu()
        self.own1 += one.square().sum(1).double().cpu()
        self.own2 += two.square().sum(1).double().cpu()
        self.batches += 1
        return self

    def merge(self, other: "MinibatchCKA") -> "MinibatchCKA":
        if not other.batches:
            return self
        if not self.batches:
            self.layers1, self.layers2 = other.layers1, other.layers2
            self.cross, self.own1, self.own2 = other.cross.clone(), other.own1.clone(), other.own2.clone()
        elif (self.layers1, self.layers2) != (other.layers1, other.layers2):
            raise ValueError("other: its layers are others; states merge only over the same layers")
        else:
            self.cross, self.own1, self.own2 = self.cross + other.cross, self.own1 + other.own1, self.own2 + other.own2
        self.batches += other.batches
        return self

    def compute(self) -> Float[Tensor, "layers1 layers2"]:
        """The matrix of similarities; NaN for layers that are constant. ValueError before the first batch."""
        if not self.batches:
            raise ValueError("first: no batch has been taken in")
        scale = (self.own1[:, None] * self.own2[None, :]).sqrt()
        return torch.where(scale > 0, self.cross / scale, torch.nan)


def _centred_grams(activations: list[Tensor]) -> Tensor:
    """U-centred Gram matrices, flattened: their inner products are `n (n - 3)` times the unbiased HSIC, `[layers, n^2]`.

    Each is divided by the batch's `sqrt(n (n - 3))`. Source of the centring: Székely and Rizzo, 2014.
    """
    n = len(activations[0])
    if n < 4:
        raise ValueError(f"first: a batch of {n} rows; at least 4 are needed")
    grams = []
    for value in activations:
        if len(value) != n:
            raise ValueError(f"first: layers have {n} and {len(value)} rows; all must be of one batch")
        rows = value.detach().flatten(1)
        rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        rows = rows - rows.mean(0)
        grams.append(rows @ rows.T)
    gram = torch.stack(grams)
    diagonal = torch.eye(n, dtype=torch.bool, device=gram.device)
    gram = gram.masked_fill_(diagonal, 0.0)
    sums = gram.sum(2)
    total = sums.sum(1)[:, None, None] / ((n - 1) * (n - 2))
    gram += total - (sums[:, :, None] + sums[:, None, :]) / (n - 2)
    gram.masked_fill_(diagonal, 0.0)
    return gram.flatten(1) / (n * (n - 3)) ** 0.5
