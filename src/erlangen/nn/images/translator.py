"""Networks that translate images between domains, and the critic that judges them."""

import itertools

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class ImageTranslator(nn.Module):
    """`(x, domain) -> x'` of the same shape: convolutions whose channels are scaled and shifted by the domain.

    `h <- ReLU(a_c * conv(h) + b_c)` with a and b of each domain c, and a last convolution back to the image's channels.
    Small on purpose: what it can change is what is easy, colour and texture, and not the shape that makes the class.

    Arguments:
        domains: how many.
        channels: of the images.
        width: channels inside.
        layers: convolutions before the last one.
        kernel_size: of all of them; odd.
    """

    def __init__(
        self, domains: int, *, channels: int = 3, width: int = 32, layers: int = 1, kernel_size: int = 3
    ) -> None:
        super().__init__()
        if domains < 2:
            raise ValueError(f"domains: {domains}; there is nothing to translate between fewer than 2")
        if min(channels, width, layers) < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"channels, width, layers, kernel_size: {channels}, {width}, {layers}, {kernel_size}; at least 1, and "
                "an odd kernel_size"
            )
        self.domains, self.width = domains, width
        sizes = [channels, *[width] * layers]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size, padding=kernel_size // 2) for a, b in itertools.pairwise(sizes)
        )
        self.domain = nn.Embedding(domains, 2 * width * layers)
        nn.init.normal_(self.domain.weight, std=0.5)
        self.last = nn.Conv2d(width, channels, kernel_size, padding=kernel_size // 2)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], domain: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Each image in the given domain."""
        told = self.domain(domain)[:, :, None, None].chunk(2 * len(self.convs), 1)
        h = x
        for number, conv in enumerate(self.convs):
            h = F.relu((1 + told[2 * number]) * conv(h) + told[2 * number + 1])
        return self.last(h)


class DomainCritic(nn.Module):
    """`x -> (map of how real, logits of the domains)`: strided convolutions, the domains read from their spatial mean.

    Arguments:
        domains: how many.
        channels: of the images.
        width: channels of the first convolution; each of the `layers` others doubles it and halves the image.
    """

    def __init__(self, domains: int, *, channels: int = 3, width: int = 32, layers: int = 1) -> None:
        super().__init__()
        if domains < 2 or min(channels, width, layers) < 1:
            raise ValueError(f"domains, channels, width, layers: {domains}, {channels}, {width}, {layers}; too few")
        parts: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
        for number in range(layers):
            parts += [nn.Conv2d(width << number, width << (number + 1), 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.trunk = nn.Sequential(*parts)
        self.real = nn.Conv2d(width << layers, 1, 1)
        self.domain = nn.Linear(width << layers, domains)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch 1 rows columns"], Float[Tensor, "batch domains"]]:
        h = self.trunk(x)
        return self.real(h), self.domain(h.mean((-2, -1)))
