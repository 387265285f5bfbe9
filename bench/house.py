"""Count what one sees of the source: rooms, files, lines, arrows, helpers with one caller.

    python bench/house.py [ROOT]        # ROOT is a checkout, the current folder if not given

Also builds a store of a few drawn images and lists the files that one build crosses between the
command line and the manifest.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

LOOSE = (
    "builder", "checksums", "content", "executors", "finishing", "journal", "manifest", "options",
    "parts", "plan", "preparation", "rendering", "rows", "staging",
)  # fmt: skip
"""Where the steps of a build lay before there was a room for them."""

CROSSED = """
import sys, threading
from pathlib import Path
import numpy as np
from PIL import Image
import lowres, tempfile
root = str(Path(lowres.__file__).parent)
crossed = {}
def watch(frame, event, _):
    name = frame.f_code.co_filename
    of_function = frame.f_code.co_flags & 1  # and not the body of a module or class
    if event == "call" and of_function and name.startswith(root):
        crossed.setdefault(name[len(root) + 1:], 0)
folder = Path(tempfile.mkdtemp())
for label in ("ant", "bee"):
    for n in range(3):
        path = folder / "images" / "train" / label / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), 40 * n, np.uint8)).save(path)
from lowres.cli import main
main_app = main
sys.argv = ["lowres", "build", str(folder / "images"), str(folder / "store"), "--size", "8"]
threading.setprofile(watch); sys.setprofile(watch)
try:
    main_app()
except SystemExit:
    pass
sys.setprofile(None)
print("\\n".join(sorted(crossed)))
"""


def own_modules(root: Path) -> list[Path]:
    """List the source files."""
    return sorted((root / "src" / "lowres").rglob("*.py"))


def room(path: str) -> str:
    """Name the folder, or the loose module, that a path below src/lowres lies in."""
    return path.split("/")[0].removesuffix(".py")


def arrows(root: Path) -> tuple[int, int]:
    """Count imports between files of different rooms, and pairs of rooms so joined."""
    base, pairs, rooms = root / "src" / "lowres", set(), set()
    files = {
        ".".join(p.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
        for p in own_modules(root)
    }
    for path in own_modules(root):
        own = path.relative_to(base).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lowres")):
                continue
            target = node.module.removeprefix("lowres").lstrip(".")
            for alias in node.names:
                whole = f"{target}.{alias.name}".lstrip(".")
                found = whole if whole in files else target
                if found and room(own) != found.split(".")[0]:
                    pairs.add((own, found))
                    rooms.add((room(own), found.split(".")[0]))
    return len(pairs), len(rooms)


def private_functions(root: Path) -> tuple[int, int]:
    """Count private functions and methods, and those that are named once besides."""
    text = "\n".join(path.read_text() for path in own_modules(root))
    words = Counter(re.findall(r"\w+", text))
    names = [
        node.name
        for path in own_modules(root)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("_")
        and not node.name.startswith("__")
    ]
    return len(names), sum(words[name] == 2 for name in names)


def main() -> None:
    """Print the counts."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    base = root / "src" / "lowres"
    print("src/lowres:", " ".join(sorted(f"{p.name}/" for p in base.iterdir()
                                          if p.is_dir() and p.name != "__pycache__")))  # fmt: skip
    print("loose:", " ".join(sorted(p.name for p in base.glob("*.py"))))
    files = own_modules(root)
    print(f"{len(files)} files, {sum(len(p.read_text().splitlines()) for p in files)} lines")
    tests = list((root / "tests").rglob("*.py"))
    print(f"tests: {len(tests)} files, {sum(len(p.read_text().splitlines()) for p in tests)} lines")
    print("arrows between rooms: {} of files, {} of rooms".format(*arrows(root)))
    print("private functions: {}, {} of them with one caller".format(*private_functions(root)))
    text = "\n".join(p.read_text() for p in [*files, *tests, *(root / "bench").glob("*.py")])
    print(f"noqa and type: ignore: {len(re.findall(r'# noqa|# type: ignore', text))}")
    run = subprocess.run(
        [sys.executable, "-c", CROSSED], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    crossed = [line for line in run.stdout.splitlines() if line.endswith(".py")]
    steps = [name for name in crossed if room(name) in ("cli", "store", "work", *LOOSE)]
    print(f"one build runs code of {len(crossed)} files, {len(steps)} of them steps of a build and")
    print(f"not parts of a format or the resampler: {' '.join(steps)}")


if __name__ == "__main__":
    main()
