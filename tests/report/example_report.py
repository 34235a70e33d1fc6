"""A report as an audit of a C8-equivariant digit encoder would give it: realistic in shape and in numbers."""

import math
from typing import Any

import numpy as np

LAYERS = ["lift", "block1", "block2", "block3", "pool", "embedding"]
ANGLES = [0, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180]
ELEMENTS = ["15°", "30°", "45°", "60°", "90°", "180°", "flip", "shift 1", "shift 2", "scale 1.2"]


def finding(probe: str, metric: str, value: float, **fields: Any) -> dict[str, Any]:
    """A finding with every field there."""
    base: dict[str, Any] = {
        "probe": probe,
        "metric": metric,
        "value": value,
        "layer": "",
        "group": "",
        "ci": None,
        "reference": None,
        "verdict": "info",
        "meaning": "",
        "rule": "",
        "direction": "none",
        "threshold": None,
        "p_value": None,
        "needs_samples": None,
        "figure": None,
        "assumptions": [],
        "warnings": [],
        "citation": "",
        "details": {},
        "cost": {"seconds": 0.21, "peak_bytes": 3_400_000, "samples": 1000, "passes": 1},
    }
    return {**base, **fields}


def interval(value: float, half: float, n: int = 1000, method: str = "bootstrap-bca") -> dict[str, Any]:
    high = value + 1.1 * half
    high = min(high, 1.0) if 0.5 < value <= 1 else high
    return {"low": value - half, "high": high, "level": 0.95, "method": method, "n_effective": n}


def reference(value: float, kind: str, source: str, half: float = math.nan) -> dict[str, Any]:
    low, high = (value - half, value + half) if math.isfinite(half) else (None, None)
    return {"value": value, "low": low, "high": high, "kind": kind, "source": source}


