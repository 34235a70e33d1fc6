"""Binary codes as int64 words, their Hamming distances, and the nearest codes with ties in a promised order."""

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64
from torch import Tensor

WORD = 64
GROUP = 32
QUERY_BLOCK = 512
ROW_BLOCK = 2048
FEW_ROW_BLOCK = 1 << 16
FEW_QUERIES = 24
STRIDE = 64
BYTE_WORDS = 3  # whose distances fit into a byte
WORD_BLOCK = 1 << 15


def pack_bits(bits: Bool[Tensor, "*batch bits"]) -> Int64[Tensor, "*batch words"]:
    """Bits into `ceil(bits / 64)` words of 64, the first bit lowest; what is left of the last word is zero."""
    if bits.shape[-1] == 0:
        raise ValueError("bits: 0 bits; a code has at least one")
    words = -(-bits.shape[-1] // WORD)
    if bits.device.type == "cpu":
        octets = np.packbits(bits.numpy(), axis=-1, bitorder="little")
        room = np.zeros((*octets.shape[:-1], 8 * words), np.uint8)
        room[..., : octets.shape[-1]] = octets
        return torch.from_numpy(room.view(np.int64))
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, words * WORD - bits.shape[-1]))
    shift = torch.arange(8, dtype=torch.uint8, device=bits.device)
    eighths = (padded.reshape(*bits.shape[:-1], words * 8, 8) << shift).sum(-1, dtype=torch.uint8)
    return eighths.view(torch.int64)


def unpack_bits(words: Int64[Tensor, "*batch words"], bits: int) -> Bool[Tensor, "*batch bits"]:
    """What `pack_bits` packed."""
    if not 1 <= bits <= WORD * words.shape[-1]:
        raise ValueError(f"bits: {bits}; {words.shape[-1]} words hold 1 to {WORD * words.shape[-1]}")
    octets = words.contiguous().view(torch.uint8)
    shift = torch.arange(8, dtype=torch.uint8, device=words.device)
    return (((octets[..., None] >> shift) & 1) == 1).flatten(-2)[..., :bits]


def popcount(words: Int64[Tensor, "*batch"]) -> Int32[Tensor, "*batch"]:
    """How many bits of each word are set."""
    if words.device.type == "cpu" and hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(words.contiguous().numpy().view(np.uint64))
        return torch.from_numpy(np.asarray(counts)).to(torch.int32)
    x = words - ((words >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((x * 0x0101010101010101 >> 56) & 0x7F).to(torch.int32)


def hamming_distance(
    first: Int64[Tensor, "*batch words"], second: Int64[Tensor, "*others words"]
) -> Int32[Tensor, "*pairs"]:
    """The number of bits in which two codes differ; batch dimensions broadcast.

    For signs s = +-1 of q bits it is `(q - <s, s'>) / 2`.
    """
    total = popcount(first[..., 0] ^ second[..., 0])
    for word in range(1, first.shape[-1]):
        total += popcount(first[..., word] ^ second[..., word])
    return total


def hamming_topk(
    query: Int64[Tensor, "queries words"], codes: Int64[Tensor, "count others"], k: int
) -> tuple[Int64[Tensor, "queries k"], Int64[Tensor, "queries k"]]:
    """The `k` nearest codes: `(distance, row)`, nearest first, the smaller row first among equals.

    Many queries, on a CPU, are compared by a product of 8-bit integers: for a query s = +-1 with |q| ones and a code b of
    zeros and ones the distance is `|q| - <s, b>`. Rows are taken in groups of 32. The k nearest in the order (distance,
    row) lie in the k groups that come first in the order (least distance, group), so only the least distance of each
    group is kept and the chosen groups are looked at again. Few queries are compared by XOR and popcount, a byte for each
    code; the k-th of the least distances of interleaved groups is a threshold that k codes or a few more pass. That reads
    one word of every code at a time, best from codes that lie so in memory (`codes.T.contiguous().T`).
    """
    if isinstance(k, bool) or not 1 <= k <= len(codes):
        raise ValueError(f"k: {k}; must be between 1 and the {len(codes)} codes")
    if query.shape[1] != codes.shape[1]:
        raise ValueError(f"query: {query.shape[1]} words, the codes have {codes.shape[1]}")
    if one_by_one(query):
        found = np.empty((2, len(query), k), np.int64)
        for row, one in enumerate(query.numpy()):
            found[0, row], found[1, row] = _nearest_of_one(one, codes.numpy(), k)
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])
    parts = [_nearest(part, codes, k) for part in query.split(QUERY_BLOCK)]
    if not parts:
        nothing = torch.empty(0, k, dtype=torch.int64, device=codes.device)
        return nothing, nothing
    distances, rows = (torch.cat(part) for part in zip(*parts, strict=True))
    return distances, rows


def one_by_one(query: Int64[Tensor, "queries words"]) -> bool:
    """Whether so few queries are compared by popcount, each on its own, and not by a product."""
    return query.device.type == "cpu" and len(query) <= FEW_QUERIES and hasattr(np, "bitwise_count")


