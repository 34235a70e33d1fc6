"""Writes `rsatoolbox_numbers.json`: what rsatoolbox 0.3.2 draws and finds on the 92 images.

ERLANGEN_DATA=... PYTHONPATH=benchmarks .bench/representations/bin/python tests/audit/rsatoolbox_numbers.py
"""

import json
from pathlib import Path
from typing import Any

from rsa import THEIRS, Peer, load

if __name__ == "__main__":
    _, brain, models = load()
    peer = Peer(brain, models)
    record: dict[str, Any] = {}
    for method in THEIRS:
        found, draws = peer.recorded(method, 6)
        record["stimuli"], record["subjects"] = draws.stimuli.tolist(), draws.subjects.tolist()
        record[method] = {"values": found.evaluations.tolist(), "ceiling": found.noise_ceiling.T.tolist()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(record) + "\n")
