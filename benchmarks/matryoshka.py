"""Matryoshka's tied head in one cumulative pass, against cutting the matrix for every length, forward and backward.

    python benchmarks/matryoshka.py [--repeats N] [--threads N] [--output FILE]

The reference computes `z[:, :m] @ W[:, :m].T + b` and its cross-entropy length by length, as the published MRL-E layer
does. "bare products" is what one full head needs: three matrix products.

sentence-transformers' MatryoshkaLoss wraps losses on pairs of sentences: where the package is installed (environment
`lightly` of `environments.toml`) it wraps its own ranking loss over in-batch negatives, and ours the same equation, on the
same pairs of embeddings; the bare products are those of all lengths, forward and backward.
"""

import importlib.util
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize

from erlangen.nn import MatryoshkaHead
from erlangen.objectives.matryoshka import matryoshka
from harness import interleave, make_parser, write_json

DIMS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
SHAPES = ((256, 1000), (256, 200), (64, 1000))


def by_length(z: Tensor, label: Tensor, head: MatryoshkaHead) -> Tensor:
    layer = head.heads[0]
    losses = [cross_entropy(linear(z[:, :m], layer.weight[:, :m], layer.bias), label) for m in head.dims]
    return torch.stack(losses).sum()


def in_one_pass(z: Tensor, label: Tensor, head: MatryoshkaHead) -> Tensor:
    logits = head(z).transpose(0, 1)
    return torch.stack([cross_entropy(one, label) for one in logits]).sum()


def step(loss: Callable[..., Tensor], z: Tensor, label: Tensor, head: MatryoshkaHead) -> None:
    z.grad = None
    head.zero_grad()
    loss(z, label, head).backward()


def bare(z: Tensor, head: MatryoshkaHead) -> None:
    with torch.no_grad():
        weight = head.heads[0].weight
        logits = z @ weight.T
        logits @ weight
        logits.T @ z


def measure(n: int, classes: int, repeats: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n, DIMS[-1], generator=generator).requires_grad_()
    label = torch.randint(classes, (n,), generator=generator)
    head = MatryoshkaHead(DIMS, classes, tied=True)
    timing = interleave(
        {
            "by length": partial(step, by_length, z, label, head),
            "erlangen": partial(step, in_one_pass, z, label, head),
            "bare products": partial(bare, z, head),
        },
        repeats=repeats,
    )
    over = timing.medians["erlangen"] / timing.medians["bare products"]
    return {"n": n, "d": DIMS[-1], "classes": classes, "lengths": len(DIMS), "over_bare": over, **timing.to_dict()}


PAIRS = ((128, 768), (256, 768))
PAIR_DIMS = (64, 128, 256, 512, 768)
SCALE = 20.0


def ranking(a: Tensor, b: Tensor) -> Tensor:
    """Cross-entropy of each sample's partner among all partners, by 20 cos."""
    return cross_entropy(SCALE * (normalize(a, dim=1) @ normalize(b, dim=1).mT), torch.arange(len(a)))


class Given(torch.nn.Module):
    """What sentence-transformers takes for a model: gives out the embedding that it was handed."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"token_embeddings": features["x"][:, None], "sentence_embedding": features["x"]}

    def get_embedding_dimension(self) -> int:
        return PAIR_DIMS[-1]


def measure_pairs(n: int, d: int, repeats: int) -> dict[str, object] | None:
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
    model = Given()
    theirs = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model, scale=SCALE), list(PAIR_DIMS))
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, d, generator=generator).requires_grad_() for _ in range(2))

    def peer() -> Tensor:
        return theirs([{"x": a}, {"x": b}], torch.zeros(n))

    def ours() -> Tensor:
        return matryoshka(ranking, a, b, dims=PAIR_DIMS).total

    def stepped(loss: Callable[[], Tensor]) -> None:
        a.grad = b.grad = None
        loss().backward()

    def products() -> None:
        with torch.no_grad():
            for m in PAIR_DIMS:
                p = a[:, :m] @ b[:, :m].mT
                p @ b[:, :m]
                p.mT @ a[:, :m]

    if abs(float(peer().detach()) - float(ours().detach())) > 1e-3:
        raise RuntimeError(f"the losses differ: {float(peer())}, {float(ours())}")
    cases = {"sentence-transformers": partial(stepped, peer), "erlangen": partial(stepped, ours)}
    timing = interleave({**cases, "bare products": products}, repeats=repeats)
    over = timing.medians["erlangen"] / timing.medians["bare products"]
    return {"pairs": n, "d": d, "lengths": len(PAIR_DIMS), "over_bare": over, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for n, classes in SHAPES:
        rows.append(measure(n, classes, arguments.repeats))
        print(
            n,
            classes,
            {k: round(v, 3) for k, v in rows[-1]["ratios"].items()},
            round(rows[-1]["over_bare"], 2),
            flush=True,
        )
    for n, d in PAIRS:
        row = measure_pairs(n, d, arguments.repeats)
        if row is None:
            print("pairs: sentence-transformers is not installed; skipped")
            break
        rows.append(row)
        print("pairs", n, d, {k: round(v, 3) for k, v in row["ratios"].items()}, round(row["over_bare"], 2), flush=True)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