def _nearest(query: Tensor, codes: Tensor, k: int) -> tuple[Tensor, Tensor]:
    groups = -(-len(codes) // GROUP)
    if groups <= k:
        rows = torch.arange(len(codes), device=codes.device).expand(len(query), -1)
        return _ordered(hamming_distance(query[:, None], codes[None]), rows, k)
    by_product = query.device.type == "cpu" and len(query) > FEW_QUERIES
    least = _least_by_product(query, codes) if by_product else _least_by_popcount(query, codes)
    if int(least.amax()) * groups < 1 << 30:
        key = least.mul_(groups).add_(torch.arange(groups, dtype=torch.int32, device=codes.device))
    else:
        key = least.to(torch.int64) * groups + torch.arange(groups, device=codes.device)
    chosen = key.topk(k, dim=1, largest=False, sorted=False).indices
    rows = (chosen[..., None] * GROUP + torch.arange(GROUP, device=codes.device)).flatten(1)
    there = rows < len(codes)
    looked_at = codes.index_select(0, rows.clamp(max=len(codes) - 1).flatten()).view(*rows.shape, -1)
    distance = hamming_distance(query[:, None], looked_at)
    return _ordered(distance.masked_fill(~there, 1 << 30), rows, k)


def _ordered(distance: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    span = int(rows.max()) + 1
    best = (distance.to(torch.int64) * span + rows).topk(k, dim=1, largest=False).values
    return best // span, best % span


def _nearest_of_one(query: np.ndarray, codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and rows of the `k` codes nearest to one, by a threshold that at least k pass."""
    total = _distances_to_one(query, codes)
    across = len(total) // STRIDE
    least = total[: across * STRIDE].reshape(STRIDE, across).min(0) if across >= k else total
    rows = np.flatnonzero(total <= np.partition(least, k - 1)[k - 1])
    distance = total[rows]
    order = np.argsort(distance, kind="stable")[:k]
    return distance[order].astype(np.int64), rows[order]


def _distances_to_one(query: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Distances as bytes where they fit, else as 16-bit numbers."""
    count, words = codes.shape
    total = np.empty(count, np.uint8 if words <= BYTE_WORDS else np.uint16 if words < 1024 else np.uint32)
    differing, bits = np.empty(min(count, WORD_BLOCK), np.int64), np.empty(min(count, WORD_BLOCK), np.uint8)
    for start in range(0, count, WORD_BLOCK):
        block, out = codes[start : start + WORD_BLOCK], total[start : start + WORD_BLOCK]
        room, some = differing[: len(out)], bits[: len(out)]
        for first in range(0, words, BYTE_WORDS):
            part = out if words <= BYTE_WORDS else np.empty(len(out), np.uint8)
            for word in range(first, min(first + BYTE_WORDS, words)):
                np.bitwise_xor(block[:, word], query[word], out=room)
                np.bitwise_count(room.view(np.uint64), out=part if word == first else some)
                if word > first:
                    np.add(part, some, out=part)
            if part is not out:
                np.copyto(out, part) if first == 0 else np.add(out, part.astype(out.dtype), out=out)
    return total


def _least_by_product(query: Tensor, codes: Tensor) -> Tensor:
    """The least of `distance - |q|` in each group of rows, moved to begin at 0."""
    signs = _zeros_and_ones(query).mul_(2).sub_(1)
    groups = -(-len(codes) // GROUP)
    largest = torch.empty(groups, len(query), dtype=torch.int32)
    room = torch.empty(min(ROW_BLOCK, len(codes)), len(query), dtype=torch.int32)
    for start in range(0, len(codes), ROW_BLOCK):
        block = codes[start : start + ROW_BLOCK]
        surplus = -len(block) % GROUP
        products = torch._int_mm(_zeros_and_ones(block), signs.T, out=room[: len(block)])
        if surplus:
            products = torch.nn.functional.pad(products, (0, 0, 0, surplus), value=-(1 << 20))
        many = len(products) // GROUP
        torch.amax(products.view(many, GROUP, -1), 1, out=largest[start // GROUP :][:many])
    return largest.T.contiguous().neg_().add_(signs.shape[1])


def _least_by_popcount(query: Tensor, codes: Tensor) -> Tensor:
    parts = []
    for block in codes.split(FEW_ROW_BLOCK):
        distance = hamming_distance(query[:, None], block[None])
        surplus = -len(block) % GROUP
        if surplus:
            distance = torch.nn.functional.pad(distance, (0, surplus), value=1 << 30)
        parts.append(distance.view(len(query), -1, GROUP).amin(-1))
    return torch.cat(parts, 1)


def _zeros_and_ones(words: Tensor) -> Tensor:
    octets = words.contiguous().numpy().view(np.uint8)
    return torch.from_numpy(np.unpackbits(octets, axis=1, bitorder="little").view(np.int8))
