"""Judge results of your own training code, from a CSV with one row a run.

    python examples/judge_csv.py [RESULTS.csv SMALL LARGE]

Columns: size, lr, seed and error (a share from 0 to 1). Without arguments the script makes such a
table: six learning rates, three seeds, and the same order of learning rates at both sizes.
"""

import sys
from pathlib import Path

import numpy as np

from lowres.study.judging import judge_table
from lowres.study.results_files import read_results


def write_example(path: Path) -> None:
    """Write errors that rise with the distance from a learning rate of 0.1."""
    random = np.random.default_rng(0)
    with path.open("w") as file:
        print("size,lr,seed,error", file=file)
        for size, floor in ((16, 0.5), (64, 0.3)):
            for lr in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3):
                for seed in range(3):
                    error = floor + 0.1 * abs(np.log10(lr / 0.1)) + random.normal(0, 0.003)
                    print(f"{size},{lr},{seed},{error:.4f}", file=file)


name, small, large = sys.argv[1:] or ("results.csv", "16", "64")
path = Path(name)
if not sys.argv[1:]:
    write_example(path)
print(judge_table(read_results(path), f"size={small}", f"size={large}").sentence())