def digit(seed: int, size: int = 16) -> np.ndarray:
    """A stroke on black, as uint8."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1.6 * np.pi, 80)
    radius = 0.3 + 0.25 * np.sin(t * (0.6 + rng.random())) ** 2
    x, y = 0.5 + radius * np.cos(t + seed), 0.5 + radius * np.sin(t)
    rows, columns = np.mgrid[0:size, 0:size] / (size - 1)
    distance = np.min((columns[..., None] - x) ** 2 + (rows[..., None] - y) ** 2, axis=-1)
    return (255 * np.exp(-distance * 190)).astype(np.uint8)


def _equivariance() -> list[dict[str, Any]]:
    found = []
    levels = [0.04, 0.07, 0.12, 0.16, 0.10, 0.09]
    for i, (layer, level) in enumerate(zip(LAYERS, levels, strict=True)):
        curve = [level * abs(math.sin(math.radians(2 * a))) ** 2 * 2.2 for a in ANGLES]
        twin = [0.4 + 0.35 * abs(math.sin(math.radians(a))) if a else 0.0 for a in ANGLES]
        figure = {
            "kind": "curve",
            "title": layer,
            "x_label": "rotation in degrees",
            "y_label": "relative error",
            "series": [
                {"name": "untrained twin", "x": ANGLES, "y": twin},
                {
                    "name": "this model",
                    "x": ANGLES,
                    "y": curve,
                    "low": [0.9 * c for c in curve],
                    "high": [1.12 * c for c in curve],
                },
            ],
            "lines": [{"name": "resampling alone", "value": 0.02}],
        }
        found.append(
            finding(
                "equivariance",
                "equivariance.rotation.relative_error",
                level,
                layer=layer,
                group="SO(2)",
                figure=figure,
                ci=interval(level, 0.012),
                reference=reference(0.62 + 0.03 * i, "untrained", "the same network, seed 0", 0.04),
                verdict="pass" if level < 0.11 else ("inconclusive" if level < 0.13 else "fail"),
                threshold=0.12,
                needs_samples=4300 if 0.11 < level < 0.13 else None,
                direction="lower",
                rule="pass if the whole interval is below 0.12 (a fifth of the twin), fail if the whole of it is not",
                meaning=f"Rotating the input moves {layer} as the group says, up to {100 * level:.0f} % of its size.",
                assumptions=["The corners of the image hold nothing: a disc is compared."],
                citation="T. Cohen, M. Welling, Group Equivariant Convolutional Networks, 2016, arXiv:1602.07576",
            )
        )
    for i, layer in enumerate(LAYERS):
        value = 10 ** (-2.6 + 0.4 * i)
        found.append(
            finding(
                "lie_derivative",
                "lie_derivative.translation",
                value,
                layer=layer,
                group="T(2)",
                ci=interval(value, value * 0.2, method="jackknife"),
                reference=reference(2.4 * value, "untrained", "twin"),
                meaning="How fast the features change under an infinitesimal shift.",
                citation="N. Gruver et al., The Lie Derivative for Measuring Learned Equivariance, 2022",
            )
        )
    return found


def _classes() -> list[dict[str, Any]]:
    pictures = [
        {
            "before": digit(s).tolist(),
            "after": np.rot90(digit(s)).tolist(),
            "caption": f"a 6, turned by {a}°, is read as a 9",
        }
        for s, a in ((3, 172), (8, 180), (11, 165), (14, 188))
    ]
    return [
        finding(
            "orbit_accuracy",
            "orbit_accuracy.upright",
            0.984,
            layer="embedding",
            ci=interval(0.984, 0.008, 450, "clopper-pearson"),
            reference=reference(0.1, "null", "guessing among ten classes"),
            verdict="pass",
            threshold=0.95,
            direction="higher",
            meaning="The class of 98 % of the upright digits is named.",
            rule="pass if the whole interval is above 0.95",
        ),
        finding(
            "orbit_accuracy",
            "orbit_accuracy.orbit",
            0.931,
            layer="embedding",
            group="SO(2)",
            ci=interval(0.931, 0.011, 450),
            reference=reference(0.984, "baseline", "the upright digits", 0.008),
            verdict="warn",
            threshold=0.95,
            direction="higher",
            meaning="Turning the digits costs five points of accuracy.",
        ),
        finding(
            "orbit_accuracy",
            "orbit_accuracy.merges.6.9",
            0.71,
            layer="embedding",
            group="SO(2)",
            ci=interval(0.71, 0.06, 88),
            reference=reference(0.02, "null", "other pairs of classes", 0.02),
            verdict="fail",
            threshold=0.1,
            direction="lower",
            meaning="71 % of the sixes are read as nines once turned by 180°.",
            figure={"kind": "images", "title": "Sixes that become nines", "images": pictures},
            details={"merged": True, "pair": ["6", "9"]},
            warnings=["The group itself maps one class to the other."],
        ),
    ]


def _embedding() -> list[dict[str, Any]]:
    found = []
    for i, layer in enumerate(LAYERS):
        accuracy, rank = 0.62 + 0.072 * i, 11 + 6.5 * i
        found.append(
            finding(
                "linear_probe",
                "linear_probe.accuracy",
                accuracy,
                layer=layer,
                ci=interval(accuracy, 0.02, 450, "clopper-pearson"),
                reference=reference(0.104, "null", "shuffled labels", 0.03),
                verdict="pass",
                threshold=0.2,
                direction="higher",
                meaning=f"A linear map reads the class from {layer} in {100 * accuracy:.0f} % of cases.",
                assumptions=["Features are standardised on the training part."],
                citation="G. Alain, Y. Bengio, Understanding intermediate layers using linear classifier probes, 2016",
            )
        )
        found.append(
            finding(
                "rankme",
                "rankme.rank",
                rank,
                layer=layer,
                ci=interval(rank, 1.2, method="subsample"),
                reference=reference(14 + 2 * i, "untrained", "twin"),
                meaning=f"{layer} uses {rank:.0f} dimensions.",
                details={"dimensions": 128},
                citation="Q. Garrido et al., RankMe, 2022, arXiv:2210.02885",
            )
        )
        found.append(
            finding(
                "knn",
                "knn.accuracy",
                accuracy + 0.01,
                layer=layer,
                ci=interval(accuracy + 0.01, 0.022, 450),
                reference=reference(0.5, "untrained", "twin", 0.03),
                verdict="pass",
                threshold=0.5,
                direction="higher",
                meaning="Neighbours share their class.",
            )
        )
    found += [
        finding(
            "shift_consistency",
            "shift_consistency.agreement",
            0.913,
            layer="embedding",
            group="T(2)",
            ci=interval(0.913, 0.021),
            reference=reference(0.88, "untrained", "twin", 0.02),
            verdict="inconclusive",
            threshold=0.9,
            needs_samples=2260,
            meaning="A shift by one pixel keeps the nearest class of 91 % of the digits.",
            direction="higher",
        ),
        finding(
            "alignment_uniformity",
            "alignment_uniformity.uniformity",
            -3.12,
            layer="embedding",
            ci=interval(-3.12, 0.08),
            reference=reference(-3.91, "theory", "the uniform distribution on the sphere"),
            meaning="How evenly the sphere is filled.",
        ),
        finding(
            "alignment_uniformity",
            "alignment_uniformity.alignment",
            3.1e-7,
            layer="embedding",
            meaning="Pairs coincide.",
        ),
        finding(
            "collapse",
            "collapse.nc1",
            math.nan,
            verdict="not_applicable",
            meaning="RuntimeError: fewer than two samples in class 3",
        ),
    ]
    return [
        {**f, "value": None if isinstance(f["value"], float) and math.isnan(f["value"]) else f["value"]} for f in found
    ]


def example_report() -> dict[str, Any]:
    """The plain-data form of a report, as `Report.to_dict()` gives it."""
    rng = np.random.default_rng(0)
    respect = [
        [
            min(1.3, max(0.0, base * (1 + 0.16 * i) + 0.02 * float(rng.standard_normal())))
            for base in (0.15, 0.17, 0.05, 0.17, 0.0, 0.0, 0.66, 0.21, 0.24, 0.72)
        ]
        for i in range(len(LAYERS))
    ]
    respect[0][6] = 1.18
    respect[5][9] = math.nan
    alike = [[round(math.exp(-0.22 * abs(i - j) ** 1.3), 3) for j in range(len(LAYERS))] for i in range(len(LAYERS))]
    matrix = {"kind": "matrix", "vmin": 0.0, "vmax": 1.0, "x_label": "", "y_label": ""}
    record = {
        "schema": "erlangen.report/1",
        "header": {
            "model": "GroupCNN(C8, width=32)",
            "parameters": 118_474,
            "data": "digits (test part)",
            "n_used": 450,
            "n_available": 450,
            "seed": 0,
            "versions": {"erlangen": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
            "seconds": 8.42,
            "peak_bytes": 214_000_000,
            "group": "SO(2)",
            "classes": [str(i) for i in range(10)],
            "merged_classes": [["6", "9"]],
            "command": "erlangen audit runs/digits digits --group 'SO(2)' --preset standard --seed 0",
        },
        "findings": _equivariance() + _classes() + _embedding(),
        "panels": {
            "respect": {
                **matrix,
                "title": "Error relative to the untrained twin",
                "rows": LAYERS,
                "columns": ELEMENTS,
                "values": [[None if math.isnan(v) else v for v in row] for row in respect],
            },
            "cka": {
                **matrix,
                "title": "Debiased linear CKA, layer by layer",
                "rows": LAYERS,
                "columns": LAYERS,
                "values": alike,
            },
        },
        "sentences": [
            "The embedding is nearly invariant to SO(2): its elements move it by 9 % of the distance between "
            "two unrelated inputs "
            "(resampling alone: 2 %), 77 % in the untrained twin.",
            "SO(2) merges class 6 with 9: 71 % of the sixes are read as nines once turned by 180°.",
            "The embedding uses 44 of 128 dimensions; a linear probe reads the class from it with 98 % "
            "accuracy (10 % with shuffled labels).",
        ],
    }
    return record


def example_proof() -> list[dict[str, Any]]:
    """Two check results: an equivariant network, and a plain one."""
    curve = [[0.1 * i, 0.28 * (1 - math.exp(-1.1 * i)) if i else 1e-16] for i in range(32)]
    return [
        {
            "name": "GroupCNN(C8)",
            "verdict": "approximate",
            "symmetry": "C8: image -> invariant",
            "error": {"float64": 0.012, "float32": 0.012},
            "parts": {"rotations": 0.012},
            "curve": [[0.785 * i, 0.012 * (i % 2) + 2e-16] for i in range(8)],
            "worst": {
                "label": "45°",
                "error": 0.012,
                "before": digit(5).tolist(),
                "after": np.rot90(digit(5)).tolist(),
            },
            "risks": [],
            "causes": ["Filters turned by 45° are resampled: exact only at multiples of 90°."],
            "first_breaking": "block2.conv",
            "seconds": 1.31,
        },
        {
            "name": "PlainCNN",
            "verdict": "broken",
            "symmetry": "C8: image -> invariant",
            "error": {"float64": 0.31, "float32": 0.31},
            "parts": {"rotations": 0.31},
            "scenarios": {"train mode": 0.35, "far from the origin": 0.31},
            "curve": curve,
            "worst": {
                "label": "135°",
                "error": 0.31,
                "before": digit(9).tolist(),
                "after": np.rot90(digit(9), 2).tolist(),
            },
            "first_breaking": "conv1 (Conv2d)",
            "causes": ["Nothing in the network ties the filters of different orientations."],
            "risks": [{"name": "train", "verdict": "broken", "error": 0.35, "words": "train mode: 3.5e-01"}],
            "notes": ["Deterministic in eval mode."],
            "seconds": 0.84,
        },
        {
            "name": "SchNet",
            "verdict": "exact",
            "symmetry": "E(3) x S(n): (points, scalars) -> invariant",
            "error": {"float64": 3.1e-15, "float32": 2.0e-6},
            "parts": {"rotations": 3.1e-15, "reflections": 2.2e-15, "translations": 4.0e-16, "permutations": 0.0},
            "curve": [],
            "worst": {"label": "rotation 31°, shift 0.4", "error": 3.1e-15},
            "first_breaking": None,
            "causes": [],
            "risks": [{"words": "float32 far from the origin (shift 1e4): 5e-03; centre the input"}],
            "seconds": 1.9,
        },
    ]


def example_gallery() -> list[dict[str, Any]]:
    """Three queries with five neighbours each."""
    return [
        {
            "query": {"image": digit(s), "label": label},
            "neighbours": [
                {"image": np.rot90(digit(s), k), "label": label if k != odd else "9", "score": 0.998 - 0.021 * k}
                for k in range(5)
            ],
        }
        for s, label, odd in ((2, "3", -1), (6, "6", 4), (12, "8", -1))
    ]
