"""Objects seen from many sides: images with the rotation of each known, and pairs with the rotation between them."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from erlangen.data import mesh as mesh_module
from erlangen.data import renderer
from erlangen.data.array_dataset import ArrayDataset, random_split
from erlangen.data.batch import PairBatch
from erlangen.data.mesh import Mesh, load_mesh, mesh_names, voxel_mesh
from erlangen.data.named import cache, roots
from erlangen.data.validate import as_tensor
from erlangen.groups import rotations

Convention = Literal["camera", "body"]
Poses = Literal["uniform", "euler"]
SIMPLER = 40  # cells across a mesh: more do not show on a small image


class RotatedObjects(ArrayDataset):
    """Images of objects under known rotations: sample n shows object `object[n]` turned by `rotation[n]`.

    `pairs` joins every sample with another view of its object and the rotation between the two, as `fit` does where an
    objective wants pairs and no views are given. With `convention="camera"` that is g = R2 R1ᵀ, so that the second view
    is the first one turned by g, in the frame of the camera; "body" is g = R1ᵀ R2, in the frame of the object, as in Q.
    Garrido, L. Najman, Y. LeCun, 2023, arXiv:2302.10283. Only the first is an action on what is seen: for the second an
    encoder must also know which way round the object was modelled.

    Arguments:
        x: images, samples first.
        rotation: [samples, 3, 3].
        object: the number of the object of each sample.
        convention: how the rotation of a pair is composed.
        arguments: those of `ArrayDataset`; without `splits` objects, not views, are held out.

    Raises:
        ValueError: sizes that differ, matrices that are no rotations, another convention.
    """

    def __init__(
        self, x: Any, *, rotation: Any, object: Any, convention: Convention = "camera", **arguments: Any
    ) -> None:
        if convention not in ("camera", "body"):
            raise ValueError(f"convention: {convention!r}; allowed: 'camera', 'body'")
        self.rotation = as_tensor(rotation, "rotation").float()
        self.object = as_tensor(object, "object").to(torch.int64)
        self.convention: Convention = convention
        if arguments.get("splits") is None:
            arguments["splits"] = _by_object(self.object, arguments.get("label"), int(arguments.get("seed", 0)))
        super().__init__(x, arguments.pop("label", None), **arguments)
        if self.rotation.shape != (len(self), 3, 3) or self.object.shape != (len(self),):
            shapes = f"{list(self.rotation.shape)}, {list(self.object.shape)}"
            raise ValueError(f"rotation, object: shapes {shapes}; [{len(self)}, 3, 3] and [{len(self)}] are needed")
        error = (self.rotation @ self.rotation.mT - torch.eye(3)).abs().amax((1, 2))
        wrong = ~((error < 1e-3) & (torch.linalg.det(self.rotation) > 0))
        if bool(wrong.any()):
            raise ValueError(f"rotation: number {int(wrong.nonzero()[0])} is no rotation matrix")
        order = self.object.argsort(stable=True)
        _, number, count = self.object.unique(return_inverse=True, return_counts=True)
        self._order, self._place = order, torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
        self._first, self._count = (count.cumsum(0) - count)[number], count[number]

    def subset(self, index: Any, *, name: str | None = None) -> RotatedObjects:
        """The samples at `index` as a data set that is both its own train and test part."""
        plain = super().subset(index, name=name)
        index = as_tensor(index, "index").to(torch.int64)
        return RotatedObjects(
            plain.x,
            rotation=self.rotation[index],
            object=self.object[index],
            convention=self.convention,
            label=plain.label,
            name=plain.name,
            class_names=plain.class_names,
            num_classes=plain.num_classes,
            splits={},
        )

    def fingerprint(self) -> str:
        """SHA-256 over samples, labels, rotations, objects and the convention."""
        digest = hashlib.sha256(f"{super().fingerprint()} {self.convention}".encode())
        digest.update(self.rotation.contiguous().numpy().tobytes())
        digest.update(self.object.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def between(self, first: Tensor, second: Tensor) -> Tensor:
        """The rotation that leads from samples `first` to samples `second`, `[n, 3, 3]`, in this set's convention."""
        one, two = self.rotation[first], self.rotation[second]
        return two @ one.mT if self.convention == "camera" else one.mT @ two

    def partners(self, first: Tensor, generator: torch.Generator) -> Tensor:
        """For each of these samples the position of another view of its object, drawn; an only view is its own."""
        count = self._count[first]
        step = 1 + (torch.rand(len(first), generator=generator) * (count - 1)).long().clamp(max=count - 2)
        turn = (self._place[first] - self._first[first] + step.clamp(min=0)) % count
        return self._order[self._first[first] + turn]

    def pairs(self, indices: Any, generator: torch.Generator) -> PairBatch:
        """Samples, for each another view of its object, and the rotation between; an only view is paired with itself."""
        first = as_tensor(indices, "indices").to(torch.int64)
        second = self.partners(first, generator)
        (x, label), (x2, _) = self.tensors(first), self.tensors(second)
        return PairBatch(x=x, x2=x2, g=self.between(first, second), label=label, index=first)

    @classmethod
    def from_meshes(
        cls,
        meshes: Sequence[Mesh],
        *,
        views: int = 20,
        size: int = 32,
        style: renderer.Style = "shaded",
        poses: Poses = "uniform",
        label: Any = None,
        antialias: int = 2,
        seed: int = 0,
        **arguments: Any,
    ) -> RotatedObjects:
        """Every mesh from `views` sides: rotations uniform over SO(3), or "euler", three angles uniform in ±90° about fixed
        x, y, z as in the paper. Samples of one mesh are adjacent; `arguments` are those of the class.
        """
        if not meshes or views < 2:
            raise ValueError(f"meshes, views: {len(meshes)}, {views}; at least one mesh and two views are needed")
        rotation = draw_poses(len(meshes) * views, poses, seed)
        drawn = [
            renderer.render(m, r, size=size, style=style, antialias=antialias)
            for m, r in zip(meshes, rotation.split(views), strict=True)
        ]
        return cls(
            (torch.cat(drawn) * 255).round().to(torch.uint8),
            rotation=rotation,
            object=torch.arange(len(meshes)).repeat_interleave(views),
            label=None if label is None else as_tensor(label).repeat_interleave(views),
            seed=seed,
            **arguments,
        )

    @classmethod
    def load(
        cls,
        source: Literal["modelnet10", "meshes"] = "modelnet10",
        *,
        objects: int = 20,
        test_objects: int = 8,
        views: int = 20,
        size: int = 32,
        style: renderer.Style = "shaded",
        poses: Poses = "uniform",
        convention: Convention = "camera",
        seed: int = 0,
    ) -> RotatedObjects:
        """Real shapes, rendered once and kept in the cache.

        "modelnet10": `objects` training and `test_objects` test shapes of each of ten classes of furniture, from their
        voxels. "meshes": each of the meshes at hand is its own class, and a fifth of its views is the test part.

        Raises:
            FileNotFoundError: the shapes are not in `$ERLANGEN_DATA` or the cache.
        """
        if source == "modelnet10":
            meshes, label, names, held_out = _modelnet(objects, test_objects, seed)
        elif source == "meshes":
            names = tuple(mesh_names())
            meshes = [load_mesh(name).simplified(SIMPLER) for name in names] or [load_mesh("any")]
            label, held_out = torch.arange(len(meshes)), None
        else:
            raise ValueError(f"source: {source!r}; allowed: 'modelnet10', 'meshes'")
        path = cache() / "rotated_objects" / f"{_key(meshes, (views, size, style, poses, seed))}.npz"
        of_view = label.repeat_interleave(views)
        shared: dict[str, Any] = {"convention": convention, "name": f"{source}_views", "class_names": list(names)}
        if held_out is None:
            shared["splits"] = random_split(of_view, len(of_view), seed=seed)
        else:
            test = held_out.repeat_interleave(views)
            shared["splits"] = {"train": (~test).nonzero()[:, 0], "test": test.nonzero()[:, 0]}
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                images, rotation = torch.from_numpy(kept["images"]), torch.from_numpy(kept["rotation"])
            number = torch.arange(len(meshes)).repeat_interleave(views)
            return cls(images, rotation=rotation, object=number, label=of_view, **shared)
        made = cls.from_meshes(
            meshes, views=views, size=size, style=style, poses=poses, label=label, seed=seed, **shared
        )
        _keep(path, images=made.x.numpy(), rotation=made.rotation.numpy())
        return made


