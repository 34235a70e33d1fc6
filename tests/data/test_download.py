"""Downloads appear whole and verified, or not at all."""

import dataclasses
import gzip
import hashlib
import math
import struct

import pytest

from erlangen.data import load, named
from erlangen.data.download import RemoteFile, download

CONTENT = b"the official file" * 1000


def remote(tmp_path, content=CONTENT, algorithm="sha256"):
    source = tmp_path / "server" / "file.bin"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(content)
    checksum = f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}"
    return RemoteFile("file.bin", ((tmp_path / "absent").as_uri(), source.as_uri()), checksum)


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_the_second_place_serves_when_the_first_is_down(tmp_path, algorithm):
    path = download(remote(tmp_path, algorithm=algorithm), tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["file.bin"]


def test_what_is_there_is_not_fetched_again(tmp_path):
    file = remote(tmp_path)
    download(file, tmp_path / "cache")
    (tmp_path / "server" / "file.bin").unlink()
    assert download(file, tmp_path / "cache").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", CONTENT + b"x"])
def test_another_checksum_leaves_nothing_behind(tmp_path, content):
    with pytest.raises(ConnectionError, match=r"sha256 .*, expected"):
        download(remote(tmp_path, content), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_named_data_set_is_fetched_read_and_kept(tmp_path, monkeypatch):
    (tmp_path / "server").mkdir()
    for stem, axes in (("train", (12, 28, 28)), ("t10k", (4, 28, 28))):
        for kind, shape in (("images-idx3", axes), ("labels-idx1", axes[:1])):
            header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
            raw = gzip.compress(header + bytes(math.prod(shape)))
            (tmp_path / "server" / f"{stem}-{kind}-ubyte.gz").write_bytes(raw)
    files = tuple(
        RemoteFile(p.name, (p.as_uri(),), f"md5:{hashlib.md5(p.read_bytes()).hexdigest()}")
        for p in sorted((tmp_path / "server").iterdir())
    )
    monkeypatch.setitem(named.NAMED, "mnist", dataclasses.replace(named.NAMED["mnist"], files=files))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ERLANGEN_DATA", raising=False)
    assert len(load("mnist").train) == 12
    for path in (tmp_path / "server").iterdir():
        path.unlink()
    assert len(load("mnist").test) == 4


def test_no_network_is_said_in_one_line(tmp_path, monkeypatch):
    missing = RemoteFile("train-images-idx3-ubyte.gz", ((tmp_path / "no").as_uri(),), "md5:0")
    monkeypatch.setitem(named.NAMED, "mnist", dataclasses.replace(named.NAMED["mnist"], files=(missing,)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match=r"'mnist' is not in .*fetching failed .*to get it:") as error:
        load("mnist")
    assert "\n" not in str(error.value)


def test_every_official_file_has_https_and_a_checksum_of_the_right_length():
    lengths = {"sha256": 64, "md5": 32}
    for entry in named.NAMED.values():
        for file in entry.files:
            algorithm, _, digest = file.checksum.partition(":")
            assert len(digest) == lengths[algorithm] and any(url.startswith("https://") for url in file.urls)
