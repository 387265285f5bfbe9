"""Train the same learning rates at two sizes; does the small size stand in for the large one?

    python examples/two_sizes.py IMAGES FOLDER

Run it again after an interrupt: the store, the study and its runs resume.
"""

import sys
from pathlib import Path

import lowres
from lowres.work.processes import LocalProcesses

if __name__ == "__main__":
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    lowres.build(source, folder / "store", lowres.BuildOptions(size=(8, 16), filter="box"))
    store = lowres.open_store(folder / "store")
    study = lowres.Study.plan(
        folder / "study",
        store,
        lowres.Recipe(variant="16-box", width=0.5, blocks=1, epochs=2, batch_size=16),
        [
            lowres.Axis("size", (8, 16)),
            lowres.Axis("lr", (0.001, 0.01, 0.1)),
            lowres.Axis("seed", (0, 1)),
        ],
    )
    summary = study.finish(LocalProcesses(jobs=2, threads=1))
    print(f"trained {summary.finished} of {len(study.runs)} runs")
    report = lowres.write_report(study.path)
    print(*report.sentences, report.files[0], sep="\n")
