"""Every way to write a rotation: `from_x(...)` gives matrices, `to_x(matrix)` reads them; batched, in torch."""
