"""`load`: every form of the same data gives the same arrays; what is wrong is said in one line."""

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from erlangen.data import load, names
from erlangen.data.idx import read_idx

RNG = np.random.default_rng(0)


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def write_images(folder, count, size=(6, 5), mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = []
    for number in range(count):
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        array = RNG.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(array).save(folder / f"{number:03d}.png")
        arrays.append(array)
    return arrays


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_official(folder, *, zipped):
    """The four files of MNIST with 12 + 4 small images."""
    folder.mkdir(parents=True)
    parts = {
        "train-images-idx3-ubyte": RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": RNG.integers(0, 256, (4, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(4, dtype=np.uint8),
    }
    for name, array in parts.items():
        raw = idx_bytes(array)
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(raw) if zipped else raw)
    return list(parts.values())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_official_and_compact_files_give_the_same_data(tmp_path, monkeypatch, name, zipped):
    train_x, train_y, test_x, test_y = write_official(tmp_path / "official" / name, zipped=zipped)
    compact = tmp_path / "compact" / name
    compact.mkdir(parents=True)
    arrays = {"train_images": train_x, "train_labels": train_y, "test_images": test_x, "test_labels": test_y}
    np.savez(compact / f"{name}.npz", **arrays)
    found = []
    for form in ("official", "compact"):
        monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path / form))
        found.append(load(name))
    official, from_compact = found
    assert official.fingerprint() == from_compact.fingerprint() and official.class_names == from_compact.class_names
    assert np.array_equal(official.x[:12, 0], train_x) and len(official.train) == 12 and len(official.test) == 4


@pytest.mark.data
def test_the_real_files_have_their_published_moments(data_root, monkeypatch):
    monkeypatch.setenv("ERLANGEN_DATA", data_root)
    mnist, galaxies = load("mnist"), load("galaxy_zoo")
    assert (len(mnist.train), len(mnist.test)) == (60_000, 10_000)
    assert mnist.mean.item() == pytest.approx(0.1307, abs=1e-4) and mnist.std.item() == pytest.approx(0.3081, abs=1e-4)
    assert galaxies.sample_shape == (3, 64, 64) and galaxies.label.bincount().tolist() == [600, 414, 436, 400, 55, 115]
    assert len(load("fashion_mnist").test) == 10_000 and load("cifar10_subset").sample_shape == (3, 32, 32)


def test_class_folders_are_classes_and_train_beside_test_are_splits(tmp_path):
    cats = write_images(tmp_path / "plain" / "cat", 3)
    write_images(tmp_path / "plain" / "dog", 2)
    data = load(tmp_path / "plain")
    assert data.class_names == ["cat", "dog"] and data.label.tolist() == [0, 0, 0, 1, 1] and data.name == "plain"
    assert np.array_equal(data.x[1].permute(1, 2, 0), cats[1])
    for part, count in (("train", 4), ("val", 2)):
        write_images(tmp_path / "split" / part / "a", count)
        write_images(tmp_path / "split" / part / "b", count)
    split = load(tmp_path / "split")
    assert (len(split.train), len(split.test)) == (8, 4) and split.class_names == ["a", "b"]
    assert split.test.label.tolist() == [0, 0, 1, 1]


def test_flat_folder_has_no_labels_and_grey_stays_one_channel(tmp_path):
    write_images(tmp_path, 3, mode="L")
    (tmp_path / "notes.txt").write_text("not an image")
    data = load(tmp_path)
    assert data.label is None and data.num_classes is None and data.sample_shape == (1, 5, 6)


