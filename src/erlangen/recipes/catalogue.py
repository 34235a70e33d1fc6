"""Importing this module registers every recipe that ships."""

import importlib

SHIPPED = (
    "sie",
    "mip",
    "frame_averaging",
    "tinvnn",
    "graph_separation",
    "n_body_frames",
    "rotnet",
    "rotnet_blocks",
    "vicreg",
    "simsiam_variance",
    "matryoshka",
    "relative_representations",
    "lambda_orthogonality",
    "stationary",
    "equiangular",
    "obow",
    "transitive",
    "highest_weight_faces",
    "discover",
    "soft_equivariance",
    "rotation_representations",
    "rotation_from_points",
    "lie_group_decompositions",
    "gaunt_potential",
    "gaunt_product",
    "universal_gnn",
    "equivariant_polynomials",
    "polynomial_regression",
    "subgraph_equivariance",
    "manifold_flows",
    "pose_induction",
    "pac_invariance",
    "rich_representations",
    "guidance",
    "deep_hashing",
    "debiasing",
)
for _name in SHIPPED:
    importlib.import_module(f"erlangen.recipes.{_name}")
