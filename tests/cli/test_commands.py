"""Every command on good, empty, malformed and hostile input."""

import json
import subprocess
import sys

import numpy as np
import pytest

from erlangen.cli import main

TINY = ["--epochs", "1", "--encoder_args.width", "2", "--batch_size", "8", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("shell")
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 1, 8, 8), dtype=np.float32), np.arange(40) % 2
    np.savez(root / "good.npz", x=x, y=y)
    damaged = x.copy()
    damaged[3, 0, 2, 2] = np.nan
    np.savez(root / "nan.npz", x=damaged, y=y)
    np.savez(root / "pickled.npz", x=np.array([{"a": 1}], dtype=object), y=y[:1])
    np.savez(root / "small.npz", x=x[..., :2, :2], y=y)
    np.savez(root / "oneclass.npz", x=x, y=0 * y)
    np.savez(root / "vectors.npz", x=rng.random((40, 7), dtype=np.float32), y=y)
    (root / "empty").mkdir()
    (root / "binary.yaml").write_bytes(bytes(range(128, 256)))
    (root / "list.yaml").write_text("- a\n")
    (root / "typo.yaml").write_text("epcohs: 3\n")
    (root / "code.yaml").write_text("!!python/object/apply:os.system ['true']\n")
    (root / "models.py").write_text(
        "from torch import nn\n\n\nclass Centred(nn.Module):\n    def forward(self, x):\n"
        "        return x - x.mean(-2, keepdim=True)\n\n\ndef crash():\n    raise RuntimeError('boom')\n"
    )
    return root


@pytest.fixture(scope="module")
def run(folder):
    out = folder / "run"
    assert main(["fit", str(folder / "good.npz"), "--out", str(out), *TINY]) == 0
    return out


def refused(capsys, *words):
    """The one line that a refused command says."""
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1, captured.err
    return captured.err


def printed(capsys, *words, code=0):
    """The JSON that a command prints, and nothing else."""
    assert main([*(str(word) for word in words), "--json", "--quiet"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fitt", "did you mean 'fit'"),
        ("fit", "data: needed"),
        ("fit good.npz", "--out: needed"),
        ("fit digist --out new", "digits"),
        ("fit good.npz --out new --encoder grup_cnn", "group_cnn"),
        ("fit good.npz --out new --epcohs 3", "--epochs"),
        ("fit good.npz --out new --encoder_args.witdh 3", "--encoder_args.width"),
        ("fit good.npz --out new --epochs three", "epochs"),
        ("fit good.npz --out new --epochs 0", "epochs"),
        ("fit good.npz --out new --precision 7", "--precision"),
        ("fit good.npz --out new --strategy dpp", "ddp"),
        ("fit good.npz --out new --devices many", "--devices"),
        ("fit good.npz --out new --symmetry SO(3) --encoder plain_cnn", "SO(3)"),
        ("fit good.npz --out new --symmetry C88x", "C88x"),
        ("fit empty --out new", "no images"),
        ("fit nan.npz --out new", "NaN"),
        ("fit pickled.npz --out new", "pickled"),
        ("fit small.npz --out new", "kernel"),
        ("fit oneclass.npz --out new", "one class"),
        ("fit vectors.npz --out new", "mlp"),
        ("fit nowhere/x.npz --out new", "nowhere/x.npz"),
        ("fit good.npz --out new --config binary.yaml", "--config"),
        ("fit good.npz --out new --config list.yaml", "by name"),
        ("fit good.npz --out new --config typo.yaml", "epochs"),
        ("fit good.npz --out new --config code.yaml", "--config"),
        ("fit good.npz --out new --config nowhere.yaml", "nowhere.yaml"),
        ("check models.py:nope --group C4", "nope"),
        ("check models.py:crash --group C4", "boom"),
        ("check models.py --group C4", "colon"),
        ("check models.py:Centred", "--group"),
        ("check models.py:Centred --group SE(3) --input pionts", "points"),
        ("check models.py:Centred --group SE(3) --input points --shape 2,x", "--shape"),
        ("audit nowhere", "target"),
        ("embed nowhere good.npz --out new", "nowhere"),
        ("index serch", "search"),
        ("index build nowhere --out new", "vectors"),
        ("list --room nowhere", "--room"),
        ("reproduce", "names"),
        ("bench --folder empty", "--folder"),
        ("--plugin nowhere.py list", "--plugin"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, monkeypatch, capsys, words, expected):
    monkeypatch.chdir(folder)
    assert expected in refused(capsys, *words.split())
    assert not (folder / "new").exists()


def test_a_configuration_file_is_the_same_as_flags(folder, tmp_path, capsys):
    words = ["fit", str(folder / "good.npz"), "--out", str(tmp_path / "a"), *TINY]
    assert main([*words, "--print_config"]) == 0
    (tmp_path / "config.yaml").write_text(capsys.readouterr().out)
    assert main(words) == 0
    assert main(["fit", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "b")]) == 0
    same = [json.loads((tmp_path / out / "result.json").read_text())["weights_sha256"] for out in "ab"]
    assert same[0] == same[1]


def test_from_a_run_to_its_neighbours(folder, run, tmp_path, capsys):
    vectors, index = tmp_path / "vectors", tmp_path / "index"
    capsys.readouterr()
    assert printed(capsys, "embed", run, folder / "good.npz", "--out", vectors)["count"] == 40
    assert printed(capsys, "index", "build", vectors, "--out", index)["count"] == 40
    found = printed(capsys, "index", "search", index, vectors, "--k", "1")
    assert np.mean([row["ids"] == [row["query"]] for row in found]) > 0.5
    assert "dimensions" in refused(capsys, "index", "search", index, folder / "vectors.npz")
    assert "not an index" in refused(capsys, "index", "build", vectors, "--out", vectors)


def test_verdicts_and_exit_codes(folder, capsys):
    points = ["--input", "points", "--output", "vectors", "--shape", "2,10,3"]
    name = f"{folder / 'models.py'}:Centred"
    assert printed(capsys, "check", name, "--group", "SE(3)", *points)[0]["verdict"] == "exact"
    flat = ["check", "torch.nn:Flatten", "--group", "C4", "--shape", "2,1,6,6"]
    assert printed(capsys, *flat, code=1)[0]["verdict"] == "broken"


def test_a_damaged_run_is_refused(folder, run, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "truncated" in refused(capsys, "embed", copy, folder / "good.npz", "--out", tmp_path / "new")
    config = json.loads((copy / "config.json").read_text())
    config["encoder"]["name"] = "os.system"
    (copy / "config.json").write_text(json.dumps(config))
    assert "os.system" in refused(capsys, "check", copy)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["demo", "fit", "check", "audit", "embed", "list", "reproduce", "bench"])
def test_help_has_words_for_every_option(command, capsys):
    assert main([command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_the_list_is_json_and_knows_every_kind(capsys):
    kinds = {row["kind"] for row in printed(capsys, "list")}
    assert {"encoders", "modules", "objectives", "probes", "data"} <= kinds


def test_interrupted_says_how_to_go_on(folder, tmp_path, monkeypatch, capsys):
    from erlangen.cli import fit_command

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_command, "_build", interrupted)
    assert main(["fit", str(folder / "good.npz"), "--out", str(tmp_path / "r")]) == 130
    assert "same command" in capsys.readouterr().err


def test_the_overview_imports_nothing_heavy():
    code = "import sys; from erlangen.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "erlangen" in ended.stdout