def test_sixteen_bit_grey_and_transparency_are_honoured(tmp_path):
    Image.fromarray(np.array([[0, 65535], [32768, 257]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert load(tmp_path).x.flatten().tolist() == [0, 255, 128, 1]
    (tmp_path / "deep.png").unlink()
    Image.fromarray(np.zeros((2, 2, 4), dtype=np.uint8)).save(tmp_path / "clear.png")
    assert (load(tmp_path).x == 255).all()


def test_what_64_and_32_bits_do_not_hold_is_refused_and_not_wrapped():
    x = np.zeros((4, 2), dtype=np.float32)
    for top in (2**63, 2**64 - 1):  # the last would read as -1: no label
        with pytest.raises(ValueError, match=f"^label: {top} is beyond"):
            load((x, np.array([0, 1, 0, top], dtype=np.uint64)))
    assert load((x, np.array([0, 1, 0, 1], dtype=np.uint64))).label.tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match=r"^x: 1e\+300 is beyond float32"):
        load(np.array([[1.0, 1e300], [0.0, 1.0]]))


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_path_is_not_the_folder_one_is_in(text):
    with pytest.raises(ValueError, match=r"^data: .*no name and no path"):
        load(text)


def test_text_that_is_called_npz_is_not_called_pickled(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"damaged or not an \.npz file"):
        load(tmp_path / "a.npz")


def test_deep_grey_has_one_scale_for_all_images_and_what_does_not_fit_is_refused(tmp_path):
    Image.fromarray(np.full((2, 2), 250, dtype=np.uint16)).save(tmp_path / "dark.png")
    assert load(tmp_path).x.unique().tolist() == [1]  # a dark image is dark, not a bright one of 8 bits
    (tmp_path / "dark.png").unlink()
    Image.fromarray(np.array([[0, 0.5], [0.25, 1]], dtype=np.float32)).save(tmp_path / "unit.tif")
    assert load(tmp_path).x.flatten().tolist() == [0, 128, 64, 255]
    for bad in (np.nan, -1.0, 300.0):
        Image.fromarray(np.array([[0, bad]], dtype=np.float32)).save(tmp_path / "unit.tif")
        with pytest.raises(ValueError, match=r"unit\.tif \(its pixels are .*0 \.\. 255\)"):
            load(tmp_path)


def test_a_photo_is_upright_as_its_camera_says(tmp_path):
    image = Image.fromarray(np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned: to be shown turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    assert load(tmp_path).x[0, 0].tolist() == [[40, 10], [50, 20], [60, 30]]


def test_links_are_followed_once_hidden_folders_are_not_and_dangling_links_are_unreadable(tmp_path):
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    write_images(folder / "a", 2)
    write_images(folder / "b", 3)
    write_images(folder / "b" / ".ipynb_checkpoints", 2)
    write_images(elsewhere, 4)
    (folder / "self").symlink_to(".")
    (folder / "a" / "up").symlink_to("..")
    (folder / "a" / "more").symlink_to(elsewhere)
    data = load(folder)
    assert data.class_names == ["a", "b"] and data.label.tolist() == [0] * 6 + [1] * 3
    (folder / "b" / "lost.png").symlink_to("nowhere.png")
    with pytest.raises(ValueError, match=r"cannot read .*lost\.png"):
        load(folder)
    assert [path[-8:] for path in load(folder, skip_unreadable=True).skipped] == ["lost.png"]


def test_unreadable_image_is_an_error_unless_skipped_and_then_counted_and_listed(tmp_path):
    write_images(tmp_path / "a", 2)
    write_images(tmp_path / "b", 3)
    good = (tmp_path / "b" / "001.png").read_bytes()
    (tmp_path / "b" / "001.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "a" / "000.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"000\.png .*skip_unreadable") as error:
        load(tmp_path)
    one_line(error)
    data = load(tmp_path, skip_unreadable=True)
    assert data.label.tolist() == [0, 1, 1]
    assert [path[-9:] for path in data.skipped] == ["a/000.png", "b/001.png"] and len(data.train.skipped) == 2


def test_mixed_sizes_name_image_size_and_are_resized_by_it(tmp_path):
    write_images(tmp_path, 2, size=(6, 5))
    Image.fromarray(np.full((9, 4, 3), 77, dtype=np.uint8)).save(tmp_path / "tall.png")
    with pytest.raises(ValueError, match=r"^image_size: .*tall.png is 4 x 9.*is 6 x 5"):
        load(tmp_path)
    data = load(tmp_path, image_size=8)
    assert data.sample_shape == (3, 8, 8) and (data.x[2] == 77).all()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p: None, "data: no images in"),
        (lambda p: (write_images(p, 1), write_images(p / "a", 1)), "beside folders of images"),
        (lambda p: (p / "x.png").write_bytes(b"junk"), "cannot read"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, prepare, message):
    prepare(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    one_line(error)


def test_unknown_name_gets_the_nearest_names_and_the_places(monkeypatch, tmp_path):
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="did you mean 'fashion_mnist'") as error:
        load("fashon_mnist")
    assert str(tmp_path) in one_line(error) and "galaxy_zoo" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"no file or folder '/nowhere/x\.npz'"):
        load("/nowhere/x.npz")
    assert {"digits", "mnist", "fashion_mnist", "galaxy_zoo"} <= set(names())


def test_absent_data_set_says_where_it_looked_and_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"to get it: put galaxy_zoo1_subset.npz") as error:
        load("galaxy_zoo")
    assert "given/galaxy_zoo" in one_line(error) and "cache/erlangen/galaxy_zoo" in str(error.value)


def test_npz_forms(tmp_path):
    images, label = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), np.array([0, 1, 2] * 2)
    np.savez(tmp_path / "a.npz", images=images, labels=label, class_names=np.array(["u", "v", "w"]))
    data = load(tmp_path / "a.npz")
    assert data.sample_shape == (3, 4, 4) and data.class_names == ["u", "v", "w"]
    assert np.array_equal(data.x.permute(0, 2, 3, 1), images)
    np.savez(tmp_path / "b.npz", train_x=np.ones((5, 7)), test_x=np.zeros((2, 7)))
    data = load(tmp_path / "b.npz")
    assert data.kind == "vector" and data.label is None and len(data.train) == 5 and len(data.test) == 2
    np.savez(tmp_path / "c.npz", x=np.ones((4, 2)), kind=np.array(["p", "q", "p", "q"]))
    assert load(tmp_path / "c.npz", label_column="kind").class_names == ["p", "q"]


