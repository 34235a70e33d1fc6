"""The standard audit beside one plain pass of the model over the same samples.

python benchmarks/audit.py [--samples 10000] [--threads 2] [--output audit.json]
"""

import resource
import time
from functools import partial

import torch

import erlangen as er
from harness import interleave, make_parser, write_json

MIB = 2**20


def peak() -> float:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def plain_pass(model: torch.nn.Module, x: torch.Tensor) -> None:
    with torch.inference_mode():
        for part in x.split(256):
            model(part)


def main() -> None:
    parser = make_parser(__doc__, repeats=2, threads=2)
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=40, help="of the plain encoder; 40 has 0.47 million parameters")
    parser.add_argument("--group", default="C8")
    parser.add_argument("--processor", action="store_true", help="count the processor's seconds, of all threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = er.data.load(options.data)
    x, _ = data.test.tensors(torch.arange(min(options.samples, len(data.test))))
    model = er.nn.images.PlainCNN(options.width, in_channels=x.shape[1]).eval()
    budget = er.audit.Budget(samples=options.samples, seconds=3600)
    plain_pass(model, x[:512])
    before = peak()
    audit = partial(er.audit, model, data, group=options.group, budget=budget)
    clock = time.process_time if options.processor else time.perf_counter
    cases = {"plain pass": partial(plain_pass, model, x), "standard audit": audit}
    timing = interleave(cases, options.repeats, 0, clock=clock)
    count = sum(p.numel() for p in model.parameters())
    row = {"samples": len(x), "parameters": count, "peak_growth_mib": peak() - before, **timing.to_dict()}
    row["clock"] = "processor" if options.processor else "wall"
    row["seconds_of_the_audit"] = timing.medians["standard audit"]
    print(row, flush=True)
    write_json(options.output, [row])


if __name__ == "__main__":
    main()
