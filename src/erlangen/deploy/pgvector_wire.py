"""What goes over the wire to PostgreSQL in its binary formats: rows of (id, vector) in blocks, one vector at a time."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
END = b"\xff\xff"
ROWS = 4096
HEAD = [("dim", ">i2"), ("unused", ">i2")]


def row_layout(dim: int) -> np.dtype:
    """A row of `COPY ... (FORMAT BINARY)` with columns id (bigint) and embedding (vector)."""
    columns = [("columns", ">i2"), ("id_bytes", ">i4"), ("id", ">i8"), ("vector_bytes", ">i4")]
    return np.dtype([*columns, *HEAD, ("numbers", ">f4", (dim,))])


def copied(ids: Tensor, rows: Tensor) -> Iterator[bytes]:
    """The stream that `COPY ... FROM STDIN (FORMAT BINARY)` takes for float32 rows."""
    layout = row_layout(rows.shape[1])
    yield SIGNATURE
    for start in range(0, len(ids), ROWS):
        part = slice(start, start + ROWS)
        block = np.zeros(len(ids[part]), layout)
        block["columns"], block["id_bytes"], block["vector_bytes"] = 2, 8, 4 + 4 * rows.shape[1]
        block["dim"], block["id"], block["numbers"] = rows.shape[1], ids[part].numpy(), rows[part].numpy()
        yield block.tobytes()
    yield END


def received(stream: Iterable[bytes | bytearray | memoryview], dim: int) -> tuple[Tensor, Tensor]:
    """Ids and rows from `COPY (SELECT id, embedding ...) TO STDOUT (FORMAT BINARY)`."""
    content = bytearray().join(stream)
    block = np.frombuffer(content[len(SIGNATURE) : -len(END)], row_layout(dim))
    return torch.from_numpy(block["id"].astype(np.int64)), torch.from_numpy(block["numbers"].astype(np.float32))


def vector_bytes(row: Tensor) -> bytes:
    """One value of type vector."""
    return np.array([len(row), 0], ">i2").tobytes() + row.numpy().astype(">f4").tobytes()


def vectors_from(values: Iterable[bytes], dim: int) -> Tensor:
    """The rows that values of type vector hold, `[values, dim]`."""
    block = np.frombuffer(b"".join(values), np.dtype([*HEAD, ("numbers", ">f4", (dim,))]))
    return torch.from_numpy(block["numbers"].astype(np.float32))
