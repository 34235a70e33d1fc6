"""Gates of ten tasks learned together beside learning them one after the other, as the released code does.

The loop is the published procedure written out: for every task, batches of 16 of its images, one pass of the intact
network and one of the gated one, one backward pass. Both take the same number of steps from the same batches.

python benchmarks/task_circuits.py [--output task_circuits.json] [--repeats 3] [--threads 1]
"""

from functools import partial

import torch
from torch import nn

from erlangen.audit.circuits import TaskDisentangler
from harness import interleave, make_parser, write_json

TASKS, IMAGES, EPOCHS = 10, 64, 10


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, TASKS))


def cnn() -> nn.Sequential:
    def block(a: int, b: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, TASKS))
    return nn.Sequential(block(1, 16, 1), block(16, 32, 2), block(32, 48, 1), block(48, 64, 2), head)


def loop(model: nn.Module, layers: list[str], x: torch.Tensor, label: torch.Tensor) -> None:
    """Every task by itself; the weights are frozen, so that no gradient is computed for them."""
    model.requires_grad_(requires_grad=False)
    for task in range(TASKS):
        rows = (label == task).nonzero().squeeze(1)
        gates: dict[str, torch.Tensor] = {}
        kept: dict[str, torch.Tensor] = {}
        opened = False

        def hook(name: str, module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
            if opened:  # noqa: B023
                shape = [1, -1] + [1] * (output.dim() - 2)
                if name not in gates:  # noqa: B023
                    gates[name] = torch.randn(output.shape[1], requires_grad=True)  # noqa: B023
                output = output * gates[name].sigmoid().reshape(shape)  # noqa: B023
            kept[name] = output  # noqa: B023
            return output

        handles = [model.get_submodule(n).register_forward_hook(partial(hook, n)) for n in layers]
        for _ in range(EPOCHS):
            for part in rows[torch.randperm(len(rows))].split(16):
                opened = False
                with torch.no_grad():
                    correct = model(x[part]).argmax(1) == label[part]
                original = dict(kept)
                opened = True
                loss = nn.functional.cross_entropy(model(x[part]), label[part])
                for name in layers:
                    loss = loss + nn.functional.mse_loss(kept[name][correct], original[name][correct])
                sparsity = sum(g.sigmoid().square().mean() for g in gates.values())
                ((loss + sparsity) / len(layers)).backward()
                with torch.no_grad():
                    for gate in gates.values():
                        gate -= 0.1 * nn.functional.normalize(gate.grad, dim=0)
                        gate.grad = None
        for handle in handles:
            handle.remove()


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for name, build, layers, size in (
        ("mlp", mlp, ["2", "4"], 8),
        ("cnn 14x14", cnn, ["0", "1", "2", "3"], 14),
        ("cnn 28x28", cnn, ["0", "1", "2", "3"], 28),
    ):
        model = build().eval()
        x = torch.randn(TASKS * IMAGES, 1, size, size, generator=generator)
        label = torch.arange(len(x)) % TASKS  # an untrained network is right for some: the cost is that of any
        together = TaskDisentangler(model, layers, beta=1.0, epochs=EPOCHS, images_per_task=IMAGES)
        cases = {
            "loop": partial(loop, model, layers, x, label),
            "together": partial(together.fit, (x, label)),
            "one task": partial(together.fit, (x, label), [0]),
        }
        timing = interleave(cases, options.repeats, 1)
        rows.append({"network": name, "tasks": TASKS, "images_per_task": IMAGES, **timing.to_dict()})
        print(
            name,
            timing.ratios,
            "ten tasks over one:",
            timing.medians["together"] / timing.medians["one task"],
            flush=True,
        )
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
