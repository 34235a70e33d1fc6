"""Matryoshka representations: every prefix of the embedding is trained to be an embedding."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.matryoshka_head import MatryoshkaHead, default_dims, nesting_dims
from erlangen.objectives.classification import cross_entropy
from erlangen.objectives.distributed import ReductionKind
from erlangen.objectives.objective import Objective
from erlangen.objectives.supervised import CrossEntropy
from erlangen.objectives.terms import LossTerms
from erlangen.stats.spectrum import effective_rank

Normalize = Literal["auto"] | bool


def matryoshka(
    loss: Callable[..., LossTerms | Tensor],
    *embeddings: Tensor,
    dims: Sequence[int],
    weights: Sequence[float] | None = None,
    normalize: bool = False,
) -> LossTerms:
    """`sum_m c_m L(z_{1:m}, ...)`: a loss on every prefix of the embeddings it takes, with terms named `term@m`.

    The sum is not divided by the number of lengths, as in the paper and its code. All `embeddings` are cut together
    (two views; an embedding and its regression target).

    Source: A. Kusupati et al., "Matryoshka representation learning", 2022, arXiv:2205.13147.

    Arguments:
        loss: takes the cut embeddings, gives named terms or one number.
        embeddings: `[batch, d]` each, of one size.
        dims: the prefix lengths, increasing; the last may be shorter than d.
        weights: `c_m`, 1 each unless given.
        normalize: divide each prefix by its norm, which a loss for unit vectors needs again after cutting.
    """
    if not embeddings:
        raise ValueError("embeddings: none given; the loss needs at least one")
    sizes = {e.shape[-1] for e in embeddings}
    lengths = nesting_dims(dims)
    if len(sizes) > 1 or lengths[-1] > min(sizes):
        raise ValueError(
            f"dims, embeddings: {list(lengths)} and sizes {sorted(sizes)}; one size, at least {lengths[-1]}"
        )
    total: dict[str, tuple[Tensor, float]] = {}
    for m, weight in zip(lengths, _weights(weights, lengths), strict=True):
        terms = loss(*(_prefix(e, m, normalize) for e in embeddings))
        named = terms if isinstance(terms, LossTerms) else LossTerms({"loss": terms})
        total |= {f"{name}@{m}": (value, weight * named.weights[name]) for name, value in named.items()}
    return LossTerms(total)


def _weights(weights: Sequence[float] | None, dims: tuple[int, ...]) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * len(dims)
    found = tuple(float(w) for w in weights)
    if len(found) != len(dims) or not all(w >= 0 for w in found):
        raise ValueError(
            f"weights: {list(weights)}; give {len(dims)} numbers of at least 0, one for each of {list(dims)}"
        )
    return found


def _prefix(z: Tensor, m: int, normalize: bool) -> Tensor:
    cut = z[..., :m]
    if not normalize:
        return cut
    norm = cut.norm(dim=-1, keepdim=True)
    if not bool((norm > 0).all()):
        raise ValueError(f"z: a prefix of {m} components is zero, which has no direction")
    return cut / norm


class _Remembered(nn.Module):
    """An encoder that is run once for each input, however many prefixes ask."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.training = encoder, encoder.training
        self.seen: list[tuple[bool, Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        graph = torch.is_grad_enabled()
        for had_graph, known, embedding in self.seen:
            if had_graph == graph and (known is x or (known.shape == x.shape and torch.equal(known, x))):
                return embedding
        self.seen.append((graph, x, self.encoder(x)))
        return self.seen[-1][2]


class _Prefix(nn.Module):
    """The first `dim` components of an encoder's embedding; what the base objective takes for its encoder."""

    def __init__(self, encoder: nn.Module, dim: int, normalize: bool) -> None:
        super().__init__()
        self.encoder, self.dim, self.normalize, self.training = encoder, dim, normalize, encoder.training

    @property
    def embedding_dim(self) -> int:
        return self.dim

    def forward(self, x: Tensor) -> Tensor:
        return _prefix(self.encoder(x), self.dim, self.normalize)


@objectives.register(
    "matryoshka",
    summary="any objective on every prefix of the embedding, so that short prefixes are embeddings too",
    paper="arXiv:2205.13147",
)
class Matryoshka(Objective):
    """`sum_m c_m L_m(z_{1:m})` for any objective L of this package, each prefix with heads of its own.

    Cross-entropy has one `MatryoshkaHead`, tied (a single cumulative pass over all lengths) or untied. Other objectives
    are copied once for each length; the encoder runs once a batch all the same. An objective with a teacher keeps one
    teacher for each length.

    Source: A. Kusupati et al., "Matryoshka representation learning", 2022, arXiv:2205.13147.

    Arguments:
        base: an objective or the name of one.
        dims: the prefix lengths, increasing up to the whole embedding; `None` is the embedding and its halves down to 8.
        weights: `c_m`, 1 each unless given.
        normalize: divide each prefix by its norm; "auto" does where the encoder itself gives unit vectors.
        tied: cross-entropy only: one map whose columns are cut, instead of a head for each length.
        base_arguments: of the base, where it is a name.
    """

    def __init__(
        self,
        base: str | Objective = "cross_entropy",
        dims: Sequence[int] | None = None,
        *,
        weights: Sequence[float] | None = None,
        normalize: Normalize = "auto",
        tied: bool = False,
        base_arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(base, str):
            model: Objective = objectives.build(base, **(base_arguments or {}))
        elif base_arguments:
            raise ValueError("base_arguments: given with an objective that is built already; give the name of one")
        else:
            model = base
            registered = getattr(type(base), "registered_name", None)
            if registered is not None:
                self.init_arguments["base"] = registered
                self.init_arguments["base_arguments"] = dict(base.init_arguments)
        if isinstance(model, Matryoshka):
            raise ValueError("base: a Matryoshka objective inside another one; give its base")
        if normalize not in ("auto", True, False):
            raise ValueError(f"normalize: {normalize!r}; allowed: 'auto', True, False")
        if tied and not isinstance(model, CrossEntropy):
            raise ValueError(f"tied: only cross-entropy has a head to tie, not {type(model).__name__}")
        self.base = model
        self.dims = None if dims is None else nesting_dims(dims)
        self.weights = None if weights is None else _weights(weights, self.dims or (0,) * len(weights))
        self.init_arguments["dims"] = None if self.dims is None else list(self.dims)
        self.init_arguments["weights"] = None if self.weights is None else list(self.weights)
        self.normalize, self.tied = normalize, tied
        self.normalizes = normalize is True
        self.head: MatryoshkaHead | None = None
        self.copies = nn.ModuleDict()
        vars(self).update(views=model.views, needs_labels=model.needs_labels, distributed_kind=model.distributed_kind)

    distributed_kind: ClassVar[ReductionKind] = ReductionKind.LOCAL_MEAN
    healthy: ClassVar[dict[str, str]] = {}

    @property
    def prefixes(self) -> tuple[int, ...]:
        """The trained prefix lengths; known after `setup` where `dims` was not given."""
        if self.dims is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) before asking for its prefixes")
        return self.dims

    def suited_views(self, dataset: Any) -> Any:
        """Those of the base."""
        return self.base.suited_views(dataset)

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the heads of every length; raises ValueError for `dims` that do not end at the embedding."""
        if self._same_sizes(embedding_dim=embedding_dim, num_classes=num_classes):
            return
        self.dims = nesting_dims(self.dims or default_dims(embedding_dim), embedding_dim)
        self.weights = _weights(self.weights, self.dims)
        if isinstance(self.base, CrossEntropy):
            copy.deepcopy(self.base).setup(embedding_dim=embedding_dim, num_classes=num_classes)  # its complaints
            self.head = MatryoshkaHead(self.dims, num_classes or 0, tied=self.tied)
        else:
            for m in self.dims:
                made = copy.deepcopy(self.base)
                made.setup(embedding_dim=m, num_classes=num_classes)
                self.copies[str(m)] = made
        words = {f"{n}@{m}": words for m in self.dims for n, words in self.base.healthy.items()}
        vars(self)["healthy"] = words

    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        if self.normalize == "auto":
            training = encoder.training
            with torch.no_grad():
                norms = encoder.eval()(sample).norm(dim=-1)
            encoder.train(training)
            self.normalizes = bool(((norms - 1).abs() < 1e-3).all())
        for m, made in self._each():
            made.attach(_Prefix(encoder, m, self.normalizes), sample)

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if self.head is not None:
            return self._classified(encoder, batch)
        once = _Remembered(encoder)
        total: dict[str, tuple[Tensor, float]] = {}
        for (m, made), weight in zip(self._each(), self._checked_weights(), strict=True):
            terms = made(_Prefix(once, m, self.normalizes), batch)
            total |= {f"{name}@{m}": (value, weight * terms.weights[name]) for name, value in terms.items()}
        return LossTerms(total)

    def _classified(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        """Cross-entropy of all lengths from the stacked logits."""
        if batch.label is None:
            raise ValueError("label: the batch has none; cross-entropy needs labels")
        assert isinstance(self.base, CrossEntropy)
        logits = self._logits(encoder(batch.x))
        terms = {}
        for index, (m, weight) in enumerate(zip(self.prefixes, self._checked_weights(), strict=True)):
            one = cross_entropy(logits[:, index], batch.label, label_smoothing=self.base.label_smoothing)
            terms[f"cross_entropy@{m}"] = (one["cross_entropy"], weight)
        return LossTerms(terms)

    def _logits(self, embedding: Tensor) -> Tensor:
        if self.head is None:
            raise RuntimeError("objective: call setup(embedding_dim=..., num_classes=...) before the first batch")
        if not self.normalizes:
            return self.head(embedding)
        cut = [self.head.at(_prefix(embedding, m, True), m) for m in self.prefixes]
        return torch.stack(cut, 1)

    def _checked_weights(self) -> tuple[float, ...]:
        if self.dims is None or self.weights is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) before the first batch")
        return self.weights

    def _each(self) -> list[tuple[int, Objective]]:
        found: list[tuple[int, Objective]] = []
        for name, made in self.copies.items():
            assert isinstance(made, Objective)
            found.append((int(name), made))
        return found

    def after_step(self, encoder: nn.Module, *, step: int, total_steps: int) -> None:
        for m, made in self._each():
            made.after_step(_Prefix(encoder, m, self.normalizes), step=step, total_steps=total_steps)

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The base's metrics for every prefix, and each one's mean standard deviation and effective rank."""
        once = _Remembered(encoder)
        embedding = once(batch.x)
        numbers: dict[str, Tensor] = {}
        for m in self.prefixes:
            cut = embedding[:, :m].float()
            if len(cut) > 1:
                numbers[f"embedding_std@{m}"] = cut.std(0).mean()
                numbers[f"effective_rank@{m}"] = effective_rank(cut).to(cut.dtype).nan_to_num(0.0)
        if self.head is not None and batch.label is not None:
            right = self._logits(embedding).argmax(-1) == batch.label[:, None]
            numbers |= {f"accuracy@{m}": right[:, i].float().mean() for i, m in enumerate(self.prefixes)}
        for m, made in self._each():
            found = made.metrics(_Prefix(once, m, self.normalizes), batch)
            numbers |= {f"{name}@{m}": value for name, value in found.items()}
        return numbers

    def predict(self, embedding: Tensor) -> Tensor | None:
        """Class logits from the whole embedding."""
        if self.head is not None:
            return self._logits(embedding)[:, -1]
        return self._each()[-1][1].predict(embedding) if len(self.copies) else None
