"""The graph classification collections of TU Dortmund, from their text files or from one compact file each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from erlangen.data.named import roots

HOME = "https://www.chrsmrrs.com/graphkerneldatasets/{name}.zip"
ARRAYS = {
    "edge_index": "A",
    "graph_id": "graph_indicator",
    "graph_labels": "graph_labels",
    "node_labels": "node_labels",
    "edge_labels": "edge_labels",
    "node_attributes": "node_attributes",
}


def tu_graphs(name: str) -> list[Any]:
    """The graphs of one TU collection (MUTAG, PROTEINS, NCI109, BZR, DHFR, ...) as PyG `Data`.

    `x` holds the node labels as one-hot columns, then the node attributes (ones where there is neither); `edge_attr` the
    edge labels as one-hot columns; `y` the class from 0; edges are listed in both directions. Looked for as
    `tu_graphs/NAME.npz` (arrays edge_index, graph_id, graph_labels, ...) and as the official `NAME/NAME_A.txt` and its
    companions, below $ERLANGEN_DATA and the cache.

    Raises FileNotFoundError that names the places and the address of the official archive, ValueError for files that
    contradict each other.

    Source: Morris, Kriege, Bause, Kersting, Mutzel, Neumann, TUDataset, 2020, arXiv:2007.08663.
    """
    looked = []
    for root in roots():
        compact = root / "tu_graphs" / f"{name}.npz"
        folders = [root / "tu_graphs" / name, root / "tu_graphs" / name / "raw", root / name, root / name / "raw"]
        looked += [str(compact), str(folders[0])]
        if compact.is_file():
            with np.load(compact, allow_pickle=False) as file:
                return _split({key: file[key] for key in ARRAYS if key in file.files}, compact)
        for folder in folders:
            if (folder / f"{name}_A.txt").is_file():
                return _split(_read_text(folder, name), folder)
    raise FileNotFoundError(
        f"data: TU collection {name!r} is not in {', '.join(looked)}; unpack {HOME.format(name=name)} there"
    )


def _read_text(folder: Path, name: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for key, ending in ARRAYS.items():
        path = folder / f"{name}_{ending}.txt"
        if path.is_file():
            kind = np.float32 if key == "node_attributes" else np.int64
            found[key] = np.loadtxt(path, delimiter=",", dtype=kind, ndmin=2)
    for key in ("graph_id", "graph_labels", "node_labels", "edge_labels"):
        if key in found:
            found[key] = found[key][:, 0]
    if "graph_id" not in found or "graph_labels" not in found:
        raise ValueError(f"data: {folder} lacks {name}_graph_indicator.txt or {name}_graph_labels.txt")
    found["edge_index"] = found["edge_index"].T - 1
    found["graph_id"] = found["graph_id"] - 1
    return found


def _one_hot(labels: np.ndarray) -> torch.Tensor:
    values, place = np.unique(labels, return_inverse=True)
    return torch.eye(len(values))[torch.from_numpy(place.reshape(-1).astype(np.int64))]


def _split(arrays: dict[str, np.ndarray], path: Path) -> list[Any]:
    from torch_geometric.data import Data

    edge_index = torch.from_numpy(arrays["edge_index"].astype(np.int64))
    graph = torch.from_numpy(arrays["graph_id"].astype(np.int64))
    label = torch.from_numpy(np.unique(arrays["graph_labels"], return_inverse=True)[1].reshape(-1).astype(np.int64))
    if len(graph) and (bool((graph.diff() < 0).any()) or int(graph[-1]) >= len(label)):
        raise ValueError(f"data: {path}: nodes are not listed graph by graph, or there are fewer labels than graphs")
    if edge_index.numel() and (
        int(edge_index.max()) >= len(graph) or bool((graph[edge_index[0]] != graph[edge_index[1]]).any())
    ):
        raise ValueError(f"data: {path}: an edge names a node that does not exist or joins two graphs")
    columns = [_one_hot(arrays["node_labels"])] if "node_labels" in arrays else []
    if "node_attributes" in arrays:
        columns.append(torch.from_numpy(arrays["node_attributes"].astype(np.float32)))
    x = torch.cat(columns, 1) if columns else torch.ones(len(graph), 1)
    bond = _one_hot(arrays["edge_labels"]) if "edge_labels" in arrays else None
    if len(x) != len(graph) or (bond is not None and len(bond) != edge_index.shape[1]):
        raise ValueError(f"data: {path}: {len(graph)} nodes, {len(x)} node labels, {edge_index.shape[1]} edges")
    order = torch.argsort(graph[edge_index[0]], stable=True)
    edge_index = edge_index[:, order]
    nodes = torch.bincount(graph, minlength=len(label)).tolist()
    edges = torch.bincount(graph[edge_index[0]], minlength=len(label)).tolist()
    pieces = zip(
        x.split(nodes),
        edge_index.split(edges, 1),
        (bond[order] if bond is not None else torch.zeros(edge_index.shape[1], 0)).split(edges),
        label,
        np.cumsum([0, *nodes[:-1]]).tolist(),
        strict=True,
    )
    return [
        Data(
            x=part,
            edge_index=pair - first,
            y=y.reshape(1),
            num_nodes=len(part),
            **({} if bond is None else {"edge_attr": kind}),
        )
        for part, pair, kind, y, first in pieces
    ]
