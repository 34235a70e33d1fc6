"""A gallery of a million vectors: built from blocks, saved, memory-mapped, searched, upgraded, and its writer killed.

Each writer is killed (SIGKILL) while its file is half written; what was saved before must then open and answer as it did.

python benchmarks/large_gallery.py [--count 1000000] [--dim 64] [--folder /tmp/large_gallery] [--output large_gallery.json]
"""

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erlangen.deploy import Index, SpaceInfo, VersionedGallery, measure_upgrade, upgrade
from harness import make_parser, write_json

BLOCK = 50_000
WRITER = """
import sys, torch
from erlangen.deploy import SpaceInfo, VersionedGallery
gallery = VersionedGallery.open(sys.argv[1])
new = gallery.links[0].source
gallery.add(torch.randn(1000, new.dim), space=new)
gallery.save(sys.argv[1])
"""


def blocks(count: int, dim: int, path: Path) -> torch.Tensor:
    """`count` vectors around 1,000 centres, written a block at a time and memory-mapped."""
    centres = torch.randn(1000, dim, generator=torch.Generator().manual_seed(0))
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dim))
    for number, start in enumerate(range(0, count, BLOCK)):
        generator = torch.Generator().manual_seed(1 + number)
        rows = min(BLOCK, count - start)
        noise = torch.randn(rows, dim, generator=generator)
        array[start : start + rows] = (centres[torch.arange(start, start + rows) % 1000] + noise).numpy()
    array.flush()
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def killed(target: Path) -> bool:
    """Start a writer and kill it while a temporary file grows; False if it was too fast."""
    seen = {p.name for p in target.glob(".vectors-*.tmp")}
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)])
    while writer.poll() is None:
        growing = [p for p in target.glob(".vectors-*.tmp") if p.name not in seen]
        if growing and growing[0].stat().st_size > 1 << 20:
            writer.send_signal(signal.SIGKILL)
        time.sleep(0.002)
    return writer.returncode == -signal.SIGKILL


def measure(count: int, dim: int, storage: str, queries: int, folder: Path) -> dict[str, Any]:
    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        seconds[name] = time.perf_counter() - start
        return result

    vectors = timed("generate", lambda: blocks(count, dim, folder / "vectors.npy"))
    old, new = SpaceInfo("old", dim), SpaceInfo("new", dim)
    index = timed("build", lambda: Index.build(vectors, space=old, storage=storage))
    timed("save", lambda: index.save(folder / "index"))
    opened = timed("open", lambda: Index.open(folder / "index", mmap=True))
    asked = torch.arange(0, count, count // queries)[:queries]
    query = vectors[asked]
    found = timed("search", lambda: opened.search(query, 10))
    right = bool((found.ids[:, 0] == asked).all())
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(9))).Q
    sample = torch.arange(0, count, max(1, count // 4000))
    report = measure_upgrade(vectors[sample], vectors[sample] @ turn.T, sample % 1000 // 100, link="orthogonal")
    gallery = upgrade(opened, report, old=old, new=new)
    timed("save the upgraded gallery", lambda: gallery.save(folder / "gallery"))
    crossed = timed("search through the link", lambda: gallery.search(query @ turn.T, 10, space=new))
    kills = 0
    intact = True
    for _ in range(3):
        kills += killed(folder / "gallery")
        again = VersionedGallery.open(folder / "gallery")
        answers = again.search(query @ turn.T, 10, space=new, within=["old"])
        intact &= len(again) >= count and bool((answers.ids[:, 0] == asked).all())
    timed(
        "one writer left alone",
        lambda: subprocess.run([sys.executable, "-c", WRITER, str(folder / "gallery")], check=True),
    )
    last = VersionedGallery.open(folder / "gallery")
    clean = not list((folder / "gallery").glob(".*.tmp"))
    return {
        "count": count,
        "dim": dim,
        "storage": storage,
        "queries": queries,
        "bytes": index.store.nbytes,
        "every query found itself": right,
        "through the link": float((crossed.ids[:, 0] == asked).double().mean()),
        "accuracy moved by": report.moved[0],
        "writers killed half-way": kills,
        "nothing lost": intact,
        "after the next write": len(last),
        "left-overs cleared": clean,
        "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "ratios": {name: value / seconds["search"] for name, value in seconds.items()},
        "medians": seconds,
    }


def main() -> None:
    parser = make_parser(__doc__, repeats=1)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--storage", default="float16")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--folder", default="/tmp/large_gallery", help="a scratch folder, emptied afterwards")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=False)
    try:
        row = measure(options.count, options.dim, options.storage, options.queries, folder)
    finally:
        shutil.rmtree(folder)
    for name, value in row.items():
        print(f"{name}: {value}", flush=True)
    write_json(options.output, [row])


if __name__ == "__main__":
    main()
