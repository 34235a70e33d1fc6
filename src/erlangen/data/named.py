"""The data sets with a name: where they are looked for, and how each is read."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from erlangen.data.archive import open_npz
from erlangen.data.download import RemoteFile, download_all
from erlangen.data.idx import read_idx
from erlangen.data.raw import Raw

DIGIT_NAMES = tuple(str(digit) for digit in range(10))
FASHION_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
MNIST_PLACES = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
FASHION_PLACES = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
MNIST_CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FASHION_CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}


def _remote(checksums: dict[str, str], places: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(name, tuple(place + name for place in places), c) for name, c in checksums.items())


@dataclass(frozen=True)
class Named:
    """A data set with a name: its compact file, its official files, and how to get it by hand."""

    compact: str
    obtain: str
    class_names: tuple[str, ...] | None = None
    files: tuple[RemoteFile, ...] = field(default=())


NAMED = {
    "mnist": Named(
        "mnist.npz",
        "it is fetched from its official mirrors when the network is there",
        DIGIT_NAMES,
        _remote(MNIST_CHECKSUMS, MNIST_PLACES),
    ),
    "fashion_mnist": Named(
        "fashion_mnist.npz",
        "it is fetched from its authors' repository when the network is there",
        FASHION_NAMES,
        _remote(FASHION_CHECKSUMS, FASHION_PLACES),
    ),
    "galaxy_zoo": Named(
        "galaxy_zoo1_subset.npz",
        "put galaxy_zoo1_subset.npz (arrays images, labels, class_names) or one folder of images a class "
        "(data.galaxyzoo.org for the table, SDSS for the cut-outs) into one of these",
    ),
    "cifar10_subset": Named(
        "cifar10_subset.npz",
        "put cifar10_subset.npz (arrays train_images, train_labels, test_images, test_labels) into one of these",
    ),
}


def names() -> list[str]:
    """The data sets that `load` knows by name."""
    return sorted([*NAMED, "digits"])


def roots() -> list[Path]:
    """Where data sets are looked for: $ERLANGEN_DATA, then the cache."""
    given = os.environ.get("ERLANGEN_DATA")
    return [*([Path(given).expanduser()] if given else []), cache()]


def cache() -> Path:
    """Where fetched data sets are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "erlangen"


def digits() -> Raw:
    """The 1,797 handwritten digits of 8 x 8 pixels that ship inside scikit-learn, grey values 0..16 as 0..1."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Raw(
        (bunch.images / 16.0).astype(np.float32)[:, None],
        bunch.target.astype(np.int64),
        class_names=DIGIT_NAMES,
    )


def _official(folder: Path) -> list[Path] | None:
    """The four IDX files in `folder` or in its folder "raw", each plain or gzipped."""
    stems = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    for place in (folder, folder / "raw"):
        found = [next((p for p in (place / s, place / f"{s}.gz") if p.is_file()), None) for s in stems]
        if all(found):
            return [path for path in found if path is not None]
    return None


def _read_official(paths: Sequence[Path], entry: Named) -> Raw:
    train_x, train_y, test_x, test_y = (read_idx(path) for path in paths)
    return Raw.from_parts(train_x, train_y, test_x, test_y, class_names=entry.class_names)


def read_named(name: str, folder_reader: Callable[[Path], Raw]) -> Raw:
    """Find `name` in $ERLANGEN_DATA or the cache, else fetch it; `folder_reader` reads a folder of images.

    Raises:
        FileNotFoundError: it is nowhere; names the places and the way to get it.
    """
    if name == "digits":
        return digits()
    entry = NAMED[name]
    looked: list[str] = []
    for folder in (root / name for root in roots()):
        compact = folder / entry.compact
        looked.append(str(folder))
        if compact.is_file():
            raw = open_npz(compact)
            return raw if raw.class_names or entry.class_names is None else raw.named(entry.class_names)
        if entry.files and (official := _official(folder)):
            return _read_official(official, entry)
        if not entry.files and folder.is_dir() and any(child.is_dir() for child in folder.iterdir()):
            return folder_reader(folder)
    reason = ""
    if entry.files:
        try:
            download_all(entry.files, cache() / name)
        except (ConnectionError, OSError) as error:
            reason = f"; fetching failed ({error})"
        else:
            return _read_official(_official(cache() / name) or [], entry)
    raise FileNotFoundError(f"data: {name!r} is not in {' or '.join(looked)}{reason}; to get it: {entry.obtain}")
