"""Write the kernels that neural-tangents gives to the file beside it.

.bench/neural_tangents/bin/python tests/audit/neural_tangents_numbers.py
"""

import json
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import neural_tangents as nt  # noqa: E402
from neural_tangents import stax  # noqa: E402

OUTPUT = Path(__file__).with_suffix(".json")
CASES = {
    "relu": (stax.Relu(), 0.1, 2.0),
    "leaky_relu": (stax.LeakyRelu(0.01), 0.05, 1.7),
    "erf": (stax.Erf(), 0.2, 1.5),
    "gelu": (stax.Gelu(), 0.17292239, 1.98305826),
    "sin": (stax.Sin(), 0.1, 1.3),
}


def main() -> None:
    x = np.random.default_rng(0).normal(size=(6, 5)).round(3)
    rows = {}
    for name, (stage, bias, weight) in CASES.items():
        dense = stax.Dense(512, W_std=weight**0.5, b_std=bias**0.5)
        out = {}
        for depth in (2, 4):
            parts = [dense] + [part for _ in range(depth - 1) for part in (stage, dense)]
            kernel = stax.serial(*parts)[2](x, None, ("nngp", "ntk"))
            out[str(depth)] = {"nngp": np.asarray(kernel.nngp).tolist(), "ntk": np.asarray(kernel.ntk).tolist()}
        rows[name] = {"C_b": bias, "C_W": weight, "depths": out}
    facts = {"neural_tangents": nt.__version__, "jax": jax.__version__}
    OUTPUT.write_text(json.dumps({"versions": facts, "x": x.tolist(), "cases": rows}) + "\n")


if __name__ == "__main__":
    main()
