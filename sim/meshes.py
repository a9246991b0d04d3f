"""Thins the robot's meshes for pictures: without a GPU the time of a picture goes with its triangles."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_mesh(file: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices ``(V, 3)`` and triangles ``(F, 3)`` of an OBJ file (polygons as fans) or a binary STL file."""
    if file.suffix.lower() == ".stl":
        record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        corners = np.frombuffer(file.read_bytes(), record, offset=84)["corners"].astype(np.float64)
        return corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3)
    vertices, triangles = [], []
    for line in file.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(word) for word in rest.split()[:3]])
        elif kind == "f":
            corner = [int(word.split("/")[0]) - 1 for word in rest.split()]
            triangles += [(corner[0], a, b) for a, b in itertools.pairwise(corner[1:])]
    return np.array(vertices), np.array(triangles, np.int64)


def thin(vertices: NDArray[np.float64], triangles: NDArray[np.int64], cell: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Merge the vertices of each cube of side ``cell`` [m] into their mean, and drop what collapses (Rossignac & Borrel 1993)."""
    _, index = np.unique(np.floor(vertices / cell).astype(np.int64), axis=0, return_inverse=True)
    index = index.reshape(-1)
    merged = np.stack([np.bincount(index, vertices[:, axis]) for axis in range(3)], 1) / np.bincount(index)[:, None]
    faces = index[triangles]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[whole]
    _, first = np.unique(np.sort(faces, 1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    used, compact = np.unique(faces, return_inverse=True)
    return merged[used], compact.reshape(-1, 3)
