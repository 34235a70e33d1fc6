"""Several spaces in one gallery: what is linked is found, what is not is refused, and a killed writer loses nothing."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.deploy import Index, SpaceInfo, VersionedGallery
from erlangen.deploy.compat import Adapter, RelativeProjection

A, B, C = SpaceInfo("a", 6), SpaceInfo("b", 6), SpaceInfo("c", 4)
seeds = st.integers(0, 99)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rotation(dim: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(gaussian(dim, dim, seed=seed).double()).Q.float()


def gallery_of(vectors: torch.Tensor) -> VersionedGallery:
    """The first half in space a, the second in space b."""
    gallery, half = VersionedGallery(), len(vectors) // 2
    gallery.add(vectors[:half], torch.arange(half), space=A)
    gallery.add(vectors[half:], torch.arange(half, len(vectors)), space=B)
    return gallery


def same(a: Any, b: Any) -> None:
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one, other)


def test_a_search_across_spaces_is_refused_until_they_are_linked() -> None:
    gallery, query = gallery_of(gaussian(40, 6)), gaussian(3, 6, seed=1)
    with pytest.raises(ValueError, match="queries of 'a' cannot be compared with vectors of 'b'"):
        gallery.search(query, 5, space=A)
    assert bool((gallery.search(query, 5, space=A, within=["a"]).ids < 20).all())
    gallery.link("b", "a")
    with pytest.raises(ValueError, match=r"'a' .* 'b'"):  # a link has a direction
        gallery.search(query, 5, space=A)
    gallery.link(A, B, "identity")
    assert bool(gallery.search(query, 40, space="a").mask.all())
    with pytest.raises(ValueError, match="queries of 'stranger' cannot be compared with vectors of 'a'"):
        gallery.search(query, 5, space=SpaceInfo("stranger", 6))


@given(seed=seeds)
def test_spaces_linked_by_identity_are_searched_as_one(seed: int) -> None:
    vectors, query = gaussian(40, 6, seed=seed), gaussian(3, 6, seed=seed + 1)
    gallery = gallery_of(vectors)
    gallery.link("a", "b")
    same(gallery.search(query, 9, space=A), Index.build(vectors).search(query, 9))


def test_equal_vectors_of_two_spaces_are_ordered_by_id() -> None:
    gallery = VersionedGallery()
    gallery.add(torch.ones(3, 6), [5, 1, 8], space=A)
    gallery.add(torch.ones(3, 6), [2, 7, 0], space=B)
    gallery.link("a", "b")
    assert gallery.search(torch.ones(6), 7, space=A).ids.tolist() == [0, 1, 2, 5, 7, 8, -1]


@given(seed=seeds)
def test_a_matrix_an_adapter_and_relative_projections_find_what_a_rotated_space_hides(seed: int) -> None:
    vectors, turn = gaussian(60, 6, seed=seed), rotation(6, seed)
    gallery, query = VersionedGallery(), vectors[::7] @ turn.T  # the new model sees every sample turned
    gallery.add(vectors, space=A)
    adapter = Adapter(6, 6, constraint="orthogonal").fit(vectors @ turn.T, vectors)
    anchors = vectors[:20]
    relative = RelativeProjection(anchors @ turn.T), RelativeProjection(anchors)
    for options in ({"by": turn.T}, {"by": adapter}, {"by": relative[0], "vectors": relative[1]}):
        gallery.link(B, "a", **options)
        assert gallery.search(query, 1, space=B).ids.flatten().tolist() == list(range(0, 60, 7))
    gallery.add(query[:1] @ turn * 2, [99], space=A)  # what is added later is moved too
    assert 99 in gallery.search(query[:1], 2, space=B).ids


def test_items_move_to_a_new_space_one_by_one_and_are_never_there_twice() -> None:
    vectors = gaussian(30, 6)
    gallery = VersionedGallery()
    gallery.add(vectors, space=A)
    with pytest.raises(ValueError, match="ids: 3 is in the gallery already, in the space of 'a'"):
        gallery.add(vectors[:2], [3, 99], space=B)
    gallery.add(vectors[:10], torch.arange(10), space=B, replace=True)
    assert len(gallery) == 30 and [index["count"] for index in gallery.stats()["spaces"]] == [20, 10]
    gallery.link("b", "a")
    same(gallery.search(vectors[::5], 4, space=B), Index.build(vectors).search(vectors[::5], 4))
    gallery.remove([4, 25])
    assert not bool(torch.isin(gallery.search(vectors, 30, space=B).ids, torch.tensor([4, 25])).any())
    with pytest.raises(ValueError, match="ids: 25 is not in the gallery"):
        gallery.remove([1, 25])
    assert len(gallery) == 28
    gallery.add(vectors[:2], space=B)
    assert gallery.search(vectors[0], 3, space=B).ids.tolist()[:2] == [0, 30]


@pytest.mark.parametrize("mmap", [True, False])
def test_a_saved_gallery_opens_with_its_links(mmap: bool, tmp_path: Path) -> None:
    gallery, query = gallery_of(gaussian(40, 6)), gaussian(3, 6, seed=1)
    gallery.add(gaussian(5, 4), space=C, storage="float16")
    gallery.link("a", "b")
    gallery.link("a", C, gaussian(4, 6, seed=2))
    gallery.link("b", C, Adapter(6, 4, constraint="orthogonal"))
    gallery.save(tmp_path / "g")
    gallery.save(tmp_path / "g")
    again = VersionedGallery.open(tmp_path / "g", mmap=mmap)
    same(gallery.search(query, 45, space=A), again.search(query, 45, space=A))
    with pytest.raises(ValueError, match="the link from 'b' to 'c' was a Adapter, which is not saved"):
        again.search(query, 3, space=B, within=["c"])
    again.link("b", "c", Adapter(6, 4, constraint="orthogonal"))
    assert bool(again.search(query, 3, space=B, within=["c"]).mask.all())
    assert len(list((tmp_path / "g").glob("vectors-*"))) == 4


def test_spaces_scored_differently_are_not_ranked_together() -> None:
    gallery = gallery_of(gaussian(10, 6))
    gallery.add(gaussian(4, 4), space=SpaceInfo("d", 4, "l2"))
    gallery.link("a", "b")
    gallery.link("a", "d", gaussian(4, 6))
    with pytest.raises(ValueError, match="cosine and l2 cannot be ranked together"):
        gallery.search(gaussian(1, 6), 2, space=A)
    assert gallery.search(gaussian(1, 6), 2, space=A, within=["d"]).ids.min() >= 10


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda g: g.link("a", "nobody"), "target: no vectors of 'nobody'"),
        (lambda g: g.link("nobody", "a"), "source: unknown 'nobody'"),
        (lambda g: g.link("a", "a"), "a space needs no link to itself"),
        (lambda g: g.link(C, "a"), "by: 'identity' needs one space; 'c' has 4 dimensions"),
        (lambda g: g.link(C, "a", torch.zeros(4, 6)), r"by: expected a finite matrix of shape \(6, 4\)"),
        (lambda g: g.link(C, "a", torch.full((6, 4), torch.nan)), "by: expected a finite matrix"),
        (lambda g: g.search(gaussian(1, 5), 2, space=A), "q: 5 dimensions"),
        (lambda g: g.search(gaussian(1, 5), 2, space=SpaceInfo("a", 5)), "space: 5 dimensions"),
        (lambda g: g.search(gaussian(1, 6), 2, space=A, within=["z"]), "no vectors of 'z'"),
        (lambda g: g.search(gaussian(1, 6), 0, space=A), "k: must be"),
        (lambda g: g.add(torch.full((1, 6), torch.nan), [0], space=A, replace=True), "row 0 holds NaN"),
        (lambda g: g.adopt(Index.build(gaussian(3, 4), space=C)), "index: id 0 is in the gallery already"),
    ],
)
def test_bad_input_is_refused_by_name_and_changes_nothing(call: Any, words: str) -> None:
    gallery = gallery_of(gaussian(10, 6))
    with pytest.raises(ValueError, match=words):
        call(gallery)
    assert len(gallery) == 10 and gallery.links == []


def test_a_link_that_gives_something_else_is_refused() -> None:
    gallery = gallery_of(gaussian(10, 6))
    gallery.link(C, "a", lambda q: q[:1])
    with pytest.raises(ValueError, match="by: the link must map"):
        gallery.search(gaussian(2, 4), 1, space=C, within=["a"])
    with pytest.raises(TypeError, match="by: expected 'identity', a matrix or a function"):
        gallery.link("a", "b", "identical")


def saved(target: Path, count: int) -> VersionedGallery:
    gallery = VersionedGallery()
    gallery.add(gaussian(count, 6), space=A)
    gallery.link(B, "a", rotation(6))
    gallery.save(target)
    return gallery


def die_at(step: int) -> None:
    """Kill this process without notice at its `step`-th call that touches the disk."""
    left = [step]

    def deadly(call: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*arguments, **options)

        return run

    for name in ("fsync", "replace", "chmod", "unlink", "ftruncate", "write"):
        setattr(os, name, deadly(getattr(os, name)))
    Path.unlink = deadly(Path.unlink)  # type: ignore[method-assign]


def test_a_process_that_dies_at_any_step_of_a_save_leaves_the_old_gallery_or_the_new(tmp_path: Path) -> None:
    target, counts = tmp_path / "kept", []
    for step in range(40):
        saved(target, 50)
        child = os.fork()
        if child == 0:
            die_at(step)
            saved(target, 70)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        opened = VersionedGallery.open(target)
        counts.append(len(opened))
        asked = gaussian(counts[-1], 6)[:3]
        assert opened.search(asked, 1, space=A).ids.flatten().tolist() == [0, 1, 2]
        assert opened.search(asked @ rotation(6).T, 1, space=B).mask.all()
        if os.WIFEXITED(status):
            break
    assert os.WIFEXITED(status) and counts == sorted(counts) and counts[0] == 50 and counts[-1] == 70
    saved(target, 50)  # whoever finishes next clears away what was left half-written
    assert not list(target.glob(".*.tmp")) and len(list(target.glob("vectors-*"))) == 2