def draw_poses(count: int, poses: Poses, seed: int) -> Tensor:
    """`[count, 3, 3]` rotations, uniform or by Euler angles within ±90°."""
    generator = torch.Generator().manual_seed(seed)
    if poses == "uniform":
        return rotations.random(count, generator=generator, dtype=torch.float32)
    if poses == "euler":
        angles = (torch.rand(count, 3, generator=generator) - 0.5) * math.pi
        return rotations.from_euler(angles, "xyz")
    raise ValueError(f"poses: {poses!r}; allowed: 'uniform', 'euler'")


def _by_object(number: Tensor, label: Any, seed: int) -> dict[str, Tensor]:
    """A fifth of the objects held out, class by class; none where there is one object."""
    known, first = np.unique(number.numpy(), return_index=True)
    of_object = None if label is None else as_tensor(label)[torch.as_tensor(first)]
    parts = random_split(of_object, len(known), seed=seed)
    kept = torch.as_tensor(known)
    return {part: torch.isin(number, kept[index]).nonzero()[:, 0] for part, index in parts.items()}


def _modelnet(objects: int, test_objects: int, seed: int) -> tuple[list[Mesh], Tensor, tuple[str, ...], Tensor]:
    """Meshes around the voxels of ModelNet10, their classes, the names, and which are of the test part."""
    if objects < 1 or test_objects < 1:
        raise ValueError(f"objects, test_objects: {objects}, {test_objects}; at least 1 of each class")
    places = [root / "modelnet10_voxels" / "modelnet10_voxels.npz" for root in roots()]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"source: modelnet10 is not in {' or '.join(map(str, places))}; put its voxels there")
    generator = torch.Generator().manual_seed(seed)
    meshes, labels, held_out = [], [], []
    with np.load(path, allow_pickle=False) as content:
        shape = tuple(int(s) for s in content["voxel_shape"])
        names = tuple(str(name) for name in content["class_names"])
        for part, wanted in (("train", objects), ("test", test_objects)):
            packed, label = content[f"{part}_voxels_packed"], content[f"{part}_labels"]
            usable = torch.from_numpy(packed.any(1))
            for number in range(len(names)):
                members = (usable & torch.from_numpy(label == number)).nonzero()[:, 0]
                if len(members) < wanted:
                    raise ValueError(f"objects: {wanted} of {names[number]!r}; {part} has {len(members)}")
                chosen = members[torch.randperm(len(members), generator=generator)[:wanted]]
                for row in np.unpackbits(packed[chosen.numpy()], axis=1)[:, : math.prod(shape)]:
                    filled = torch.from_numpy(row.reshape(shape)).bool()
                    meshes.append(voxel_mesh(filled).smoothed().normalized())
                labels += [number] * wanted
                held_out += [part == "test"] * wanted
    return meshes, torch.tensor(labels), names, torch.tensor(held_out)


def _key(meshes: Sequence[Mesh], settings: tuple[Any, ...]) -> str:
    """Of the shapes, the settings and the code that draws: a change of any is another file."""
    digest = hashlib.sha256(repr(settings).encode())
    for module in (mesh_module, renderer):
        digest.update(Path(str(module.__file__)).read_bytes())
    for mesh in meshes:
        digest.update(mesh.vertices.numpy().tobytes())
        digest.update(mesh.faces.numpy().tobytes())
    return digest.hexdigest()[:24]


def _keep(path: Path, **arrays: np.ndarray) -> None:
    """Write under a name of its own first: the file appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".npz", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
