"""One writer at a time: nobody's vectors are forgotten, and nobody's folder is littered."""

import threading
from pathlib import Path

import pytest
import torch

from erlangen.deploy import Index, VersionedGallery, writing
from erlangen.deploy.gallery import VersionedGallery as Gallery
from erlangen.train import RunDirectoryError


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


def gallery(count: int) -> VersionedGallery:
    result = VersionedGallery()
    result.add(rows(count), space={"model_id": "m", "dim": 4})
    return result


@pytest.mark.parametrize("kind", ["index", "gallery"])
def test_what_was_read_before_another_saved_is_refused_and_the_other_stays(kind: str, tmp_path: Path) -> None:
    path, reader = tmp_path / "i", Index if kind == "index" else Gallery
    (Index.build(rows(5)) if kind == "index" else gallery(5)).save(path)
    mine, theirs = reader.open(path), reader.open(path)
    arguments = {} if kind == "index" else {"space": {"model_id": "m", "dim": 4}}
    theirs.add(rows(3, 1), **arguments)
    theirs.save(path)
    mine.add(rows(2, 2), **arguments)
    with pytest.raises(ValueError, match="was saved by another since it was opened here"):
        mine.save(path)
    assert len(reader.open(path)) == 8
    mine.save(tmp_path / "elsewhere")
    theirs.add(rows(1, 3), **arguments)  # one's own save is no stranger's
    theirs.save(path)
    assert len(reader.open(path)) == 9


def test_opening_changing_and_saving_in_one_block_is_one_step(tmp_path: Path) -> None:
    path, refused = tmp_path / "i", []
    Index.build(rows(5)).save(path)

    def other() -> None:
        try:
            with writing(path):
                pass
        except RunDirectoryError as error:
            refused.append(str(error))

    with writing(path):
        index = Index.open(path, mmap=False)
        index.add(rows(2, 1))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with writing(path):  # what this thread holds, it holds
            index.save(path)
    assert len(refused) == 1 and "in use by pid" in refused[0]
    other()
    assert len(refused) == 1 and len(Index.open(path)) == 7


def test_many_threads_that_add_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "i"
    Index.build(rows(1)).save(path)

    def add(number: int) -> None:
        for turn in range(3):
            while True:
                try:
                    with writing(path):
                        index = Index.open(path, mmap=False)
                        index.add(rows(1, number), [1 + 3 * number + turn])
                        index.save(path)
                    break
                except RunDirectoryError:
                    threading.Event().wait(0.002)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    while any(thread.is_alive() for thread in threads):
        assert len(Index.open(path)) >= 1  # a reader in between sees one state or the next
    assert torch.equal(Index.open(path).store.ids, torch.arange(13))


def test_where_nothing_is_written_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="changed my mind"), writing(tmp_path / "a" / "b"):
        raise RuntimeError("changed my mind")
    assert not (tmp_path / "a").exists()
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not empty and not an index"):
        Index.build(rows(2)).save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match=r"path: .* is a file"):
        Index.build(rows(2)).save(tmp_path / "thesis.tex")
