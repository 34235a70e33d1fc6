"""What the standard audit costs beside one plain pass over the same samples, both in one process and in turn.

python benchmarks/audit.py --threads 2 --json audit.json
"""

import argparse
import resource
import time

import torch

import erlangen as er
from harness import write_json

MIB = 2**20


def peak() -> float:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def forward(model: torch.nn.Module, x: torch.Tensor) -> float:
    """Seconds of a plain pass in batches of 256."""
    start = time.perf_counter()
    with torch.inference_mode():
        for part in x.split(256):
            model(part)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=40, help="of the plain encoder; 40 has 0.47 million parameters")
    parser.add_argument("--group", default="C8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", default=None)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = er.data.load(options.data)
    x, _ = data.test.tensors(torch.arange(min(options.samples, len(data.test))))
    model = er.nn.images.PlainCNN(options.width, in_channels=x.shape[1]).eval()
    budget = er.audit.Budget(samples=options.samples, seconds=3600)
    forward(model, x[:512])
    plain, audited, before, costs = [forward(model, x)], [], peak(), {}
    for _ in range(options.rounds):
        start = time.perf_counter()
        report = er.audit(model, data, group=options.group, budget=budget)
        audited.append(time.perf_counter() - start)
        costs = {f.probe: f.cost.seconds for f in report.findings}
        plain.append(forward(model, x))
    one, whole = (
        sorted(plain)[len(plain) // 2] if len(plain) > 2 else sum(plain) / 2,
        sorted(audited)[len(audited) // 2],
    )
    streaming = whole - sum(costs.values())
    print(f"{len(x)} samples, {sum(p.numel() for p in model.parameters()):,} parameters, {options.threads} threads")
    print(f"plain pass        {one:7.1f} s")
    print(f"one tapped pass   {streaming:7.1f} s  {streaming / one:.2f}x   (batches, taps, reservoir, set-up)")
    print(f"whole audit       {whole:7.1f} s  {whole / one:.2f}x")
    for probe, seconds in costs.items():
        print(f"  {probe:22s}{seconds:6.1f} s")
    print(f"peak memory grew by {peak() - before:.0f} MiB over that of a plain pass")
    row = {"plain": plain, "audit": audited, "ratio": whole / one, "streaming_ratio": streaming / one, "probes": costs}
    write_json(options.json, [row], peak_growth_mib=peak() - before)


if __name__ == "__main__":
    main()
