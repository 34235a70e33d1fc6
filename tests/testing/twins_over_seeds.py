"""Judge every twin and every original over many seeds: python tests/testing/twins_over_seeds.py [--seeds 50]."""

import argparse
import collections
import sys
import time

import torch
from twins import originals, twins

from erlangen.testing import check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--only", default="", help="names of twins that contain this")
    parser.add_argument("--show", action="store_true", help="print every wrong answer whole")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wrong = 0
    slowest = 0.0
    for kind, cases in (("original", originals()), ("twin", twins())):
        for case in cases:
            if options.only not in case.name:
                continue
            verdicts: collections.Counter[str] = collections.Counter()
            bad, start = 0, time.process_time()
            for seed in range(options.seeds):
                model, symmetry, x = case.build(seed)
                result = check(model, symmetry, x, seconds=20)
                verdicts[result.verdict] += 1
                right = result.verdict in case.verdict.split("|") and case.word in str(result)
                bad += not right
                if not right and options.show:
                    sys.stdout.write(f"seed {seed}: {result}\n")
            each = (time.process_time() - start) / options.seeds
            slowest = max(slowest, each)
            wrong += bad
            found = ", ".join(f"{word} {count}" for word, count in verdicts.most_common())
            name = f"{case.name or 'none'} ({getattr(case.make, 'func', case.make).__name__})"
            sys.stdout.write(f"{kind:9}{name:30}{found:32}wrong {bad:3}   {each * 1e3:5.0f} ms\n")
            sys.stdout.flush()
    sys.stdout.write(f"{wrong} wrong answers; the slowest check took {slowest:.2f} s of processor time\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
