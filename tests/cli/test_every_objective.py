"""`fit` with every registered objective on a user's own images, then `embed`; and what views each of them gets."""

import json

import numpy as np
import pytest
from PIL import Image

import erlangen
from erlangen import objectives
from erlangen.cli import main
from erlangen.deploy import ExactIndex, FunnelSearch, Index, embed, embedding_space, open_embeddings
from erlangen.train.view_kinds import resolve_views

MORE = {"obow": ["--objective_args.num_words", "24"], "deep_hash": ["--objective_args.bits", "8"]}
TINY = ["--epochs", "1", "--batch_size", "12", "--encoder", "plain_cnn", "--encoder_args.width", "4", "--quiet"]
TINY += ["--encoder_args.embedding_dim", "16"]
SHIPPED = [e.name for e in erlangen._registry.objectives if e.obj.__module__.startswith("erlangen.")]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Coloured images in a folder for each class, and grey ones in an archive."""
    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for number in range(36):
        folder = root / "images" / ("cat", "dog", "owl")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (60 * (number % 3) + rng.integers(0, 120, (16, 16, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    x = rng.random((36, 1, 16, 16), dtype=np.float32)
    np.savez(root / "grey.npz", x=x, y=np.arange(36) % 2)
    return {"folder": root / "images", "archive": root / "grey.npz"}


@pytest.fixture(scope="module")
def teacher(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher") / "run"
    assert main(["fit", str(sources["folder"]), "--out", str(out), *TINY]) == 0
    return out


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("name", SHIPPED)
def test_it_learns_from_own_images_and_the_run_embeds_them(name, kind, sources, tmp_path, capsys, request):
    more = list(MORE.get(name, []))
    if name == "multi_teacher_distillation":
        if kind == "archive":
            pytest.skip("its teacher was fitted on the folder")
        more = ["--objective_args.teachers", str(request.getfixturevalue("teacher"))]
    run, vectors = tmp_path / "run", tmp_path / "vectors"
    words = ["fit", str(sources[kind]), "--objective", name, "--out", str(run), *TINY, *more]
    assert main(words) == 0, capsys.readouterr().err
    table = capsys.readouterr().out
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    terms = [key.removeprefix("train/") for key in history[0] if key.startswith("train/")]
    assert terms and all(np.isfinite(v) for k, v in history[0].items() if isinstance(v, float))
    fitted = erlangen.load(run)
    for term in terms:
        row = next((line for line in table.splitlines() if f" {term} " in f" {line}"), None)
        assert row is not None, f"{term} is not in the table"
        assert term in ("loss", "total") or fitted.objective.healthy.get(term), f"no words for {term}"
    assert main(["embed", str(run), str(sources[kind]), "--out", str(vectors), "--quiet"]) == 0
    assert open_embeddings(vectors).shape == (36, 16)


@pytest.mark.parametrize(("name", "argument"), [("guidance", "guide"), ("stationary", "old")])
def test_a_finished_run_guides_another_and_both_are_read_again(name, argument, sources, teacher, tmp_path, capsys):
    words = ["fit", str(sources["folder"]), "--objective", name, "--out", str(tmp_path / "run"), *TINY]
    assert main([*words, f"--objective_args.{argument}", str(teacher)]) == 0, capsys.readouterr().err
    followed = getattr(erlangen.load(tmp_path / "run").objective, argument).state_dict()
    there = erlangen.load(teacher).encoder.state_dict()
    assert followed.keys() == there.keys() and all(bool((followed[k] == there[k]).all()) for k in there)
    capsys.readouterr()
    words[words.index("--out") + 1] = str(tmp_path / "no")
    assert main([*words, f"--objective_args.{argument}", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "no").exists()


def views_of(name, folder, out, *more):
    assert main(["fit", str(folder), "--objective", name, "--out", str(out), *TINY, *MORE.get(name, []), *more]) == 0
    return erlangen.load(out).config["fit"]["views"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nt_xent", "Crops("),
        ("obow", "Crops("),
        ("sie", "Views('C8'"),
        ("bias_contrast", "OtherBias("),
        ("rotnet", None),
    ],
)
def test_views_are_those_that_suit_the_objective_unless_a_symmetry_is_named(name, kind, sources, tmp_path):
    found = views_of(name, sources["archive"], tmp_path / "own")
    assert found is None if kind is None else found.startswith(kind)
    if name == "obow":
        assert "first='whole'" in found
    named = views_of(name, sources["archive"], tmp_path / "named", "--symmetry", "D4")
    assert named is None if kind is None else named.startswith("Views('D4'")


def test_an_objective_of_ones_own_says_which_views_it_wants():
    class Mine(objectives.NTXent):
        def suited_views(self, dataset):
            return dataset.name if dataset.name == "group" else None

    data = erlangen.data.ArrayDataset(np.zeros((4, 1, 8, 8), np.float32), name="group")
    other = erlangen.data.ArrayDataset(np.zeros((4, 3), np.float32), kind="vector")

    def mine(x, generator):
        return x, x, None

    assert repr(resolve_views(None, None, Mine(), data, seed=0)).startswith("Views('SO(2)'")
    assert repr(resolve_views(None, "C4", objectives.NTXent(), data, seed=0)).startswith("Views('C4'")
    assert repr(resolve_views("suited", "C4", objectives.NTXent(), data, seed=0)).startswith("Crops(")
    assert repr(resolve_views("crops", None, objectives.CrossEntropy(), data, seed=0)).startswith("Crops(")
    nested = objectives.Matryoshka("nt_xent")
    assert repr(resolve_views(None, None, nested, data, seed=0)).startswith("Crops(")
    assert resolve_views(None, "C4", objectives.CrossEntropy(), data, seed=0) is None
    assert resolve_views(mine, None, Mine(), other, seed=0) is mine
    with pytest.raises(ValueError, match="views: unknown 'crosp'; did you mean 'crops'"):
        resolve_views("crosp", None, Mine(), data, seed=0)
    with pytest.raises(ValueError, match="for pair objectives on vectors"):
        resolve_views(None, None, Mine(), other, seed=0)


def test_the_prefixes_of_a_nested_embedding_are_known_to_its_space_and_to_the_funnel(sources, tmp_path):
    words = ["fit", str(sources["archive"]), "--objective", "matryoshka", "--out", str(tmp_path / "run"), *TINY]
    assert main([*words, "--objective_args.dims", "[4, 8, 16]"]) == 0
    run = erlangen.load(tmp_path / "run")
    assert run.space["prefixes"] == [4, 8, 16]
    vectors = embed(run.encoder, sources["archive"], out=tmp_path / "vectors")
    assert embedding_space(vectors)["prefixes"] == [4, 8, 16]
    index = Index.build(vectors)
    assert FunnelSearch(index).dims == [4, 8, 16]
    plain = ExactIndex.build(open_embeddings(vectors), space={"model_id": "other", "dim": 16})
    with pytest.raises(ValueError, match="dims: none given"):
        FunnelSearch(plain)


def test_what_cannot_be_fitted_is_refused_in_one_line_that_leaves_nothing(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", x=rng.random((24, 7), dtype=np.float32), y=np.arange(24) % 3)
    np.savez(tmp_path / "flat.npz", x=rng.random((24, 1, 16, 16), dtype=np.float32))
    for name in SHIPPED:
        objective = objectives.get(name)
        out = tmp_path / name
        if name == "multi_teacher_distillation":
            words, said = ("rows.npz", "--encoder", "mlp"), "--objective_args.teachers RUN"
        elif objective.views == "pair" or name == "rotnet":
            words, said = ("rows.npz", "--encoder", "mlp"), "vectors" if objective.views == "pair" else "no images"
        else:
            words, said = ("flat.npz", "--encoder", "plain_cnn"), "no labels"
        assert (
            main(["fit", str(tmp_path / words[0]), *words[1:], "--objective", name, "--out", str(out), "--quiet"]) == 2
        )
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1, (name, error)
        assert not out.exists(), name
