"""`erlangen audit` and `erlangen report` on good, empty, malformed and hostile input."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erlangen.cli.main import main

FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
    def forward(self, x):
        return self.body(x)

def make():
    torch.manual_seed(0)
    return Net()

def constant():
    return lambda x: torch.zeros(len(x), 3)

number = 3
"""
FAST = ["--probes", "rankme,knn", "--samples", "200", "--quiet"]


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


@pytest.fixture()
def factory(tmp_path: Path) -> str:
    path = tmp_path / "factory.py"
    path.write_text(FACTORY)
    return f"{path}:make"


def out_of(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_factory_is_audited_written_and_compared(factory: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page = tmp_path / "r.html"
    assert main(["audit", factory, "digits", "--html", str(page), *FAST]) == 0
    sentences = out_of(capsys)[0].splitlines()
    assert len(sentences) == 3
    assert main(["audit", factory, "digits", "--json", *FAST]) == 0
    record = json.loads(out_of(capsys)[0])
    assert record["sentences"] == sentences
    older = tmp_path / "old.json"
    older.write_text(json.dumps(record))
    assert main(["audit", factory, "digits", "--against", str(older), *FAST]) == 0
    assert out_of(capsys)[0].startswith("Nothing became better beyond noise.")
    assert main(["report", str(page), "--quiet"]) == 0
    assert out_of(capsys)[0].splitlines() == sentences
    assert main(["report", str(page), "--against", str(older), "--html", str(tmp_path / "c.html"), "--json"]) == 0
    assert json.loads(out_of(capsys)[0])["header"]["compared_with"]["model"] == "Net"
    assert "unchanged within noise" in (tmp_path / "c.html").read_text()


def test_what_became_worse_is_exit_code_one(factory: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    assert main(["audit", factory, "digits", "--json", *FAST]) == 0
    good.write_text(out_of(capsys)[0])
    assert main(["audit", factory.replace(":make", ":constant"), "digits", "--json", *FAST]) == 1
    bad.write_text(out_of(capsys)[0])
    assert main(["report", str(bad), "--against", str(good), "--quiet"]) == 1
    assert "Became worse" in out_of(capsys)[0]
    assert main(["report", str(good), "--against", str(bad), "--quiet"]) == 0


def test_a_data_set_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.npz"
    np.savez(path, x=rng.random((300, 8, 8), dtype=np.float32), y=rng.integers(0, 3, 300))
    code = main(["audit", str(path), "--probes", "knn", "--json", "--quiet"])
    record = json.loads(out_of(capsys)[0])
    assert code == 0 and record["header"]["parameters"] is None and record["header"]["n_used"] == 300
    assert main(["audit", "digits", "--preset", "science"]) == 2
    assert "--preset: science needs a model" in out_of(capsys)[1]


def test_a_named_data_set_alone_by_its_own_preset(capsys: pytest.CaptureFixture) -> None:
    assert main(["audit", "digits", "--samples", "400", "--json", "--quiet"]) in (0, 1)
    record = json.loads(out_of(capsys)[0])
    probes = {f["probe"] for f in record["findings"]}
    assert {"duplicates", "contradictory_labels", "data_dimension", "label_sharpness", "scaling_law"} <= probes
    assert "dimensions" in record["sentences"][1]


def test_looking_until_decided(factory: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["audit", factory, "digits", "--probes", "knn", "--until_decided", "--json", "--quiet"]) == 0
    assert json.loads(out_of(capsys)[0])["header"]["n_used"] < 359


@pytest.mark.parametrize("kind", [".safetensors", ".pt", ".ckpt"])
def test_weights_for_a_factory(factory: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    state = {"body.1.weight": torch.zeros(16, 64), "body.1.bias": torch.ones(16)}
    path = tmp_path / f"w{kind}"
    if kind == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        wrapped = {f"module.{k}": v for k, v in state.items()}
        torch.save({"state_dict": wrapped, "epoch": 3} if kind == ".ckpt" else wrapped, path)
    assert main(["audit", factory, "digits", "--weights", str(path), *FAST]) == 1
    assert "has collapsed" in out_of(capsys)[0]


def test_a_torchscript_file_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "model.pt"
    torch.jit.trace(Scripted(), torch.zeros(2, 1, 8, 8)).save(str(path))
    assert main(["audit", str(path), "digits", "--probes", "knn", "--samples", "200", "--json", "--quiet"]) == 0
    assert json.loads(out_of(capsys)[0])["header"]["parameters"] == 8 * 65


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch " + os.environ.get("ERLANGEN_PWNED", "/dev/null"),))


def test_pickled_code_is_never_run(factory: str, tmp_path: Path, capsys, monkeypatch) -> None:
    trap = tmp_path / "pwned"
    monkeypatch.setenv("ERLANGEN_PWNED", str(trap))
    path = tmp_path / "evil.pt"
    torch.save({"body.1.weight": Hostile()}, path)
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Hostile()))
    for name in ("evil.pt", "evil.ckpt"):
        assert main(["audit", factory, "digits", "--weights", str(tmp_path / name), *FAST]) == 2
        assert "holds no plain weights" in out_of(capsys)[1]
        assert main(["audit", str(tmp_path / name), "digits", *FAST]) == 2
        assert "no TorchScript model" in out_of(capsys)[1]
    assert not trap.exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nowhere.py:make", "digits"], "target"),
        (["{factory}x", "digits"], "make"),
        (["{folder}/factory.py:number", "digits"], "target"),
        (["{factory}", "no_such_data"], "data"),
        (["{factory}"], "data: needed"),
        (["{factory}", "digits", "--probes", "rnkme"], "rankme"),
        (["{factory}", "digits", "--probes", ""], "probes"),
        (["{factory}", "digits", "--layers", "nothing.*"], "layers"),
        (["{factory}", "digits", "--samples", "0"], "samples"),
        (["{factory}", "digits", "--ram", "much"], "ram"),
        (["{factory}", "digits", "--ram", "1KiB"], "budget"),
        (["{factory}", "digits", "--seconds", "-1"], "seconds"),
        (["{factory}", "digits", "--preset", "everything"], "preset"),
        (["{factory}", "digits", "--against", "{folder}/none.json"], "none.json"),
        (["{factory}", "digits", "--weights", "{folder}/none.pt"], "none.pt"),
        (["{factory}", "digits", "--weights", "{folder}/empty.pt"], "empty.pt"),
        (["{factory}", "digits", "--weights", "{folder}/other.pt"], "other.pt"),
        (["digits", "digits", "--weights", "{folder}/other.pt"], "--weights"),
        (["{folder}/empty.pt", "digits"], "empty.pt"),
        (["{folder}/nothing"], "nothing"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(words, named, factory: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty.pt").touch()
    (tmp_path / "nothing").mkdir()
    torch.save({"strange": torch.zeros(3)}, tmp_path / "other.pt")
    said = [w.format(factory=factory, folder=tmp_path) for w in words]
    assert main(["audit", *said, "--quiet"]) == 2
    error = out_of(capsys)[1]
    assert named in error and len(error.strip().splitlines()) == 1, error


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff", b"<html></html>", b'{"schema": "erlangen.report/1"}'])
def test_what_is_no_report_is_one_line(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "r.html"
    path.write_bytes(content)
    assert main(["report", str(path)]) == 2
    error = out_of(capsys)[1]
    assert "r.html" in error and len(error.strip().splitlines()) == 1


def test_a_report_full_of_markup_stays_inert(factory: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["audit", factory, "digits", "--json", *FAST]) == 0
    record = json.loads(out_of(capsys)[0])
    evil = "</script><script>alert(1)</script>\x1b[2J"
    record["header"]["model"] = record["findings"][0]["meaning"] = record["findings"][0]["layer"] = evil
    record["header"]["training"] = {
        "objective": evil,
        "epochs": [1, 2],
        "terms": [{"name": evil, "train": [1, None], "val": "x", "healthy": evil}],
        "monitors": [{"name": evil, "value": [0.1, 0.2], "healthy": evil}],
        "collapse": [{"epoch": 2, "words": evil}, {"epoch": "soon"}, 7],
    }
    path, page = tmp_path / "evil.json", tmp_path / "evil.html"
    path.write_text(json.dumps(record))
    assert main(["report", str(path), "--html", str(page)]) in (0, 1)
    assert "\x1b" not in out_of(capsys)[0]
    assert "<script>alert" not in page.read_text()


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    for target, words in ((tmp_path, "is a folder"), (tmp_path / "file" / "r.html", "cannot write")):
        assert main(["audit", "digits", "--html", str(target)]) == 2
        out, err = out_of(capsys)
        assert out == "" and err.startswith("erlangen: --html: ") and words in err and err.count("\n") == 1


def test_a_choice_that_is_none_names_the_choices(capsys: pytest.CaptureFixture) -> None:
    assert main(["audit", "digits", "--preset", "foo"]) == 2
    allowed = "allowed: fast, standard, symmetry, dataset, theory, science"
    assert out_of(capsys)[1] == f"erlangen: --preset: unknown 'foo'; {allowed}\n"
    assert main(["index", "build", "v", "--out", "o", "--engine", ""]) == 2
    assert "--engine: unknown ''; allowed: exact, faiss, usearch, binary, pgvector" in out_of(capsys)[1]


def test_a_folder_with_a_broken_image_can_be_looked_at_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from PIL import Image

    for number in range(70):
        pixels = np.random.default_rng(number).integers(0, 255, (8 + number % 2, 8), dtype=np.uint8)
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    (tmp_path / "a" / "broken.png").write_bytes(b"")
    options = ["--image_size", "8", "--skip_unreadable", "--quiet"]
    assert main(["audit", str(tmp_path), "--image_size", "8"]) == 2
    assert "skip_unreadable" in out_of(capsys)[1]
    assert main(["audit", str(tmp_path), "--probes", "duplicates", *options]) == 0
    assert main(["discover", str(tmp_path), "--groups", "C4", *options]) == 0


def test_discover_says_that_equal_inputs_have_no_symmetry_to_lose(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    np.savez(tmp_path / "same.npz", x=np.ones((80, 6), dtype=np.float32), y=np.arange(80) % 2)
    assert main(["discover", str(tmp_path / "same.npz"), "--quiet"]) == 2
    assert "data: all 80 inputs are equal" in out_of(capsys)[1]


def test_a_run_is_audited_on_samples_that_it_can_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
    for name, x in (("six", rows), ("five", rows[:, :5])):
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(80) % 2)
    fit = [
        "fit",
        str(tmp_path / "six.npz"),
        "--encoder",
        "mlp",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
        "--quiet",
    ]
    assert main(fit) == 0
    out_of(capsys)
    assert main(["audit", str(tmp_path / "run"), str(tmp_path / "five.npz"), "--preset", "fast", "--quiet"]) == 2
    assert "data: samples of shape (5,); " in out_of(capsys)[1]
