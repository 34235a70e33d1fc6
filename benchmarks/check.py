"""What a check costs, in forward passes of the model: calls made, and time of the check over the time of one pass.

`forward` is one pass on the given inputs in float32, `pass` one on 8 times as many (8 group elements x the inputs).

python benchmarks/check.py [--output check.json] [--repeats 5] [--threads 1]
"""

import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry
from erlangen.nn.images import GroupCNN
from erlangen.testing import check
from harness import interleave, make_parser, write_json

ELEMENTS = 8


class GramMLP(nn.Module):
    """A perceptron of a million parameters on inner products: invariant under O(3)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 960), nn.SiLU(), nn.Linear(960, 960), nn.SiLU(), nn.Linear(960, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x @ x.mT).flatten(1))


def all_pairs(pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
    n = len(pos)
    source, target = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    edges = torch.stack([source[source != target], target[source != target]])
    return edges, (pos[edges[0]] - pos[edges[1]]).norm(dim=-1)


def cases() -> dict[str, tuple[nn.Module, Symmetry, tuple[Tensor, ...]]]:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
    image = torch.randn(4, 1, 28, 28)
    group_cnn = GroupCNN("C4", width=32)
    group_cnn(image)
    found: dict[str, tuple[nn.Module, Symmetry, tuple[Tensor, ...]]] = {
        "MLP 1M": (GramMLP(), Symmetry("O(3)"), (torch.randn(4, 8, 3),)),
        "GroupCNN C4": (group_cnn, Symmetry("C4", "image", "invariant"), (image,)),
        "transformer": (
            nn.TransformerEncoder(layer, 4, enable_nested_tensor=False),
            Symmetry("S(n)", "rows", "rows"),
            (torch.randn(4, 32, 128),),
        ),
    }
    try:
        from torch_geometric.nn.models import SchNet
    except ImportError:
        print("SchNet skipped: torch_geometric is not installed", flush=True)
        return found
    net = SchNet(hidden_channels=64, num_filters=64, num_interactions=3, interaction_graph=all_pairs)
    inputs = (torch.randint(1, 9, (12,)), torch.randn(12, 3))
    found["SchNet"] = (net, Symmetry("E(3)", ("invariant", "points"), "invariant"), inputs)
    return found


def measure(name: str, how: str, repeats: int) -> dict[str, object]:
    model, symmetry, inputs = cases()[name]
    model.eval()
    options = {"risks": False, "locate": False} if how == "verdict" else {"seconds": 60.0}
    batched = name != "SchNet"
    many = tuple(x.repeat(ELEMENTS, *[1] * (x.dim() - 1)) for x in inputs) if batched else inputs
    result = check(model, symmetry, inputs, n_elements=ELEMENTS, **options)

    def one_pass() -> None:
        with torch.no_grad():
            for _ in range(1 if batched else ELEMENTS):
                model(*many)

    def forward() -> None:
        with torch.no_grad():
            model(*inputs)

    def whole() -> None:
        check(model, symmetry, inputs, n_elements=ELEMENTS, **options)

    timing = interleave({"forward": forward, "pass": one_pass, "check": whole}, repeats, 1)
    parameters = sum(p.numel() for p in model.parameters())
    row = {
        "model": name,
        "what": how,
        "parameters": parameters,
        "elements": ELEMENTS,
        "verdict": result.verdict,
        "calls": result.calls,
        "check_over_pass": timing.medians["check"] / timing.medians["pass"],
        **timing.to_dict(),
    }
    print(
        f"{name:12} {how:8} {parameters:8} parameters  {result.verdict:6} {result.calls:3} calls  forward "
        f"{timing.medians['forward'] * 1e3:7.2f} ms  check {timing.medians['check'] * 1e3:7.1f} ms  = "
        f"{timing.ratios['check']:6.1f} forwards = {row['check_over_pass']:5.1f} passes of {ELEMENTS} elements",
        flush=True,
    )
    return row


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [measure(name, how, options.repeats) for name in cases() for how in ("verdict", "whole")]
    write_json(options.output, rows, benchmark="A check, in forward passes of the model it checks")


if __name__ == "__main__":
    main()
