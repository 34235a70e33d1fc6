"""Importing this module registers every recipe that ships."""

import importlib

SHIPPED = (
    "frame_averaging",
    "tinvnn",
    "graph_separation",
    "n_body_frames",
    "rotnet",
    "vicreg",
    "highest_weight_faces",
)
for _name in SHIPPED:
    importlib.import_module(f"erlangen.recipes.{_name}")
