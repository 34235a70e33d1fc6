"""Pictures of meshes: against a loop over pixels, against closed forms, and turning with the object."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data.mesh import Mesh, load_mesh, voxel_mesh
from erlangen.data.renderer import rasterize, render, soft_silhouette
from erlangen.groups import rotations

KINDS = st.sampled_from([torch.float32, torch.float64])
TETRAHEDRON = Mesh(
    torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5,
    torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]),
)


def sphere(cells: int = 13) -> Mesh:
    axis = torch.arange(cells) - (cells - 1) / 2
    filled = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) <= (cells / 2) ** 2
    mesh = voxel_mesh(filled)
    centred = mesh.vertices - cells / 2
    return Mesh(torch.nn.functional.normalize(centred, dim=1), mesh.faces)


def turned(count: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return rotations.random(count, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), KINDS, st.integers(3, 12))
def test_the_nearest_triangle_is_that_of_a_loop_over_pixels_and_triangles(
    seed: int, dtype: torch.dtype, size: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = (2 * torch.rand(2, 12, 3, generator=generator, dtype=torch.float64) - 1).to(dtype)
    faces = torch.randint(12, (9, 3), generator=generator)
    shown = rasterize(points, faces, size)
    for image in range(2):
        for row in range(size):
            for column in range(size):
                x, y = 2 * (column + 0.5) / size - 1, 1 - 2 * (row + 0.5) / size
                best, winner = -math.inf, -1
                for number, face in enumerate(faces.tolist()):
                    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[image, face].double().tolist()
                    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
                    if area == 0:
                        continue
                    wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                    wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                    z = wa * az + wb * bz + (1 - wa - wb) * cz
                    if min(wa, wb, 1 - wa - wb) >= -1e-6 and z >= best:
                        best, winner = z, number
                assert int(shown[image, row, column]) == winner


def test_a_sphere_has_its_depth_and_area() -> None:
    depth = render(sphere(), torch.eye(3)[None], size=64, style="depth", antialias=1)[0, 0]
    axis = (torch.arange(64) + 0.5) / 32 - 1
    square = axis[:, None] ** 2 + axis**2
    inside = square < 0.8
    torch.testing.assert_close(depth[inside], (1 + (1 - square[inside]).sqrt()) / 2, rtol=0, atol=0.03)
    cover = render(sphere(), torch.eye(3)[None], size=64, style="silhouette")[0, 0].mean()
    assert abs(float(cover) - math.pi / 4) < 0.02


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), KINDS)
def test_a_quarter_turn_about_the_optical_axis_turns_the_picture(seed: int, dtype: torch.dtype) -> None:
    rotation = turned(3, seed, dtype)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=dtype)
    for style in ("depth", "silhouette"):
        first = render(TETRAHEDRON, rotation, size=16, style=style)
        second = render(TETRAHEDRON, quarter @ rotation, size=16, style=style)
        torch.testing.assert_close(second, first.rot90(1, (-2, -1)), rtol=1e-4, atol=1e-5)


def test_shading_is_that_of_the_normal_whatever_the_order_of_corners() -> None:
    square = Mesh(
        torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]), torch.tensor([[0, 1, 2], [0, 3, 2]])
    )
    tilt = rotations.from_euler(torch.tensor([[0.3, 0.0, 0.0]]), "xyz")
    shown = render(square, tilt, size=8, light=(0.0, 0.0, 1.0))[0, 0, 4, 4]
    assert float(shown) == pytest.approx(0.25 + 0.75 * math.cos(0.3), abs=1e-5)
    normals = render(square, tilt, size=8, style="normals")[0, :, 4, 4]
    wanted = (torch.tensor([0.0, -math.sin(0.3), math.cos(0.3)]) + 1) / 2
    torch.testing.assert_close(normals, wanted, rtol=0, atol=1e-5)


def test_gradients_of_depth_and_silhouette_are_right() -> None:
    rotation = turned(1, 5, torch.float64)

    def moved(draw, angle):  # type: ignore[no-untyped-def]
        return draw(rotations.from_axis_angle(angle) @ rotation)

    for draw in (
        lambda r: render(TETRAHEDRON, r, size=5, style="depth", antialias=1),
        lambda r: soft_silhouette(TETRAHEDRON, r, size=5, sigma=1.0),
    ):
        angle = torch.full((1, 3), 0.01, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda a, draw=draw: moved(draw, a), (angle,), eps=1e-7, atol=1e-5)


def test_a_sharp_soft_silhouette_is_the_silhouette() -> None:
    rotation = turned(2, 1)
    soft = soft_silhouette(TETRAHEDRON, rotation, size=32, sigma=0.02)
    hard = render(TETRAHEDRON, rotation, size=32, style="silhouette", antialias=1)
    assert float(((soft - hard).abs() > 0.1).float().mean()) < 0.01


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_the_surface_of_voxels_is_closed_and_faces_outward(seed: int) -> None:
    filled = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(seed)) < 0.5
    if not bool(filled.any()):
        return
    mesh = voxel_mesh(filled)
    a, b, c = mesh.vertices[mesh.faces].double().unbind(1)
    volume = (torch.linalg.cross(a, b) * c).sum() / 6
    assert float(volume) == pytest.approx(int(filled.sum()), abs=1e-9)
    directed = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    walked = {tuple(edge) for edge in directed.tolist()}
    assert all((j, i) in walked for i, j in walked)


def test_simplifying_and_smoothing_keep_the_shape() -> None:
    mesh = sphere(21)
    simple, smooth = mesh.simplified(8), mesh.smoothed(3)
    assert len(simple.faces) < len(mesh.faces) / 2 and len(smooth.faces) == len(mesh.faces)
    for other in (simple, smooth):
        assert float((other.vertices.norm(dim=1) - 1).abs().max()) < 0.15
    ball = Mesh(3 * mesh.vertices + 5, mesh.faces).normalized()
    assert float(ball.vertices.norm(dim=1).max()) == pytest.approx(1, abs=1e-5)


def test_real_meshes_are_found_by_name(data_root: str) -> None:
    mesh = load_mesh("spot")
    assert len(mesh.faces) == 5856 and float(mesh.vertices.norm(dim=1).max()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(FileNotFoundError, match="spot"):
        load_mesh("spott")


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="rotation"):
        render(TETRAHEDRON, torch.full((1, 3, 3), math.nan))
    with pytest.raises(ValueError, match="size"):
        render(TETRAHEDRON, torch.eye(3)[None], size=0)
    with pytest.raises(ValueError, match="sigma"):
        soft_silhouette(TETRAHEDRON, torch.eye(3)[None], sigma=0.0)
    with pytest.raises(ValueError, match="faces"):
        Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 3]]))
    with pytest.raises(ValueError, match="at one point"):
        Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])).normalized()
    with pytest.raises(ValueError, match="filled"):
        voxel_mesh(torch.zeros(2, 2, 2, dtype=torch.bool))
