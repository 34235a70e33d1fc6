"""What the frame promises of every probe and every kind of input: streaming, plans, data alone, looks, restoration."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from audit_models import Encoder, blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import erlangen as er
from erlangen.audit import Budget, Finding, PlanError, Report
from erlangen.audit.budget import Needs, check_plan
from erlangen.audit.preserve import fingerprint
from erlangen.audit.probe import Batch, Context, Probe, StreamingProbe
from erlangen.stats import Moments

SMALL = Budget(orbit_samples=48)


class Mean(StreamingProbe):
    """The mean of the inputs: a streaming probe with a known answer, which fails where it is told to."""

    name = "mean"

    def __init__(self, fail: str = "", nbytes: int = 8 * 81 * 83) -> None:
        self.fail, self.nbytes = fail, nbytes

    def needs(self, ctx: Context) -> Needs:
        if self.fail == "needs":
            raise ZeroDivisionError("needs is broken")
        return Needs(state_bytes=self.nbytes, cheaper="fewer pixels")

    def start(self, ctx: Context) -> Moments:
        if self.fail == "start":
            raise ZeroDivisionError("start is broken")
        return Moments(math.prod(ctx.input_shape))

    def update(self, state: Moments, batch: Batch) -> None:
        if self.fail == "update":
            raise ZeroDivisionError("update is broken")
        state.update(batch.x.flatten(1))

    def conclude(self, state: Moments, ctx: Context) -> list[Finding]:
        if self.fail == "conclude":
            raise ZeroDivisionError("conclude is broken")
        return [Finding(self.name, "mean.input", float(state.mean.mean()), details={"seen": state.count})]


@settings(max_examples=8, deadline=None)
@given(size=st.integers(1, 96))
def test_a_streaming_probe_sees_every_row_once_whatever_the_batches(size: int) -> None:
    x, label = blobs()
    batches = list(zip(x.split(size), label.split(size), strict=True))
    report = er.audit(None, batches, probes=[Mean()], budget=Budget(samples=96))
    assert report["mean"].details["seen"] == 96
    assert report["mean"].value == pytest.approx(float(x.mean()), rel=1e-6)


@pytest.mark.parametrize("where", ["needs", "start", "update", "conclude"])
def test_a_probe_that_fails_anywhere_is_a_finding_with_its_words(where: str) -> None:
    model = Encoder()
    before = fingerprint(model)
    report = er.audit(model, blobs(), probes=[Mean(where), *er.audit.presets.choose("dead_units")])
    assert report["mean"].verdict == "not_applicable" and f"{where} is broken" in report["mean"].meaning
    assert report["dead_units", "embedding"].value == 0.0
    assert fingerprint(model) == before
    assert f"{where} is broken" in report.to_html()


class Vandal(Probe):
    """Changes everything it can reach, then fails."""

    name = "vandal"

    def finish(self, ctx: Context) -> list[Finding]:
        with torch.no_grad():
            for p in ctx.model.parameters():
                p.add_(1)
                p.requires_grad_(False)
            for b in ctx.model.buffers():
                b.zero_()
        ctx.model.linear.weight.grad = None
        ctx.model.train()
        ctx.model.register_forward_hook(lambda *a: None)
        ctx.model.conv[1].register_full_backward_hook(lambda *a: None)
        torch.manual_seed(99)
        torch.rand(3)
        torch.set_grad_enabled(False)
        raise RuntimeError("and it fails")


def test_whatever_a_probe_does_to_the_model_is_undone() -> None:
    model = Encoder().train()
    model(blobs()[0]).sum().backward()
    model.linear.register_forward_hook(lambda *a: None)
    other, head = Encoder(seed=1).train(), nn.Linear(8, 3).train()
    before = [fingerprint(m) for m in (model, other, head)]
    er.audit(model, blobs(), probes=[Vandal(), *er.audit.presets.choose("rankme")], reference=other, classifier=head)
    assert [fingerprint(m) for m in (model, other, head)] == before
    assert torch.is_grad_enabled()


def test_a_model_that_fails_is_left_as_it_was() -> None:
    class Fails(Encoder):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:
                self.linear.bias.data.add_(1)
                raise RuntimeError("out of luck")
            return super().forward(x)

    model = Fails().train()
    before = fingerprint(model)
    with pytest.raises(RuntimeError, match="out of luck"):
        er.audit(model, blobs(), probes="rankme")
    assert fingerprint(model) == before


def test_streaming_states_add_up_in_the_plan() -> None:
    with pytest.raises(PlanError, match=r"'mean' needs 10,000,000 bytes of streaming state.*cheaper: fewer pixels"):
        er.audit(Encoder(), blobs(), probes=[Mean(nbytes=10_000_000)], budget=Budget(ram="8MB"))
    with pytest.raises(PlanError, match=r"inputs of all .* cheaper: Budget\(samples="):
        er.audit(
            None, torch.rand(400, 3, 64, 64), probes=[Mean()], budget=Budget(ram="30MB", samples=400, orbit_samples=8)
        )


def test_a_data_set_alone_is_audited_without_a_model() -> None:
    report = er.audit(
        None, blobs(), probes=[Mean(), *er.audit.presets.choose(["knn", "rankme", "linear_probe", "cka"])]
    )
    assert report["mean"].verdict == "info" and report.header["parameters"] is None
    for name in ("knn", "rankme", "linear_probe", "cka"):
        assert report[name].verdict == "not_applicable", report[name]
        assert "model" in report[name].meaning or "layers" in report[name].meaning
    assert len(report.sentences()) == 3 and "no model" in report.to_html()


def test_functions_and_pairs_of_function_and_parameters_are_models() -> None:
    x, label = blobs()
    plain = er.audit(lambda z: z.flatten(1), (x, label), probes="knn", layers=None)
    weight = nn.Parameter(torch.eye(81))
    pair = er.audit((lambda w, z: z.flatten(1) @ w["eye"], {"eye": weight}), (x, label), probes="knn", layers=None)
    assert plain["knn"].value == pair["knn"].value
    assert pair.header["parameters"] == 81 * 81 and plain.header["parameters"] == 0
    for wrong in (3, "model", Encoder):
        with pytest.raises(TypeError, match="model: got"):
            er.audit(wrong, (x, label))


def test_wide_layers_are_sketched_and_say_so() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grow, self.shrink = nn.Linear(81, 5000), nn.Linear(5000, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.shrink(self.grow(x.flatten(1)))

    report = er.audit(Wide(), blobs(), probes="dead_units")
    assert report.header["sketched"] == {"grow": 5000}
    assert "random sketch of 4,096" in report["dead_units", "grow"].warnings[0]
    assert not report["dead_units", "embedding"].warnings


def test_looking_until_decided_uses_fewer_samples_where_the_answer_is_clear() -> None:
    x, label = blobs(800)
    model = Encoder()
    options: dict[str, Any] = {"probes": ["knn", "generalization"], "layers": None, "training": blobs(400, seed=1)}
    clear = er.audit(model, (x, label), until="decided", budget=Budget(samples=800), **options)
    assert clear.header["n_used"] < 800 and clear["knn"].verdict == "pass"
    assert clear["knn"].ci is not None and clear["knn"].ci.level > 0.95
    noise = torch.randint(3, (800,), generator=torch.Generator().manual_seed(0))
    hard = er.audit(model, (x, noise), until="decided", budget=Budget(samples=800), **{**options, "probes": "knn"})
    assert hard["knn"].verdict != "pass" and hard.header["n_used"] >= clear.header["n_used"]
    assert er.audit(model, (x, label), **options).header["n_used"] == 800


def test_looks_are_samples_of_the_whole_whatever_its_order() -> None:
    """Data sorted by class: the first look must not see the first class alone."""
    x, label = blobs(900)
    order = label.argsort()
    report = er.audit(Encoder(), (x[order], label[order]), probes="knn", until="decided", budget=Budget(samples=900))
    assert report.header["n_used"] < 900 and len(report.header["classes"]) == 3
    assert report["knn"].reference is not None and report["knn"].reference.value < 0.5


def test_an_older_report_is_a_reference() -> None:
    first = er.audit(Encoder(), blobs(), probes=["rankme", "knn"])
    second = er.audit(Encoder(seed=3), blobs(), probes=["rankme", "knn"], reference=first)
    reference = second["knn"].reference
    assert reference is not None and reference.kind == "previous" and reference.value == first["knn"].value


def test_comparing_a_report_with_itself_finds_nothing_and_with_a_broken_model_finds_it() -> None:
    class Noisy(Encoder):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(torch.rand(x.shape, generator=torch.Generator().manual_seed(len(x))))

    probes = ["knn", "linear_probe", "rankme"]
    good, again = (er.audit(Encoder(), blobs(300), probes=probes) for _ in range(2))
    same = again.compare(good)
    assert {f.verdict for f in same.findings} == {"inconclusive"}
    assert same.sentences()[0] == "Nothing became better beyond noise."
    worse = er.audit(Noisy(), blobs(300), probes=probes).compare(good)
    assert worse["difference.knn.accuracy"].verdict == "fail"
    assert "bootstrap-bca (paired)" in worse["difference.knn.accuracy"].ci.method
    assert any(s.startswith("Became worse: ") and "knn, accuracy" in s for s in worse.sentences())
    with pytest.raises(er.audit.AuditFailed):
        worse.assert_ok()
    page = worse.to_html()
    assert "Became worse" in page
    with pytest.raises(ValueError, match="comparison"):
        worse.compare(good)


def test_differences_that_are_noise_are_called_so_at_the_stated_level() -> None:
    """200 pairs of reports of the same truth: few of them may differ."""
    from erlangen.audit.finding import Interval

    generator = torch.Generator().manual_seed(0)
    rows = (torch.rand(200, 2, 5, 100, generator=generator) < 0.8).double()
    wrong = 0
    for pair in rows:
        reports = []
        for side in pair:
            found = []
            for k, right in enumerate(side):
                mean = float(right.mean())
                ci = Interval(mean - 0.08, mean + 0.08, 0.95, "clopper-pearson", 100)
                details = {"per_sample": right.tolist()}
                found.append(Finding("p", f"p.m{k}", mean, ci=ci, direction="higher", details=details))
            reports.append(Report(found, {"data": "d", "n_used": 100, "n_available": 100, "seed": 0}))
        verdicts = {f.verdict for f in reports[0].compare(reports[1]).findings}
        wrong += bool(verdicts & {"pass", "fail"})
    assert wrong <= 20  # 10 expected over five corrected differences each


def test_dead_units_are_counted_and_named() -> None:
    model = Encoder(dim=8)
    with torch.no_grad():
        model.linear.weight[[2, 5]] = 0
        model.conv[0].weight[1], model.conv[0].bias[1] = 0, -1.0
        model.conv[1].running_mean[1], model.conv[1].running_var[1] = 0, 1
    report = er.audit(model, blobs(), probes="dead_units")
    assert report["dead_units", "embedding"].details["which"] == [2, 5]
    assert report["dead_units", "embedding"].value == pytest.approx(2 / 8)
    with torch.no_grad():
        fires = model.eval().conv(blobs()[0]).amax((0, 2, 3)) > 0
    assert report["dead_units", "conv.2"].details["which"] == (~fires).nonzero().squeeze(1).tolist()
    assert not fires[1]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "erlangen.report/1"}', "<html></html>", "\x00\x01", "[" * 5000]
)
def test_what_is_no_report_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"report\.json"):
        Report.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"report\.json"):
        Report.load(path)


def test_a_report_with_fields_of_wrong_kinds_is_refused(tmp_path: Path) -> None:
    good = er.audit(Encoder(), blobs(), probes="rankme")
    path = tmp_path / "r.json"
    for change in (
        {"verdict": "splendid"},
        {"value": "much"},
        {"ci": 3},
        {"unknown": 1},
        {"figure": {"kind": 1, "x": 2}},
    ):
        record = good.to_dict()
        record["findings"][0].update(change)
        with pytest.raises(ValueError, match="record"):
            Report.from_dict(record)
    good.to_html(path.with_suffix(".html"))
    assert Report.load(path.with_suffix(".html")).findings == good.findings


def test_a_probe_twice_and_no_probe_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        er.audit(Encoder(), blobs(), probes=["knn", "knn"])
    with pytest.raises(ValueError, match="none given"):
        er.audit(Encoder(), blobs(), probes=[])


def test_every_probe_file_is_in_the_catalogue() -> None:
    import erlangen.audit.catalogue as catalogue

    folder = Path(er.audit.__file__).parent / "probes"
    assert {p.stem for p in folder.glob("*.py")} - {"__init__"} <= set(catalogue.__all__)
    assert all(hasattr(catalogue, name) for name in catalogue.__all__)


@settings(max_examples=8, deadline=None)
@given(samples=st.integers(8, 96), orbit=st.integers(4, 40), raw=st.booleans())
def test_what_is_held_stays_below_what_was_planned(samples: int, orbit: int, raw: bool) -> None:
    held: list[int] = []

    class Weighs(Probe):
        name = "weighs"

        def needs(self, ctx: Context) -> Needs:
            return Needs(raw=raw, twin=True)

        def finish(self, ctx: Context) -> list[Finding]:
            held.append(ctx.collected.nbytes)
            return []

    report = er.audit(Encoder(), blobs(), probes=[Weighs()], budget=Budget(samples=samples, orbit_samples=orbit))
    assert 0 < held[0] <= report.header["planned_bytes"]


def test_a_stream_without_end_is_read_no_further_than_the_budget() -> None:
    taken = []

    def endless() -> Any:
        while True:
            taken.append(1)
            yield blobs(10, seed=len(taken))

    report = er.audit(Encoder(), endless(), probes=["knn", "dead_units"], budget=Budget(samples=55))
    assert report.header["n_used"] == 55 and report.header["n_available"] is None and len(taken) <= 7


def test_neighbours_of_noise_are_above_chance_no_more_often_than_stated_in_200_runs() -> None:
    generator = torch.Generator().manual_seed(0)
    passed = 0
    for _ in range(200):
        x, label = torch.randn(80, 4, generator=generator), torch.randint(3, (80,), generator=generator)
        passed += er.audit(lambda z: z, (x, label), probes="knn", layers=None, reference=None)["knn"].verdict == "pass"
    assert passed <= 10


def test_the_time_budget_leaves_probes_out_and_says_so() -> None:
    report = er.audit(Encoder(), blobs(), probes=["rankme", "knn"], budget=Budget(seconds=1e-6))
    assert all(f.verdict == "not_applicable" and "seconds of the budget" in f.meaning for f in report.findings)


def test_same_inputs_and_seed_give_the_same_bytes() -> None:
    one, two = (er.audit(Encoder(), blobs(), group="C4", budget=SMALL).without_costs() for _ in range(2))
    assert one.to_json() == two.to_json() and one.to_html() == two.to_html()
    assert er.audit(Encoder(), blobs(), group="C4", budget=SMALL, seed=1).without_costs().to_json() != one.to_json()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_precision_are_given_inputs_of_theirs(dtype: torch.dtype) -> None:
    plain, other = Encoder(), Encoder().to(dtype)
    values = [er.audit(m, blobs(), probes=["rankme", "knn"])["rankme", "embedding"].value for m in (plain, other)]
    assert values[1] == pytest.approx(values[0], rel=1e-4 if dtype == torch.float64 else 0.1)


def test_a_model_of_tokens_is_given_whole_numbers() -> None:
    model = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(40, 4))
    token = torch.randint(0, 20, (60, 5), generator=torch.Generator().manual_seed(0))
    report = er.audit(
        model, (token, token[:, 0] % 4), probes=["rankme", "collapse", "geometry", "cka", "feature_complexity"]
    )
    assert {f.layer for f in report.findings if f.probe == "rankme"} >= {"0", "embedding"}
    assert not [f for f in report.findings if f.rule == "the probe failed"]


def test_labels_that_are_no_class_numbers_are_refused_not_rounded() -> None:
    x, label = blobs()
    with pytest.raises(ValueError, match="no whole numbers"):
        er.audit(Encoder(), (x, label + 0.5), probes="knn")
    with pytest.raises(ValueError, match="one class number"):
        er.audit(Encoder(), (x, nn.functional.one_hot(label)), probes="knn")
    whole = er.audit(Encoder(), (x, label.double().unsqueeze(1)), probes="knn")
    assert whole["knn"].value == er.audit(Encoder(), (x, label), probes="knn")["knn"].value


def test_a_model_that_cannot_be_copied_is_audited_without_its_twin() -> None:
    class Alone(Encoder):
        def __deepcopy__(self, memo: object) -> None:
            raise TypeError("there is only one of me")

    report = er.audit(Alone(), blobs(), probes=["rankme", "respect"])
    assert report["rankme", "embedding"].reference.kind == "theory" and report["respect"].reference is None


def test_a_report_of_many_layers_and_samples_stays_below_two_megabytes() -> None:
    first = er.audit(Encoder(), blobs(), group="C4", budget=SMALL)
    heavy = [
        dataclasses.replace(f, layer=f"{f.layer}.{i}", details={**f.details, "note": "x" * 30_000})
        for i in range(4)
        for f in first.findings[:24]
    ]
    page = Report(heavy, first.header, first.panels).to_html()
    assert len(page.encode()) <= 2_000_000
    assert "no figures and no details" in page


def test_a_reference_with_other_layers_is_compared_where_both_have_them(caplog):
    data = (torch.randn(80, 6, generator=torch.Generator().manual_seed(0)), torch.arange(80) % 2)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    other = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    report = er.audit(model, data, reference=other, probes=["rankme", "dead_units"])
    assert {f.layer for f in report.findings} <= {"0", "1", "2", "embedding"}
    assert "reference: has no layer" in caplog.text
    with pytest.raises(
        ValueError, match=r"^layers, reference: the reference model has no 4; name layers that both have$"
    ):
        er.audit(model, data, reference=other, layers=["0", "4"], probes=["rankme"])


@pytest.mark.parametrize(("shared", "raw"), [(600_000, 900_000), (1_200_000, 300_000)])
def test_the_number_of_samples_that_a_refused_plan_names_fits(shared: int, raw: int) -> None:
    budget, needs = Budget(ram="1MB"), {"copies": Needs(raw=True)}
    with pytest.raises(PlanError, match=r"of (all )?300 samples") as refused:
        check_plan(shared, needs, budget, raw=raw, rows=300)
    named = re.search(r"Budget\(samples=(\d+)\)", str(refused.value))
    assert named is not None
    fewer = int(named[1])
    assert 0 < check_plan(shared * fewer // 300, needs, budget, raw=raw * fewer // 300, rows=fewer) <= 10**6


def test_pictures_call_a_reference_model_by_that_name() -> None:
    x = torch.rand(40, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    made = [nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 6)) for _ in range(2)]
    probes = ["respect", "equivariance", "linear_probe", "lie_derivative"]
    for reference, words, never in (
        (made[1], "reference model", "untrained"),
        ("untrained", "untrained twin", "reference model"),
    ):
        report = er.audit(made[0], (x, torch.arange(40) % 2), group="C4", reference=reference, probes=probes)
        shown = report.to_html().split("Methods and numbers</h2>")[0]
        assert f"elative to the {words}" in shown
        assert words in str(report.panels["profile_probe"])
        assert words in str(report["lie_derivative.rotation"].figure)
        assert never not in str(report.panels)
        assert f"the {never}" not in shown
