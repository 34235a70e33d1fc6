"""Every way to write a rotation: `from_x(...)` gives matrices, `to_x(matrix)` reads them; batched, in torch.

Matrices are active and act on columns. Quaternions are (w, x, y, z) unless `scalar_last=True`; angles are radians.
Continuous with a continuous right inverse, and so fit to end a network with: 6d, 5d, 9d, 10d, columns, stereographic.
With four numbers or fewer none can be: quaternion, axis_angle, euler, rodrigues.
"""

from erlangen.groups.rotations.columns import from_columns, generalized_cross, to_columns
from erlangen.groups.rotations.distances import chordal_distance, geodesic_distance, mean, random, slerp
from erlangen.groups.rotations.euler import from_euler, to_euler
from erlangen.groups.rotations.gram_schmidt import from_6d, to_6d
from erlangen.groups.rotations.procrustes import from_9d, project, to_9d
from erlangen.groups.rotations.quaternions import (
    from_10d,
    from_quaternion,
    quaternion_conjugate,
    quaternion_product,
    to_10d,
    to_quaternion,
)
from erlangen.groups.rotations.similarity import from_direction, from_similarity, to_similarity
from erlangen.groups.rotations.stereographic import from_5d, from_stereographic, to_5d, to_stereographic
from erlangen.groups.rotations.vectors import from_axis_angle, from_rodrigues, to_axis_angle, to_rodrigues

__all__ = [
    "chordal_distance",
    "from_5d",
    "from_6d",
    "from_9d",
    "from_10d",
    "from_axis_angle",
    "from_columns",
    "from_direction",
    "from_euler",
    "from_quaternion",
    "from_rodrigues",
    "from_similarity",
    "from_stereographic",
    "generalized_cross",
    "geodesic_distance",
    "mean",
    "project",
    "quaternion_conjugate",
    "quaternion_product",
    "random",
    "slerp",
    "to_5d",
    "to_6d",
    "to_9d",
    "to_10d",
    "to_axis_angle",
    "to_columns",
    "to_euler",
    "to_quaternion",
    "to_rodrigues",
    "to_similarity",
    "to_stereographic",
]
