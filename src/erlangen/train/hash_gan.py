"""Binary codes learned together with a generator of images of each class."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from erlangen.data import ArrayDataset
from erlangen.nn.hash_head import HashHead
from erlangen.nn.images.class_generator import ClassGenerator
from erlangen.objectives.ac_gan import ac_gan_critic, ac_gan_generator, labelled_cross_entropy
from erlangen.objectives.deep_hash import quantization_loss, triplet_ranking
from erlangen.objectives.terms import LossTerms
from erlangen.objectives.vicreg_terms import covariance_loss, variance_loss
from erlangen.train.errors import NotFittedError, TrainingError
from erlangen.train.prepared import PreparedEncoder
from erlangen.train.randomness import generator_for, preserved_globals, seed_globals


class HashGAN(nn.Module):
    """Deep semantic hashing with a generative adversarial network: few labels, many images.

    One encoder carries three heads: real or synthetic, the class, and the bits. Against it plays a generator that is
    told the class. With h the relaxed bits, the encoder minimises

        source + class_weight class + triplet_weight triplet(real; synthetic of its class, synthetic of another)

    and the generator fools `source` and is read as its class (AC-GAN). Images without a label (-1) count in `source` and
    in what keeps bits decided and balanced. Z. Qiu, Y. Pan, T. Yao, T. Mei, "Deep Semantic Hashing with Generative
    Adversarial Networks", 2017, arXiv:1804.08275. Three differences: distances are shares of the bits, so that the
    margin does not depend on their number; the triplets of real images are kept beside those with synthetic ones; and
    the bits are decided and balanced by the terms of `objectives.DeepHash`.

    Arguments:
        bits: of the code.
        steps: of both networks, with Adam.
        batch_size, lr: of both.
        margin: by how large a share of the bits a negative must be farther than a positive.
        noise, width: of the generator (`nn.images.ClassGenerator`).
        class_weight, triplet_weight, quantization, balance: weights.
        synthetic: False leaves the generator out: the same network and steps on real images alone.
    """

    def __init__(
        self,
        bits: int = 32,
        steps: int = 400,
        *,
        batch_size: int = 64,
        lr: float = 1e-3,
        margin: float = 0.25,
        noise: int = 32,
        width: int = 16,
        class_weight: float | int = 1.0,
        triplet_weight: float | int = 1.0,
        quantization: float | int = 0.1,
        balance: float | int = 0.1,
        synthetic: bool = True,
    ) -> None:
        super().__init__()
        if min(bits, steps) < 1 or batch_size < 4 or not 0 < lr < float("inf"):
            raise ValueError(f"bits, steps, batch_size, lr: {bits}, {steps}, {batch_size}, {lr}; 1, 1, 4, above 0")
        if not 0 < margin <= 1:
            raise ValueError(f"margin: {margin}; a share of the bits, above 0 and at most 1")
        weights = {"class_weight": class_weight, "triplet_weight": triplet_weight}
        weights |= {"quantization": quantization, "balance": balance}
        for name, value in weights.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}: {value}; weights are at least 0")
        self.bits, self.steps, self.batch_size, self.lr, self.margin = bits, steps, batch_size, lr, margin
        self.noise, self.width, self.weights, self.synthetic = noise, width, weights, synthetic
        self.encoder: nn.Module | None = None
        self.generator: ClassGenerator | None = None
        self.history: list[dict[str, float]] = []

    def fit(self, encoder: nn.Module, data: ArrayDataset, *, seed: int = 0) -> HashGAN:
        """Learn from the train part of images, some of them labelled; the same seed gives the same codes.

        Raises:
            ValueError: no images, fewer than two classes among the labels, or a class without a label.
            TrainingError: a term stopped being finite.
        """
        if data.kind != "image" or not data.num_classes or data.num_classes < 2 or data.label is None:
            raise ValueError(f"data: {data.name!r} has {data.num_classes} classes; images of two or more are needed")
        x, label = data.train.tensors()
        seen = torch.bincount(label[label >= 0], minlength=int(data.num_classes))
        if bool((seen == 0).any()):
            raise ValueError(
                f"data: class {int((seen == 0).nonzero()[0])} has no label; the generator learns each from some"
            )
        with preserved_globals():
            seed_globals(seed, "hash gan")
            self.encoder = PreparedEncoder(encoder, data.mean, data.std)
            width, count = int(encoder.embedding_dim), int(data.num_classes)  # type: ignore[arg-type]
            self.source, self.classes, self.hash = (
                nn.Linear(width, 1),
                nn.Linear(width, count),
                HashHead(width, self.bits),
            )
            shape = tuple(x.shape[1:])
            low, high = float(x.min()), float(x.max())
            if self.synthetic:
                self.generator = ClassGenerator(
                    count, (shape[0], shape[1], shape[2]), noise=self.noise, width=self.width, low=low, high=high
                )
            self.train()
            self._play(x, label, seed)
            self._settle(x)
        return self.eval().requires_grad_(False)

    def _play(self, x: Tensor, label: Tensor, seed: int) -> None:
        ours = [p for n, p in self.named_parameters() if not n.startswith("generator.")]
        encoder_rate = torch.optim.Adam(ours, lr=self.lr, betas=(0.5, 0.99))
        drawn = None if self.generator is None else self.generator.parameters()
        generator_rate = None if drawn is None else torch.optim.Adam(drawn, lr=self.lr, betas=(0.5, 0.99))
        generator, known = generator_for(seed, "hash gan"), (label >= 0).nonzero().flatten()
        for step in range(self.steps):
            for rate in (encoder_rate, generator_rate):
                if rate is not None:
                    rate.param_groups[0]["lr"] = self.lr * min(1.0, 2 * (1 - step / self.steps))
            half = torch.randint(len(known), (self.batch_size // 2,), generator=generator)
            rest = torch.randint(len(x), (self.batch_size - len(half),), generator=generator)
            rows = torch.cat([known[half], rest])  # half of every batch has labels, however few there are
            told = label[known[torch.randint(len(known), (self.batch_size,), generator=generator)]]
            images = None if self.generator is None else self.generator.sample(told, generator=generator)
            cost = self._encoder_terms(x[rows], label[rows], images, told)
            encoder_rate.zero_grad()
            cost.total.backward()
            encoder_rate.step()
            values = dict(cost)
            if images is not None and generator_rate is not None:
                z = self._embedded(images)
                gain = ac_gan_generator(
                    self.source(z)[:, 0], self.classes(z), told, class_weight=self.weights["class_weight"]
                )
                generator_rate.zero_grad()
                gain.total.backward()
                generator_rate.step()
                values |= {f"generator {name}": value for name, value in gain.items()}
            numbers = {name: float(value.detach()) for name, value in values.items()}
            wrong = [name for name, value in numbers.items() if not abs(value) < float("inf")]
            if wrong:
                raise TrainingError(f"hash gan: {', '.join(wrong)} not finite in step {step}; lower lr")
            self.history.append(numbers)

    def _encoder_terms(self, x: Tensor, label: Tensor, images: Tensor | None, told: Tensor) -> LossTerms:
        z = self._embedded(x)
        h = self.hash(z)
        terms = LossTerms(
            {
                "triplet": (
                    triplet_ranking(h, h, label, label, margin=self.margin, same=True),
                    self._of("triplet_weight"),
                ),
                "quantization": (quantization_loss(h), self._of("quantization")),
                "variance": (variance_loss(h), self._of("balance")),
                "covariance": (covariance_loss(h), self._of("balance")),
            }
        )
        if images is None:
            classes = labelled_cross_entropy(self.classes(z), label)
            return terms + LossTerms({"class": (classes, self._of("class_weight"))})
        drawn = self._embedded(images.detach())
        synthetic = triplet_ranking(h, self.hash(drawn), label, told, margin=self.margin)
        scores = self.source(z)[:, 0], self.source(drawn)[:, 0]
        critic = ac_gan_critic(
            *scores, self.classes(z), label, self.classes(drawn), told, class_weight=self._of("class_weight")
        )
        return terms + critic + LossTerms({"synthetic_triplet": (synthetic, self._of("triplet_weight"))})

    @torch.no_grad()
    def _settle(self, x: Tensor) -> None:
        """Batch norm's statistics for use are those of real images; while playing it saw mostly synthetic ones."""
        layers = [m for m in self._embedding_network().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momentum = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over the batches
        for start in range(0, len(x) if layers else 0, self.batch_size):
            if len(x[start : start + self.batch_size]) > 1:
                self._embedded(x[start : start + self.batch_size])
        for layer, value in zip(layers, momentum, strict=True):
            layer.momentum = value

    def _of(self, name: str) -> float:
        return float(self.weights[name])

    def _embedding_network(self) -> nn.Module:
        if self.encoder is None:
            raise NotFittedError("codes: not fitted; call fit(encoder, data) first")
        return self.encoder

    def _embedded(self, x: Tensor) -> Tensor:
        return self._embedding_network()(x)

    @torch.no_grad()
    def codes(self, x: Float[Tensor, "batch channels height width"]) -> Bool[Tensor, "batch bits"]:
        """The bits of images, for a `BinaryIndex`."""
        z = self._embedded(x)
        return self.hash.codes(z)

    @torch.no_grad()
    def sample(self, label: Int[Tensor, " batch"], *, seed: int = 0) -> Float[Tensor, "batch channels height width"]:
        """A synthetic image of each class."""
        if self.generator is None:
            raise NotFittedError("sample: no generator; fit with synthetic=True first")
        return self.generator.sample(label, generator=generator_for(seed, "sample"))

    def extra_repr(self) -> str:
        return f"{self.bits}, {self.steps}, batch_size={self.batch_size}, lr={self.lr:g}, synthetic={self.synthetic}"
