"""Which class has which vertex of a fixed classifier: what successive models must agree on."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from erlangen._registry import nearest
from erlangen.train.files import read_json, write_json

FORMAT = "erlangen class registry"
Label = str | int


class ClassRegistry:
    """Label <-> vertex, first come first served, of a classifier with vertices to spare.

    A model that is trained later, or elsewhere, is compatible only if a class has the same vertex in both: keep the file
    with the gallery. Labels are strings or whole numbers; a vertex is never given twice and never taken back.

        registry = ClassRegistry(1024)
        registry.add(["cat", "dog"])
        registry.index(["dog", "cat"])  # tensor([1, 0])

    Raises:
        ValueError: more classes than vertices, a label twice.
    """

    def __init__(self, vertices: int, labels: Sequence[Label] = ()) -> None:
        if isinstance(vertices, bool) or vertices < 2:
            raise ValueError(f"vertices: {vertices}; a classifier has at least 2")
        self.vertices = vertices
        self._vertex: dict[Label, int] = {}
        if len(set(labels)) != len(labels):
            raise ValueError("labels: one of them comes twice")
        self.add(labels)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The known labels, by vertex."""
        return tuple(self._vertex)

    def add(self, labels: Iterable[Label]) -> Int[Tensor, " labels"]:
        """Give new labels the next free vertices, leave known ones where they are, and return all their vertices."""
        wanted = list(labels)
        for label in wanted:
            if isinstance(label, bool) or not isinstance(label, str | int):
                raise TypeError(f"labels: {label!r} is a {type(label).__name__}; give strings or whole numbers")
        new = [label for label in dict.fromkeys(wanted) if label not in self._vertex]
        if len(self) + len(new) > self.vertices:
            raise ValueError(
                f"labels: {len(new)} new ones beside {len(self)} would make {len(self) + len(new)} classes, and there "
                f"are {self.vertices} vertices"
            )
        for label in new:
            self._vertex[label] = len(self._vertex)
        return self.index(wanted)

    def index(self, labels: Iterable[Label]) -> Int[Tensor, " labels"]:
        """The vertices of known labels; an unknown one is a ValueError that names its neighbours."""
        found = []
        for label in labels:
            if label not in self._vertex:
                close = nearest(str(label), [str(known) for known in self._vertex])
                hint = f"; nearest are {', '.join(map(repr, close))}" if close else ""
                raise ValueError(f"labels: {label!r} is not in the registry of {len(self)} classes{hint}")
            found.append(self._vertex[label])
        return torch.tensor(found, dtype=torch.int64)

    def label_of(self, vertex: int) -> Label:
        """The label at a vertex; ValueError for a vertex that is still free."""
        if not 0 <= vertex < len(self):
            raise ValueError(f"vertex: {vertex}; {len(self)} of {self.vertices} are taken, from 0 on")
        return self.labels[vertex]

    def save(self, path: str | Path) -> Path:
        """Write a JSON file, atomically.

        Raises:
            ValueError: the file holds a registry that this one does not continue; nothing is written.
        """
        file = Path(path)
        if file.exists():
            old = ClassRegistry.open(file)
            if old.vertices != self.vertices or old.labels != self.labels[: len(old)]:
                raise ValueError(f"{file}: holds other classes or another order; a gallery would lose its meaning")
        write_json(file, {"format": FORMAT, "vertices": self.vertices, "labels": list(self.labels)})
        return file

    @classmethod
    def open(cls, path: str | Path) -> "ClassRegistry":
        """Read what `save` wrote."""
        content = read_json(Path(path))
        labels, vertices = content.get("labels"), content.get("vertices")
        if content.get("format") != FORMAT or not isinstance(labels, list) or not isinstance(vertices, int):
            raise ValueError(f"{path}: not a class registry")
        return cls(vertices, labels)

    def __len__(self) -> int:
        return len(self._vertex)

    def __contains__(self, label: object) -> bool:
        return label in self._vertex

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClassRegistry):
            return NotImplemented
        return self.vertices == other.vertices and self.labels == other.labels

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ClassRegistry({len(self)} of {self.vertices} vertices)"