class Evil:
    """Unpickling it would create the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_npz_is_refused_and_nothing_runs(tmp_path):
    np.savez(tmp_path / "evil.npz", x=np.array([Evil(tmp_path / "ran")], dtype=object))
    with pytest.raises(ValueError, match="pickled objects, which can run code and are refused") as error:
        load(tmp_path / "evil.npz")
    one_line(error)
    assert not (tmp_path / "ran").exists()


def test_damaged_npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=RNG.random((50, 20)))
    whole = (tmp_path / "a.npz").read_bytes()
    for raw in (whole[: len(whole) // 2], b"", b"PK\x03\x04 not really", whole[:200] + b"\xff" * 64 + whole[264:]):
        (tmp_path / "bad.npz").write_bytes(raw)
        with pytest.raises(ValueError, match=r"damaged|pickle|single"):
            load(tmp_path / "bad.npz")
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    with pytest.raises(ValueError, match="holds other; name the samples x or images"):
        load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.zeros((3, 2)), y=np.array([0, 1, 9]))
    with pytest.raises(ValueError, match="label: 9 is out of range"):
        load(tmp_path / "c.npz")


def test_csv_and_parquet_hold_the_same_vectors(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    rows = RNG.random((5, 2)).round(6)
    kind = ["b", "a", "b", "a", "a"]
    text = "u,class,v\n" + "".join(f"{u},{k},{v}\n" for (u, v), k in zip(rows, kind, strict=True))
    (tmp_path / "t.csv").write_text(text)
    with gzip.open(tmp_path / "z.csv.gz", "wt") as file:
        file.write(text)
    table = pa.table({"u": rows[:, 0], "class": kind, "v": rows[:, 1]})
    parquet.write_table(table, tmp_path / "t.parquet")
    feather.write_feather(table, tmp_path / "t.arrow")
    vectors = pa.table({"embedding": list(rows), "label": kind})
    parquet.write_table(vectors, tmp_path / "v.parquet")
    found = [load(tmp_path / f) for f in ("t.csv", "z.csv.gz", "t.parquet", "t.arrow", "v.parquet")]
    assert len({data.fingerprint() for data in found}) == 1
    assert found[0].class_names == ["a", "b"] and np.allclose(found[0].x, rows)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a,b\n1,2\n3\n", None, "line 3 of .* has 1 entries"),
        ("a,b\n1,x\n", None, "column 'b' of .* holds 'x'"),
        ("a,b\n1,\n", None, "column 'b' of .* holds ''"),
        ("a,b\n1,nan\n2,3\n", None, "x: NaN or infinite values in 1 of 2"),
        ("a,b\n1,2\n", "c", "label_column: .* has no column 'c'; it has a, b"),
        ("", None, "has no rows"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, column, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path / "t.csv", label_column=column)
    one_line(error)


def test_tensors_arrays_and_torch_data_sets_are_the_same_data():
    x, y = torch.rand(6, 1, 3, 3), torch.tensor([0, 1, 2] * 2)
    forms = [(x, y), (x.numpy(), y.numpy()), torch.utils.data.TensorDataset(x, y)]
    assert len({load(form).fingerprint() for form in forms}) == 1
    assert load(x).label is None and load(torch.rand(5, 3)).kind == "vector"
    with pytest.raises(TypeError, match="data: int; give a name"):
        load(3)
    with pytest.raises(ValueError, match=r"x: integer images hold 0 .. 300"):
        load(torch.tensor([[[0, 300]]]))


def test_resizing_keeps_constants_and_the_middle():
    x = torch.full((2, 1, 8, 12), 9, dtype=torch.uint8)
    data = load(x, image_size=16)
    assert data.sample_shape == (1, 16, 16) and (data.x == 9).all()
    assert load("digits").sample_shape == (1, 8, 8) and load("digits", image_size=28).sample_shape == (1, 28, 28)


@pytest.mark.parametrize("cut", [2, 10, -1])
def test_damaged_idx_files(tmp_path, cut):
    raw = idx_bytes(np.zeros((2, 3), dtype=np.uint8))
    (tmp_path / "x").write_bytes(raw[:cut])
    with pytest.raises(ValueError, match=r"fetched again|fetch it again"):
        read_idx(tmp_path / "x")
    (tmp_path / "x.gz").write_bytes(gzip.compress(raw)[:-6])
    with pytest.raises(ValueError, match="damaged"):
        read_idx(tmp_path / "x.gz")
