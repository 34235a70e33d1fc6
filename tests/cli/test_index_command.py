"""The index from a shell: build, add, search, upgrade, stats, on good and on hostile input."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from erlangen import deploy
from erlangen.cli import main
from erlangen.deploy import Index, SpaceInfo, UpgradeReport, VersionedGallery

TINY = ["--epochs", "1", "--encoder_args.width", "2", "--batch_size", "32", "--quiet", "--seed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Labelled images, two runs, and an index of the first run's vectors."""
    root = tmp_path_factory.mktemp("index")
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = (0.2 * rng.random((80, 1, 8, 8)) + 0.8 * (np.arange(8) // 4 == y[:, None, None, None])).astype(np.float32)
    np.savez(root / "good.npz", x=x, y=y)
    np.savez(root / "unlabelled.npz", x=x)
    np.savez(root / "vectors.npz", x=rng.standard_normal((40, 7), dtype=np.float32), y=y[:40])
    np.savez(root / "other.npz", x=rng.standard_normal((9, 5), dtype=np.float32))
    nan = rng.standard_normal((9, 7), dtype=np.float32)
    nan[4, 2] = np.nan
    np.savez(root / "nan.npz", x=nan)
    (root / "empty").mkdir()
    (root / "garbage").mkdir()
    (root / "garbage" / "manifest.json").write_bytes(bytes(range(128, 256)))
    (root / "liar").mkdir()
    (root / "liar" / "manifest.json").write_text(
        '{"format": "erlangen gallery", "format_version": 1, "spaces": 3, "links": []}'
    )
    for name, seed in (("old", "0"), ("new", "1")):
        assert main(["fit", str(root / "good.npz"), "--out", str(root / name), *TINY, seed]) == 0
        assert main(["embed", str(root / name), str(root / "good.npz"), "--out", str(root / f"{name}_vectors")]) == 0
    assert main(["index", "build", str(root / "old_vectors"), "--out", str(root / "kept"), "--quiet"]) == 0
    assert main(["index", "build", str(root / "vectors.npz"), "--out", str(root / "plain"), "--quiet"]) == 0
    return root


def printed(capsys, *words, code=0):
    capsys.readouterr()
    assert main(["index", *(str(word) for word in words), "--json", "--quiet"]) == code
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words):
    capsys.readouterr()
    assert main(["index", *(str(word) for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1, captured.err
    return captured.err


@pytest.mark.parametrize("engine", ["exact", "binary"])
def test_build_add_search_and_stats(engine, folder, tmp_path, capsys):
    file = folder / "vectors.npz"
    assert printed(capsys, "build", file, "--out", tmp_path / "i", "--engine", engine)["count"] == 40
    assert printed(capsys, "add", tmp_path / "i", file)["count"] == 80
    found = printed(capsys, "search", tmp_path / "i", file, "--k", "2")
    assert all(
        row["scores"][0] == pytest.approx(float(engine == "exact"), abs=1e-5) for row in found
    )  # a cosine, or bits that differ
    if engine == "exact":
        assert [row["ids"] for row in found] == [[i, 40 + i] for i in range(40)]
    assert printed(capsys, "stats", tmp_path / "i")["engine"] == engine


def test_storage_and_metric_are_those_that_were_asked_for(folder, tmp_path, capsys):
    options = ["--out", tmp_path / "i", "--metric", "l2", "--storage", "int8"]
    facts = printed(capsys, "build", folder / "vectors.npz", *options)
    assert facts["metric"] == "l2" and facts["storage"] == "int8"


def test_an_upgrade_keeps_the_old_vectors_and_answers_the_new_encoder(folder, tmp_path, capsys):
    words = ["upgrade", folder / "kept", folder / "new", folder / "good.npz", "--old_run", folder / "old"]
    words += ["--tolerance", "1.0", "--link", "orthogonal", "--out", tmp_path / "g"]
    facts = printed(capsys, *words)
    assert facts["compatible"] and facts["link"] == "orthogonal" and facts["queries"] == 40
    assert facts["moved"][0] == pytest.approx(facts["crossed"] - facts["old"])
    gallery, kept = VersionedGallery.open(tmp_path / "g"), Index.open(folder / "kept")
    assert torch.equal(gallery._indexes[kept.space.model_id].store.data, kept.store.data)
    found = printed(capsys, "search", tmp_path / "g", folder / "new_vectors", "--k", "3")
    assert all(-1 not in row["ids"] for row in found)
    assert printed(capsys, "add", tmp_path / "g", folder / "new_vectors")["count"] == 160
    # the old encoder cannot see what the new one added, and is told so
    words = refused(capsys, "search", tmp_path / "g", folder / "old_vectors")
    assert "no link between the two is registered" in words
    assert printed(capsys, "add", tmp_path / "g", folder / "new_vectors", "--replace")["count"] == 160
    assert main(["index", "stats", str(tmp_path / "g")]) == 0 and "link" in capsys.readouterr().out


def test_an_upgrade_that_loses_accuracy_is_refused_with_the_way_out(folder, tmp_path, monkeypatch, capsys):
    bad = UpgradeReport("identity", 0.9, 0.4, 0.95, (-0.5, -0.6, -0.4), 0.02, 40, {"identity": 0.4})
    monkeypatch.setattr(deploy, "measure_upgrade", lambda *_, **__: bad)
    words = ["upgrade", folder / "kept", folder / "new", folder / "good.npz", "--old_run", folder / "old"]
    words += ["--out", tmp_path / "g"]
    assert not printed(capsys, *words, code=1)["compatible"]
    assert main(["index", *map(str, words), "--quiet"]) == 1
    out = capsys.readouterr().out
    assert "-0.500 [-0.600, -0.400]" in out and "erlangen embed" in out and "--tolerance" in out
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("build nowhere --out new", "vectors: there is no"),
        ("build nan.npz --out new", "NaN"),
        ("build good.npz --out new", "holds images"),
        ("build vectors.npz --out vectors.npz", "is a file"),
        ("build vectors.npz --out empty/.. ", "not empty and not an index"),
        ("build vectors.npz --out new --engine exat", "exact"),
        ("build vectors.npz --out new --metric hamming", "metric"),
        ("build vectors.npz --out new --engine binary --metric l2", "leave both out"),
        ("build kept --out new", "not embeddings"),
        ("add nowhere vectors.npz", "index: there is no folder"),
        ("add plain other.npz", "5 dimensions, the index holds 7"),
        ("add plain old_vectors", "from model"),
        ("add plain vectors.npz --replace", "--replace"),
        ("search empty vectors.npz", "no manifest.json"),
        ("search garbage vectors.npz", "not readable as JSON"),
        ("search liar vectors.npz", "not a readable gallery"),
        ("search old_vectors vectors.npz", "not an index"),
        ("search plain nan.npz", "NaN"),
        ("search plain vectors.npz --k 0", "k: must be"),
        ("search plain vectors.npz --k three", "k"),
        ("stats good.npz", "index: there is no folder"),
        ("upgrade kept new good.npz --out g", "old"),
        ("upgrade kept new good.npz --old_run new --out g", "the index holds vectors of"),
        ("upgrade kept new good.npz --old_run old --out kept", "--out: is the old index"),
        ("upgrade kept new unlabelled.npz --old_run old --out g", "no labels"),
        ("upgrade kept new vectors.npz --old_run old --out g", "sample"),
        ("upgrade kept nowhere good.npz --old_run old --out g", "nowhere"),
        ("upgrade kept new good.npz --old_run old --out g --tolerance 2", "tolerance"),
        ("upgrade kept new good.npz --old_run old --out g --link affine", "link"),
    ],
)
def test_hostile_input_is_one_line(words, expected, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert expected in refused(capsys, *words.split(), *(["--quiet"] if words.startswith("upgrade") else []))
    assert not (folder / "g").exists() and not (folder / "new" / "vectors-000001.safetensors").exists()


def test_a_gallery_wants_to_know_which_model_made_the_vectors(folder, tmp_path, capsys):
    gallery = VersionedGallery()
    gallery.add(torch.eye(7), space=SpaceInfo("m", 7))
    gallery.save(tmp_path / "g")
    for action in ("search", "add"):
        assert "does not say which model" in refused(capsys, action, tmp_path / "g", folder / "vectors.npz")


def test_an_index_of_an_older_format_is_named_and_left_as_it_was(folder, tmp_path, capsys):
    old = tmp_path / "old"
    shutil.copytree(folder / "plain", old)
    manifest = json.loads((old / "manifest.json").read_text())
    (file,) = manifest.pop("files").values()
    (old / "manifest.json").write_text(json.dumps({**manifest, "format_version": 1, "file": file}))
    before = sorted((p.name, p.read_bytes()) for p in old.iterdir())
    for words in (["search", old, folder / "vectors.npz"], ["add", old, folder / "vectors.npz"], ["stats", old]):
        said = refused(capsys, *words)
        assert "an index of format version 1" in said and "build it anew" in said
    assert sorted((p.name, p.read_bytes()) for p in old.iterdir()) == before


ADD = """
import sys, time
from pathlib import Path
from erlangen.cli import main
from erlangen.deploy import Index
path, vectors, meeting = sys.argv[1:]
add = Index.add
def slowly(self, *given, **options):  # opened, not saved yet: wait until the other has been here or was refused
    add(self, *given, **options)
    Path(meeting, "opened").touch()
    while not Path(meeting, "go").exists():
        time.sleep(0.01)
Index.add = slowly
sys.exit(main(["index", "add", path, vectors, "--quiet"]))
"""


def test_of_two_processes_that_add_neither_forgets_what_the_other_saved(folder, tmp_path, capsys):
    index, file = tmp_path / "i", folder / "vectors.npz"
    assert printed(capsys, "build", file, "--out", index)["count"] == 40
    with subprocess.Popen([sys.executable, "-c", ADD, index, file, tmp_path]) as first:
        try:
            while not (tmp_path / "opened").exists() and first.poll() is None:
                time.sleep(0.01)
            code = main(["index", "add", str(index), str(file), "--quiet"])
            said = capsys.readouterr().err
        finally:
            (tmp_path / "go").touch()
        assert first.wait() == 0
    assert code == 2 and f"in use by pid {first.pid}" in said and len(said.splitlines()) == 1
    assert printed(capsys, "stats", index)["count"] == 80
    assert printed(capsys, "add", index, file)["count"] == 120


def test_more_neighbours_than_vectors_are_all_there_are(folder, capsys):
    (first, *_) = printed(capsys, "search", folder / "plain", folder / "vectors.npz", "--k", "100000")
    assert sorted(first["ids"]) == list(range(40))
